use kmod_compat::KernelRelease;
use serde::{Deserialize, Serialize};

use super::{Age, Percentage};

/// What to keep: the flags of `cleanup`, and part of a plan. A plan of a version that did not know a field gets its
/// default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default)]
pub struct RetentionPolicy {
    /// Delete images for users at this age (hours, days, weeks: 36h, 90d, 12w)
    #[arg(long, value_name = "AGE", default_value_t = RetentionPolicy::default().older_than)]
    pub older_than: Age,
    /// Delete candidates that were never promoted at this age
    #[arg(long, value_name = "AGE", default_value_t = RetentionPolicy::default().candidates_older_than)]
    pub candidates_older_than: Age,
    /// Delete images of branches at this age
    #[serde(alias = "betas_older_than")]
    #[arg(long, alias = "betas-older-than", value_name = "AGE", default_value_t = RetentionPolicy::default().branches_older_than)]
    pub branches_older_than: Age,
    // Evidence may be pushed before its image (OCI distribution specification 1.1, "Pushing Manifests with Subject").
    #[arg(skip = RetentionPolicy::default().orphans_older_than)]
    pub orphans_older_than: Age,
    /// Keep this many of the newest images per OpenZFS line and architecture, whatever their age
    #[arg(long, value_name = "NUMBER", default_value_t = RetentionPolicy::default().keep_newest)]
    pub keep_newest: usize,
    #[arg(skip)]
    pub keep_kernels: Vec<HostKernel>,
    /// Refuse to leave fewer images for users than this
    #[arg(long, value_name = "NUMBER", default_value_t = RetentionPolicy::default().minimum)]
    pub minimum: usize,
    /// Refuse to delete more than this percentage of all manifests
    #[arg(long, value_name = "PERCENTAGE", default_value_t = RetentionPolicy::default().max_delete)]
    pub max_delete: Percentage,
}

/// A kernel that hosts can still run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostKernel {
    pub kernel: KernelRelease,
    /// The releases with this kernel: `stable 43.20260301.3.1`.
    pub seen: String,
}

impl Default for RetentionPolicy {
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
