use std::fmt;

use serde::{Serialize, Serializer};

/// One start of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Boot {
    /// Finds out whether the machine can be virtualized; nothing is tested.
    Probe,
    /// Makes a pool and leaves it.
    First,
    /// Finds it again.
    Second,
}

impl Boot {
    /// 0 for the probe, then 1 and 2.
    pub const fn number(self) -> u8 {
        match self {
            Self::Probe => 0,
            Self::First => 1,
            Self::Second => 2,
        }
    }

    /// What the guest does in this boot, in this order; `init.sh` has a function for each.
    pub const fn steps(self) -> &'static [BootStep] {
        use BootStep::{
            Change, Create, Dataset, Destroy, Drivers, End, Export, Import, Read, Rollback, Scrub, Snapshot,
            Spl, Start, Status, Taint, Write, Zfs,
        };
        match self {
            Self::Probe => &[Start, End],
            Self::First => &[
                Start, Drivers, Spl, Zfs, Create, Dataset, Write, Snapshot, Scrub, Status, Export, Taint, End,
            ],
            Self::Second => {
                &[Start, Drivers, Spl, Zfs, Import, Read, Status, Change, Rollback, Destroy, Taint, End]
            }
        }
    }
}

impl Serialize for Boot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

/// Something that the guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BootStep {
    /// Says which kernel runs.
    Start,
    /// Loads the drivers of the disk.
    Drivers,
    /// Loads spl.ko.
    Spl,
    /// Loads zfs.ko; says its version.
    Zfs,
    /// Makes a pool.
    Create,
    /// Makes a dataset in it.
    Dataset,
    /// Writes files; says their digest.
    Write,
    /// Makes a snapshot of them.
    Snapshot,
    /// Has the pool read all that is in it.
    Scrub,
    /// Asks whether the pool is healthy.
    Status,
    /// Lets go of the pool.
    Export,
    /// Finds the pool that the first boot made.
    Import,
    /// Reads the files; says their digest.
    Read,
    /// Overwrites a part of them; says their digest.
    Change,
    /// Goes back to the snapshot; says the digest of the files.
    Rollback,
    /// Destroys the pool.
    Destroy,
    /// Says how the kernel is tainted, as a number.
    Taint,
    /// Is about to power off.
    End,
}

impl BootStep {
    /// Every step.
    pub const ALL: [Self; 18] = [
        Self::Start,
        Self::Drivers,
        Self::Spl,
        Self::Zfs,
        Self::Create,
        Self::Dataset,
        Self::Write,
        Self::Snapshot,
        Self::Scrub,
        Self::Status,
        Self::Export,
        Self::Import,
        Self::Read,
        Self::Change,
        Self::Rollback,
        Self::Destroy,
        Self::Taint,
        Self::End,
    ];

    /// The word for it on the console.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Drivers => "drivers",
            Self::Spl => "spl",
            Self::Zfs => "zfs",
            Self::Create => "create",
            Self::Dataset => "dataset",
            Self::Write => "write",
            Self::Snapshot => "snapshot",
            Self::Scrub => "scrub",
            Self::Status => "status",
            Self::Export => "export",
            Self::Import => "import",
            Self::Read => "read",
            Self::Change => "change",
            Self::Rollback => "rollback",
            Self::Destroy => "destroy",
            Self::Taint => "taint",
            Self::End => "end",
        }
    }

    /// The step of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == word)
    }

    /// As the object of "while": `loading zfs`.
    pub const fn doing(self) -> &'static str {
        match self {
            Self::Start => "starting",
            Self::Drivers => "loading the drivers of the disk",
            Self::Spl => "loading spl",
            Self::Zfs => "loading zfs",
            Self::Create => "creating the pool",
            Self::Dataset => "creating a dataset",
            Self::Write => "writing to the pool",
            Self::Snapshot => "making a snapshot",
            Self::Scrub => "scrubbing the pool",
            Self::Status => "asking for the pool's health",
            Self::Export => "exporting the pool",
            Self::Import => "importing the pool",
            Self::Read => "reading from the pool",
            Self::Change => "overwriting a file",
            Self::Rollback => "rolling back to the snapshot",
            Self::Destroy => "destroying the pool",
            Self::Taint => "reading how the kernel is tainted",
            Self::End => "finishing",
        }
    }
}

impl fmt::Display for BootStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_has_a_function_for_each_step() {
        let init = include_str!("init.sh");
        for step in BootStep::ALL {
            assert!(init.contains(&format!("\nrun_{step}() {{\n")), "{step}");
            assert_eq!(BootStep::from_word(step.as_str()), Some(step));
        }
        assert_eq!(init.matches("\nrun_").count(), BootStep::ALL.len());
    }

    #[test]
    fn no_boot_has_a_step_twice_and_each_ends() {
        for boot in [Boot::Probe, Boot::First, Boot::Second] {
            let mut steps = boot.steps().to_vec();
            assert_eq!((steps.first(), steps.last()), (Some(&BootStep::Start), Some(&BootStep::End)));
            steps.sort();
            steps.dedup();
            assert_eq!(steps.len(), boot.steps().len());
        }
    }
}
