use crate::{Incompatibility, IncompatibilityCause, KernelRelease, KernelVersionPrefix, ZfsVersion};

/// A pair that is known not to work, though the release may declare support for the kernel.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Exclusion {
    pub(super) zfs: ZfsVersion,
    pub(super) kernel: KernelVersionPrefix,
    #[serde(deserialize_with = "super::parse::reason")]
    reason: String,
    #[serde(deserialize_with = "super::parse::link")]
    source: String,
}

impl Exclusion {
    pub const fn zfs(&self) -> ZfsVersion {
        self.zfs
    }

    /// The kernels, by the beginning of their upstream version.
    pub const fn kernel(&self) -> &KernelVersionPrefix {
        &self.kernel
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn covers(&self, zfs: ZfsVersion, kernel: &KernelRelease) -> bool {
        self.zfs == zfs && self.kernel.matches(kernel)
    }

    pub(super) fn incompatibility(&self, kernel: &KernelRelease) -> Incompatibility {
        let cause =
            IncompatibilityCause::Excluded { reason: self.reason.clone(), source: self.source.clone() };
        Incompatibility { zfs: self.zfs, kernel: kernel.clone(), cause }
    }
}
