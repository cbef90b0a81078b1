use kmod_compat::KernelRelease;
use serde::{Deserialize, Serialize};

use super::{Age, Percentage};

/// What the owner of a store wants to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetentionPolicy {
    /// Images that users may have found go at this age.
    pub older_than: Age,
    /// Images that are published and not promoted go at this age.
    pub candidates_older_than: Age,
    /// Images of branches go at this age.
    #[serde(alias = "betas_older_than")]
    pub branches_older_than: Age,
    /// Evidence whose image is not there goes at this age, never before: it may be pushed before its image
    /// (OCI distribution specification 1.1, "Pushing Manifests with Subject").
    pub orphans_older_than: Age,
    /// So many of the newest images stay, per line of OpenZFS and architecture, however old they are.
    pub keep_newest: usize,
    /// Kernels that hosts can still run; images for them stay, however old they are.
    pub keep_kernels: Vec<HostKernel>,
    /// A plan that leaves fewer images for users than this is refused.
    pub minimum: usize,
    /// A plan that deletes more than this share of the stored manifests is refused.
    pub max_delete: Percentage,
}

/// A kernel that hosts can still run, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostKernel {
    /// The kernel.
    pub kernel: KernelRelease,
    /// Where it was seen: `stable 43.20260301.3.1`.
    pub seen: String,
}

impl Default for RetentionPolicy {
    /// What `zfs-kmods cleanup` does unless it is told otherwise.
    fn default() -> Self {
        Self {
            older_than: Age::days(90),
            candidates_older_than: Age::days(14),
            branches_older_than: Age::days(14),
            orphans_older_than: Age::hours(24),
            keep_newest: 3,
            keep_kernels: Vec::new(),
            minimum: 3,
            max_delete: Percentage::HALF,
        }
    }
}
