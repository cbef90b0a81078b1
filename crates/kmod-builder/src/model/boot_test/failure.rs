use serde::{Serialize, Serializer};

use super::{BootStep, Taints};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootFailure {
    #[error("the kernel never spoke within {0} s")]
    NeverSpoke(u64),
    #[error("the guest did not finish within {seconds} s: it was still {}", step.doing())]
    TimeUp { seconds: u64, step: BootStep },
    /// `fault` is [`BootFailure::OTHER_KERNEL`] or similar.
    #[error("{module}.ko {fault}: {reason}")]
    Module { module: String, fault: &'static str, reason: String },
    /// The fault is `the kernel panicked` or similar; the step is `None` after the last step.
    #[error("{fault} while {}: {words}", step.map_or("powering off", BootStep::doing))]
    Kernel { fault: &'static str, step: Option<BootStep>, words: String },
    #[error(
        "the kernel is tainted ({0}) by more than a module that is proprietary, out of tree and not signed (POE)"
    )]
    Taint(Taints),
    #[error("the pool did not come back after the reboot: {0}")]
    Lost(String),
    /// `what` is `the guest runs the kernel` or similar.
    #[error("{what} `{found}`, not {expected}")]
    Wrong { what: &'static str, expected: String, found: String },
    #[error("a file was overwritten, and the files still have the same digest")]
    Unchanged,
    #[error("the guest went on after {} without the digest of the files: `{words}`", step.doing())]
    NoDigest { step: BootStep, words: String },
    #[error("{} failed: {}", step.doing(), if words.is_empty() { "no reason given" } else { words })]
    BootStep { step: BootStep, words: String },
    /// `fault` is `cannot parse a console line` or similar.
    #[error("{fault}: `{line}`")]
    ConsoleLine { fault: &'static str, line: String },
    #[error("unexpected guest step `{found}`, expected `{}`", expected.map_or("nothing", BootStep::as_str))]
    OutOfOrder { expected: Option<BootStep>, found: String },
    #[error("the guest ended while {} and gave no reason", step.doing())]
    Ended { step: BootStep },
    #[error("the guest completed every step but did not power off")]
    StayedOn,
    #[error("the emulator failed: {0}")]
    Emulator(String),
}

impl BootFailure {
    pub(super) const OTHER_KERNEL: &str = "was built for another kernel";
}

impl Serialize for BootFailure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
