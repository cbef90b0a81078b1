use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Incompatibility, IncompatibilityCause, KernelRelease, KernelVersionPrefix, ZfsVersion};

/// A release, a kernel or a pair of both that is known not to work, though the release may declare support.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ExclusionRow", expecting = "a table")]
pub struct Exclusion {
    pub(super) zfs: Option<ZfsVersion>,
    pub(super) kernel: Option<KernelVersionPrefix>,
    reason: String,
    source: String,
    severity: Severity,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct ExclusionRow {
    zfs: Option<ZfsVersion>,
    kernel: Option<KernelVersionPrefix>,
    #[serde(deserialize_with = "super::parse::reason")]
    reason: String,
    #[serde(deserialize_with = "super::parse::link")]
    source: String,
    #[serde(default)]
    severity: Severity,
}

/// For the people who use a recalled image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Low,
    Medium,
    #[default]
    High,
    Critical,
}

impl TryFrom<ExclusionRow> for Exclusion {
    type Error = &'static str;

    fn try_from(row: ExclusionRow) -> Result<Self, Self::Error> {
        let ExclusionRow { zfs, kernel, reason, source, severity } = row;
        if zfs.is_none() && kernel.is_none() {
            return Err("the exclusion has neither `zfs` nor `kernel`");
        }
        Ok(Self { zfs, kernel, reason, source, severity })
    }
}

impl Exclusion {
    /// `None`: every release.
    pub const fn zfs(&self) -> Option<ZfsVersion> {
        self.zfs
    }

    /// The kernels, by the beginning of their upstream version. `None`: every kernel.
    pub const fn kernel(&self) -> Option<&KernelVersionPrefix> {
        self.kernel.as_ref()
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    pub const fn severity(&self) -> Severity {
        self.severity
    }

    pub(super) fn covers(&self, zfs: ZfsVersion, kernel: &KernelRelease) -> bool {
        self.zfs.is_none_or(|excluded| excluded == zfs)
            && self.kernel.as_ref().is_none_or(|excluded| excluded.matches(kernel))
    }

    pub(super) fn incompatibility(&self, zfs: ZfsVersion, kernel: &KernelRelease) -> Incompatibility {
        let cause =
            IncompatibilityCause::Excluded { reason: self.reason.clone(), source: self.source.clone() };
        Incompatibility { zfs, kernel: kernel.clone(), cause }
    }
}

/// `kernel 6.2.8 for OpenZFS 2.1.9`.
impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.zfs, &self.kernel) {
            (Some(zfs), Some(kernel)) => write!(f, "kernel {kernel} for OpenZFS {zfs}"),
            (Some(zfs), None) => write!(f, "OpenZFS {zfs}"),
            (None, Some(kernel)) => write!(f, "kernel {kernel}"),
            (None, None) => f.write_str("nothing"),
        }
    }
}
