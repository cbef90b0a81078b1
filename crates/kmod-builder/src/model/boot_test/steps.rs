use std::fmt;

use serde::{Serialize, Serializer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Boot {
    Probe,
    First,
    Second,
}

impl Boot {
    /// 0 for the probe, then 1 and 2.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// In order. `init.sh` has a function for each.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BootStep {
    Start,
    Drivers,
    Spl,
    Zfs,
    Create,
    Dataset,
    Write,
    Snapshot,
    Scrub,
    Status,
    Export,
    Import,
    Read,
    Change,
    Rollback,
    Destroy,
    Taint,
    End,
}

/// Id on the console and in JSON, and the text that continues "while".
const STEPS: [(BootStep, &str, &str); 18] = [
    (BootStep::Start, "start", "starting"),
    (BootStep::Drivers, "drivers", "loading the drivers of the disk"),
    (BootStep::Spl, "spl", "loading spl"),
    (BootStep::Zfs, "zfs", "loading zfs"),
    (BootStep::Create, "create", "creating the pool"),
    (BootStep::Dataset, "dataset", "creating a dataset"),
    (BootStep::Write, "write", "writing to the pool"),
    (BootStep::Snapshot, "snapshot", "making a snapshot"),
    (BootStep::Scrub, "scrub", "scrubbing the pool"),
    (BootStep::Status, "status", "checking the pool's health"),
    (BootStep::Export, "export", "exporting the pool"),
    (BootStep::Import, "import", "importing the pool"),
    (BootStep::Read, "read", "reading from the pool"),
    (BootStep::Change, "change", "overwriting a file"),
    (BootStep::Rollback, "rollback", "rolling back to the snapshot"),
    (BootStep::Destroy, "destroy", "destroying the pool"),
    (BootStep::Taint, "taint", "reading the taint flags of the kernel"),
    (BootStep::End, "end", "finishing"),
];

impl BootStep {
    pub const fn as_str(self) -> &'static str {
        STEPS[self as usize].1
    }

    pub fn from_id(id: &str) -> Option<Self> {
        STEPS.into_iter().find(|(_, found, _)| *found == id).map(|(step, ..)| step)
    }

    /// Continues "while": `loading zfs`.
    pub const fn doing(self) -> &'static str {
        STEPS[self as usize].2
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
    fn has_a_row_and_a_function_of_the_guest_for_each_step() {
        let init = include_str!("init.sh");
        for (number, (step, ..)) in STEPS.into_iter().enumerate() {
            assert_eq!(step as usize, number, "{step}");
            assert!(init.contains(&format!("\nrun_{step}() {{\n")), "{step}");
            assert_eq!(BootStep::from_id(step.as_str()), Some(step));
        }
        assert_eq!(init.matches("\nrun_").count(), STEPS.len());
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
