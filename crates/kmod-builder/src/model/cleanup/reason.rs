use std::fmt;

use kmod_compat::{Arch, KernelRelease, ZfsLine};
use serde::{Deserialize, Serialize};

use super::Age;
use crate::model::Digest;

/// Why a manifest stays. The strongest reason comes first and is the one that is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum KeepReason {
    /// A channel points to it.
    Channel {
        /// The channel's tag.
        tag: String,
    },
    /// It was promoted, and this says when.
    Audit {
        /// The audit tag.
        tag: String,
    },
    /// It has a tag that this program does not know.
    UnknownTag {
        /// The tag.
        tag: String,
    },
    /// It is of a kind that this program does not know.
    UnknownKind {
        /// Its media type.
        media_type: String,
    },
    /// Hosts can still run this kernel.
    HostKernel {
        /// The kernel.
        kernel: KernelRelease,
        /// Where it was seen.
        seen: String,
    },
    /// It is among the newest.
    Newest {
        /// Of this line of OpenZFS.
        line: ZfsLine,
        /// For this architecture.
        arch: Arch,
        /// So many are kept.
        of: usize,
    },
    /// It is not old enough.
    Young {
        /// It goes at this age.
        until: Age,
    },
    /// It is a candidate, and not old enough.
    YoungCandidate {
        /// It goes at this age.
        until: Age,
    },
    /// It was built from a branch, and is not old enough.
    #[serde(alias = "young-beta")]
    YoungBranch {
        /// It goes at this age.
        until: Age,
    },
    /// It came a moment ago: something may be going on with what it belongs to.
    Grace {
        /// It goes at this age at the earliest.
        until: Age,
    },
    /// Nobody says how old it is.
    AgeUnknown,
    /// Something that stays would be broken or unproven without it.
    Needed {
        /// What needs it.
        by: Digest,
    },
}

/// Why a manifest goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum DeleteReason {
    /// An image for users, old, with enough newer ones, and for a kernel that no host runs any more.
    Old {
        /// The age at which it goes.
        after: Age,
    },
    /// A candidate that was never promoted.
    OldCandidate {
        /// The age at which it goes.
        after: Age,
    },
    /// An old image of a branch.
    #[serde(alias = "old-beta")]
    OldBranch {
        /// The age at which it goes.
        after: Age,
    },
    /// No tag points to it, and nothing lists it.
    Untagged {
        /// The age at which it goes.
        after: Age,
    },
    /// It belongs to something that goes.
    With {
        /// What that is.
        image: Digest,
    },
    /// It speaks about something that is not there.
    Orphan {
        /// What it speaks about.
        subject: Digest,
    },
    /// An old state of an image's evidence, which a newer one has replaced.
    Superseded,
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel { tag } => write!(f, "the channel {tag} points to it"),
            Self::Audit { tag } => write!(f, "it was promoted ({tag})"),
            Self::UnknownTag { tag } => write!(f, "the tag {tag} is not one of ours"),
            Self::UnknownKind { media_type } => write!(f, "what `{media_type}` is, is not known"),
            Self::HostKernel { kernel, seen } => write!(f, "hosts can still run {kernel} ({seen})"),
            Self::Newest { line, arch, of } => {
                write!(f, "it is among the {of} newest of OpenZFS {line} for {arch}")
            }
            Self::Young { until } => write!(f, "it is younger than {until}"),
            Self::YoungCandidate { until } => write!(f, "it is a candidate younger than {until}"),
            Self::YoungBranch { until } => write!(f, "it is of a branch and younger than {until}"),
            Self::Grace { until } => write!(f, "it is younger than {until}: its image may be at work"),
            Self::AgeUnknown => f.write_str("its age is not known"),
            Self::Needed { by } => write!(f, "{} needs it", by.short()),
        }
    }
}

impl fmt::Display for DeleteReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old { after } => write!(f, "it is older than {after} and no host runs its kernel"),
            Self::OldCandidate { after } => write!(f, "it is a candidate older than {after}"),
            Self::OldBranch { after } => write!(f, "it is of a branch and older than {after}"),
            Self::Untagged { after } => write!(f, "nothing points to it and it is older than {after}"),
            Self::With { image } => write!(f, "it belongs to {}, which goes", image.short()),
            Self::Orphan { subject } => write!(f, "it speaks about {}, which is not there", subject.short()),
            Self::Superseded => f.write_str("newer evidence has replaced it"),
        }
    }
}
