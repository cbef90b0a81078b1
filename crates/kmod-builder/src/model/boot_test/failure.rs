use serde::{Serialize, Serializer};

use super::{BootStep, Taints};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootFailure {
    #[error("the kernel never spoke within {0} s")]
    NeverSpoke(u64),
    #[error("the guest did not finish within {seconds} s: it was still {}", step.doing())]
    TimeUp { seconds: u64, step: BootStep },
    #[error("{module}.ko was built for another kernel: {reason}")]
    OtherKernel { module: String, reason: String },
    #[error("{module}.ko uses a symbol that this kernel does not export: {words}")]
    UnknownSymbol { module: String, words: String },
    #[error("the kernel oopsed while {}: {words}", doing(*step))]
    Oops {
        /// `None` after the last step.
        step: Option<BootStep>,
        words: String,
    },
    #[error("the kernel panicked while {}: {words}", doing(*step))]
    Panic { step: Option<BootStep>, words: String },
    #[error("an assertion of OpenZFS failed while {}: {words}", doing(*step))]
    Assertion { step: Option<BootStep>, words: String },
    #[error(
        "the kernel is tainted ({0}) by more than a module that is proprietary, out of tree and not signed (POE)"
    )]
    Taint(Taints),
    #[error("the guest runs the kernel `{found}`, not {expected}")]
    WrongKernel { expected: String, found: String },
    #[error("zfs.ko reports the version `{found}`, not {expected}")]
    WrongVersion { expected: String, found: String },
    #[error("the pool did not come back after the reboot: {0}")]
    Lost(String),
    #[error("{when} the files have the digest `{found}`, not {expected}")]
    OtherData { when: &'static str, expected: String, found: String },
    #[error("a file was overwritten, and the files still have the same digest")]
    Unchanged,
    #[error("the guest went on after {} without the digest of the files: `{words}`", step.doing())]
    NoDigest { step: BootStep, words: String },
    #[error("{} failed: {}", step.doing(), if words.is_empty() { "no reason given" } else { words })]
    BootStep { step: BootStep, words: String },
    #[error("cannot parse a console line: `{0}`")]
    Garbled(String),
    #[error("a console line belongs to another run: `{0}`")]
    OtherRun(String),
    #[error("unexpected guest step `{found}`, expected `{}`", expected.map_or("nothing", BootStep::as_str))]
    OutOfOrder {
        /// `None` after the last step.
        expected: Option<BootStep>,
        found: String,
    },
    #[error("the guest ended while {} and gave no reason", step.doing())]
    Ended { step: BootStep },
    #[error("the guest completed every step but did not power off")]
    StayedOn,
    #[error("the emulator failed: {0}")]
    Emulator(String),
}

fn doing(step: Option<BootStep>) -> &'static str {
    step.map_or("powering off", BootStep::doing)
}

impl Serialize for BootFailure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
