use serde::{Deserialize, Serialize};

/// What kind of trouble it is: who can do something about it, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// OpenZFS does not support the kernel yet; expected, and no failure.
    Held,
    /// A server that tells what exists, or a download, did not answer as it should.
    Upstream,
    /// The kernel's headers are in no known place any more.
    HeadersGone,
    /// A stage of the build failed.
    Build,
    /// What was built broke the RPM contract, or what was published lacks its evidence.
    Contract,
    /// The boot test ran and did not pass.
    Boot,
    /// The registry did not answer as it should.
    Registry,
    /// Somebody was not allowed to do something.
    Permission,
    /// The piece left no word: its machine was lost, it was cancelled, or it ran out of time.
    Lost,
    /// Anything else.
    Other,
}

impl Class {
    /// Every class, in the order of the tables.
    pub const ALL: [Self; 10] = [
        Self::Held,
        Self::Upstream,
        Self::HeadersGone,
        Self::Build,
        Self::Contract,
        Self::Boot,
        Self::Registry,
        Self::Permission,
        Self::Lost,
        Self::Other,
    ];

    /// The word for it in records and markers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Upstream => "upstream",
            Self::HeadersGone => "headers-gone",
            Self::Build => "build",
            Self::Contract => "contract",
            Self::Boot => "boot",
            Self::Registry => "registry",
            Self::Permission => "permission",
            Self::Lost => "lost",
            Self::Other => "other",
        }
    }

    /// The class that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.word() == word)
    }

    /// The words for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Upstream => "upstream does not answer",
            Self::HeadersGone => "the kernel's headers are gone",
            Self::Build => "the build failed",
            Self::Contract => "the contract is broken",
            Self::Boot => "the boot test failed",
            Self::Registry => "the registry does not answer",
            Self::Permission => "a permission is missing",
            Self::Lost => "a job was lost",
            Self::Other => "something else failed",
        }
    }

    /// What to do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Held => {
                "Nothing: it is built by itself when a release of OpenZFS supports the kernel. Until then hosts stay \
                 on the kernel before."
            }
            Self::Upstream => "Nothing, if it goes away by itself: the next scheduled run tries again.",
            Self::HeadersGone => {
                "Upstream has dropped the headers of a kernel that a stream still ships. Look for kernel-devel of this \
                 kernel in Fedora's build system; the next release of the stream mends it by itself."
            }
            Self::Build => {
                "Read the end of the log. If OpenZFS does not compile for this kernel although it says that it does, \
                 add an `[[exclude]]` row to compat/zfs.toml with the link to the report."
            }
            Self::Contract => {
                "The image was not kept. The log names each check that failed; the packages of this build are not what \
                 hosts can use."
            }
            Self::Boot => {
                "The image stays a candidate and is not promoted. The log ends with the console of the guest; report it \
                 to OpenZFS if the modules are at fault."
            }
            Self::Registry => {
                "Nothing, if it goes away by itself: the next scheduled run goes on from what is published already."
            }
            Self::Permission => {
                "In GitHub: the package's settings, Manage Actions access, must give this repository the role Write, and \
                 Admin for the clean-up; the repository's settings must let workflows ask for what the jobs declare."
            }
            Self::Lost => {
                "Run the failed jobs again; if it stays so, look whether they run out of time or disk."
            }
            Self::Other => "Read the message, and the log of the job.",
        }
    }

    /// Whether it is trouble, or news.
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Held)
    }
}
