use std::fmt;

use serde::{Serialize, Serializer};

use crate::{KernelRelease, KernelSeries, ZfsVersion};

/// Whether a release of OpenZFS may be built for a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Verdict {
    Compatible,
    #[serde(untagged)]
    Incompatible(Incompatibility),
}

impl Verdict {
    /// `compatible`, or the [kind](Incompatibility::kind) of the incompatibility. Stable, for machines.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Compatible => "compatible",
            Self::Incompatible(incompatibility) => incompatibility.kind(),
        }
    }

    /// The row of the matrix that recalls the pair.
    pub fn exclusion(&self) -> Option<&Incompatibility> {
        match self {
            Self::Incompatible(reason) if reason.is_exclusion() => Some(reason),
            _ => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compatible => f.pad(self.kind()),
            Self::Incompatible(incompatibility) => incompatibility.fmt(f),
        }
    }
}

/// Why a release is not built for a kernel. An expected answer, not an error; its text is one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incompatibility {
    pub zfs: ZfsVersion,
    pub kernel: KernelRelease,
    pub cause: IncompatibilityCause,
}

/// `source` is a link to where the bound is declared or the exclusion was reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum IncompatibilityCause {
    /// The matrix has no row for the release.
    UnverifiedRelease {
        /// Why upstream's statements about it are not used instead, if they were read.
        #[serde(skip_serializing_if = "Option::is_none")]
        reasons: Option<Vec<String>>,
    },
    #[serde(rename = "unsupported")]
    KernelTooNew { max: KernelSeries, source: String },
    #[serde(rename = "unsupported")]
    KernelTooOld { min: KernelSeries, source: String },
    /// The pair is known not to work, whatever the release declares.
    Excluded { reason: String, source: String },
}

impl Incompatibility {
    /// `unverified-release`, `unsupported` or `excluded`. Stable, for machines.
    pub const fn kind(&self) -> &'static str {
        match self.cause {
            IncompatibilityCause::UnverifiedRelease { .. } => "unverified-release",
            IncompatibilityCause::KernelTooNew { .. } | IncompatibilityCause::KernelTooOld { .. } => {
                "unsupported"
            }
            IncompatibilityCause::Excluded { .. } => "excluded",
        }
    }

    /// Whether an `[[exclude]]` row is the cause.
    pub const fn is_exclusion(&self) -> bool {
        matches!(self.cause, IncompatibilityCause::Excluded { .. })
    }

    /// The link to the proof, where there is one.
    pub fn source(&self) -> Option<&str> {
        match &self.cause {
            IncompatibilityCause::UnverifiedRelease { .. } => None,
            IncompatibilityCause::KernelTooNew { source, .. }
            | IncompatibilityCause::KernelTooOld { source, .. }
            | IncompatibilityCause::Excluded { source, .. } => Some(source),
        }
    }
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { zfs, kernel, cause } = self;
        match cause {
            IncompatibilityCause::UnverifiedRelease { reasons: None } => write!(
                f,
                "the compatibility matrix has no row for OpenZFS {zfs}, \
                 so nothing says that it supports kernel {kernel}"
            ),
            IncompatibilityCause::UnverifiedRelease { reasons: Some(reasons) } => write!(
                f,
                "the compatibility matrix has no row for OpenZFS {zfs}, \
                 and upstream's statements about it disagree: {}",
                reasons.join("; ")
            ),
            IncompatibilityCause::KernelTooNew { max, source } => write!(
                f,
                "kernel {kernel} is too new for OpenZFS {zfs}, which supports kernels up to {max} ({source})"
            ),
            IncompatibilityCause::KernelTooOld { min, source } => write!(
                f,
                "kernel {kernel} is too old for OpenZFS {zfs}, which supports kernels from {min} on ({source})"
            ),
            IncompatibilityCause::Excluded { reason, source } => {
                write!(f, "OpenZFS {zfs} is excluded for kernel {kernel}: {reason} ({source})")
            }
        }
    }
}

/// `kind`, what the kind has (`max`, `min`, `reason`, `source`), `zfs`, `kernel`, `message`.
impl Serialize for Incompatibility {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            cause: &'a IncompatibilityCause,
            zfs: ZfsVersion,
            kernel: &'a KernelRelease,
            message: String,
        }
        let message = self.to_string();
        Document { cause: &self.cause, zfs: self.zfs, kernel: &self.kernel, message }.serialize(serializer)
    }
}
