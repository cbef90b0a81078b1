use crate::{Held, KernelRelease, KernelVersionPrefix, ZfsVersion};

/// A pair that is known not to work, though the release may declare support for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    pub(super) zfs: ZfsVersion,
    pub(super) kernel: KernelVersionPrefix,
    pub(super) reason: String,
    pub(super) source: String,
}

impl Exclusion {
    /// The release of OpenZFS.
    pub const fn zfs(&self) -> ZfsVersion {
        self.zfs
    }

    /// The kernels, by the beginning of their upstream version.
    pub const fn kernel(&self) -> &KernelVersionPrefix {
        &self.kernel
    }

    /// What is wrong with the pair.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The link to where that was reported.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn covers(&self, zfs: ZfsVersion, kernel: &KernelRelease) -> bool {
        self.zfs == zfs && self.kernel.matches(kernel)
    }

    pub(super) fn held(&self, kernel: &KernelRelease) -> Held {
        Held::Excluded {
            zfs: self.zfs,
            kernel: kernel.clone(),
            reason: self.reason.clone(),
            source: self.source.clone(),
        }
    }
}
