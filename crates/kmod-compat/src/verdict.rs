use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::{KernelRelease, KernelSeries, ZfsVersion};

/// Whether a release of OpenZFS may be built for a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Compatible,
    /// It may not, and why.
    Held(Held),
}

impl Verdict {
    /// The stable word for machines: `compatible`, or the [class](Held::class) of the reason.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Compatible => "compatible",
            Self::Held(held) => held.class(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compatible => f.pad(self.class()),
            Self::Held(held) => held.fmt(f),
        }
    }
}

/// An object with a `class`; that of the [reason](Held) unless it is `compatible`.
impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Compatible => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("class", self.class())?;
                map.end()
            }
            Self::Held(held) => held.serialize(serializer),
        }
    }
}

/// Why a target is not built. An expected answer, not an error; its text is one whole sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The matrix has no row for the release, and its policy is to wait for one.
    UnlistedReleasePolicy {
        /// The release of OpenZFS.
        zfs: ZfsVersion,
        /// The kernel it was asked for.
        kernel: KernelRelease,
    },
    /// The kernel's series is above the newest that the release declares.
    KernelTooNew {
        /// The release of OpenZFS.
        zfs: ZfsVersion,
        /// The kernel it was asked for.
        kernel: KernelRelease,
        /// The newest series that the release declares.
        max: KernelSeries,
        /// Where the release declares it.
        source: String,
    },
    /// The kernel's series is below the oldest that the release declares.
    KernelTooOld {
        /// The release of OpenZFS.
        zfs: ZfsVersion,
        /// The kernel it was asked for.
        kernel: KernelRelease,
        /// The oldest series that the release declares.
        min: KernelSeries,
        /// Where the release declares it.
        source: String,
    },
    /// The pair is known not to work, whatever the release declares.
    Excluded {
        /// The release of OpenZFS.
        zfs: ZfsVersion,
        /// The kernel it was asked for.
        kernel: KernelRelease,
        /// What is wrong with the pair.
        reason: String,
        /// Where that was reported.
        source: String,
    },
}

impl Held {
    /// The release of OpenZFS.
    pub const fn zfs(&self) -> ZfsVersion {
        match self {
            Self::UnlistedReleasePolicy { zfs, .. }
            | Self::KernelTooNew { zfs, .. }
            | Self::KernelTooOld { zfs, .. }
            | Self::Excluded { zfs, .. } => *zfs,
        }
    }

    /// The kernel it was asked for.
    pub const fn kernel(&self) -> &KernelRelease {
        match self {
            Self::UnlistedReleasePolicy { kernel, .. }
            | Self::KernelTooNew { kernel, .. }
            | Self::KernelTooOld { kernel, .. }
            | Self::Excluded { kernel, .. } => kernel,
        }
    }

    /// The link to the proof, where there is one.
    pub fn source(&self) -> Option<&str> {
        match self {
            Self::UnlistedReleasePolicy { .. } => None,
            Self::KernelTooNew { source, .. }
            | Self::KernelTooOld { source, .. }
            | Self::Excluded { source, .. } => Some(source),
        }
    }

    /// The stable word for machines. Sentences may be reworded, these may not.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::UnlistedReleasePolicy { .. } => "unknown-release",
            Self::KernelTooNew { .. } => "kernel-too-new",
            Self::KernelTooOld { .. } => "kernel-too-old",
            Self::Excluded { .. } => "excluded",
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnlistedReleasePolicy { zfs, kernel } => write!(
                f,
                "the compatibility matrix has no row for OpenZFS {zfs}, \
                 so nothing says that it supports kernel {kernel}"
            ),
            Self::KernelTooNew { zfs, kernel, max, source } => write!(
                f,
                "kernel {kernel} is too new for OpenZFS {zfs}, which supports kernels up to {max} ({source})"
            ),
            Self::KernelTooOld { zfs, kernel, min, source } => write!(
                f,
                "kernel {kernel} is too old for OpenZFS {zfs}, which supports kernels from {min} on ({source})"
            ),
            Self::Excluded { zfs, kernel, reason, source } => {
                write!(f, "OpenZFS {zfs} is excluded for kernel {kernel}: {reason} ({source})")
            }
        }
    }
}

/// `class`, `zfs`, `kernel`, then what the class has (`max`, `min`, `reason`, `source`), and `message`.
impl Serialize for Held {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("class", self.class())?;
        map.serialize_entry("zfs", &self.zfs())?;
        map.serialize_entry("kernel", self.kernel())?;
        match self {
            Self::UnlistedReleasePolicy { .. } => {}
            Self::KernelTooNew { max, .. } => map.serialize_entry("max", max)?,
            Self::KernelTooOld { min, .. } => map.serialize_entry("min", min)?,
            Self::Excluded { reason, .. } => map.serialize_entry("reason", reason)?,
        }
        if let Some(source) = self.source() {
            map.serialize_entry("source", source)?;
        }
        map.serialize_entry("message", &self.to_string())?;
        map.end()
    }
}
