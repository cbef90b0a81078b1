use serde::{Serialize, Serializer};

use super::{BootStep, Taints};

/// Why an image did not pass: a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootFailure {
    /// Nothing came from the guest at all.
    #[error("the kernel never spoke within {0} s")]
    NeverSpoke(u64),
    /// The guest hung, or was too slow.
    #[error("the guest was not done within {seconds} s: it was still {}", step.doing())]
    TimeUp {
        /// The limit.
        seconds: u64,
        /// What it was at.
        step: BootStep,
    },
    /// A module does not fit the kernel.
    #[error("{module}.ko was built for another kernel: {reason}")]
    OtherKernel {
        /// The module.
        module: String,
        /// The kernel's words, or ours.
        reason: String,
    },
    /// A module uses what the kernel does not have.
    #[error("{module}.ko uses what this kernel does not offer: {words}")]
    UnknownSymbol {
        /// The module.
        module: String,
        /// The kernel's words.
        words: String,
    },
    /// The kernel found itself broken.
    #[error("the kernel oopsed while {}: {words}", doing(*step))]
    Oops {
        /// What the guest was at; `None` when it had said its last.
        step: Option<BootStep>,
        /// The kernel's words.
        words: String,
    },
    /// The kernel gave up.
    #[error("the kernel panicked while {}: {words}", doing(*step))]
    Panic {
        /// What the guest was at.
        step: Option<BootStep>,
        /// The kernel's words.
        words: String,
    },
    /// An assertion of OpenZFS failed.
    #[error("an assertion of OpenZFS failed while {}: {words}", doing(*step))]
    Assertion {
        /// What the guest was at.
        step: Option<BootStep>,
        /// The kernel's words.
        words: String,
    },
    /// The kernel is tainted in a way that OpenZFS does not explain.
    #[error(
        "the kernel is tainted ({0}) by more than a module that is proprietary, out of tree and not signed (POE)"
    )]
    Taint(Taints),
    /// Another kernel runs.
    #[error("the guest runs the kernel `{found}`, not {expected}")]
    WrongKernel {
        /// What should run.
        expected: String,
        /// What it says.
        found: String,
    },
    /// Another OpenZFS was loaded.
    #[error("zfs.ko says that it is of version `{found}`, not {expected}")]
    WrongVersion {
        /// What the package says.
        expected: String,
        /// What the module says.
        found: String,
    },
    /// The pool is lost.
    #[error("the pool did not come back after the reboot: {0}")]
    Lost(String),
    /// The data are not those that were written.
    #[error("{when} the files have the digest `{found}`, not {expected}")]
    OtherData {
        /// At which step, as the beginning of a sentence.
        when: &'static str,
        /// What was written.
        expected: String,
        /// What was read.
        found: String,
    },
    /// A file was overwritten, and nothing changed.
    #[error("a file was overwritten, and the files still have the same digest")]
    Unchanged,
    /// A step did not say what it has to say.
    #[error("the guest went on after {} without the digest of the files: `{words}`", step.doing())]
    NoDigest {
        /// The step.
        step: BootStep,
        /// What it said.
        words: String,
    },
    /// A step failed for a reason of its own.
    #[error("{} failed: {}", step.doing(), if words.is_empty() { "it does not say why" } else { words })]
    BootStep {
        /// The step.
        step: BootStep,
        /// What the program said.
        words: String,
    },
    /// A line of the guest's is damaged.
    #[error("a line on the console cannot be read: `{0}`")]
    Garbled(String),
    /// A line is not of this run.
    #[error("a line on the console is of another run: `{0}`")]
    OtherRun(String),
    /// A step was left out, or came twice.
    #[error("the guest said `{found}` where `{}` had to come", expected.map_or("nothing", BootStep::as_str))]
    OutOfOrder {
        /// What should have come; `None` after the last step.
        expected: Option<BootStep>,
        /// What came.
        found: String,
    },
    /// The guest ended in the middle.
    #[error("the guest ended while {}, without a word", step.doing())]
    Ended {
        /// What it was at.
        step: BootStep,
    },
    /// Everything was said, but the kernel never took leave.
    #[error("the guest did every step and then did not power off")]
    StayedOn,
    /// The emulator failed.
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
