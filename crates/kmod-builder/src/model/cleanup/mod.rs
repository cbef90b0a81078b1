//! Which manifests of a store are kept and which are deleted.
//!
//! [`Inventory`] lists a store completely, [`RetentionPolicy`] has the limits, and [`RetentionPlan`] has exactly one
//! decision with its reason for every stored manifest. Invariants of every plan:
//!
//! * Nothing that is kept needs anything that is deleted. An image needs the images it lists, its referrers (and
//!   theirs), its referrers index under `sha256-<hex>`, and its `.sig`, `.att` and `.sbom` tags. Evidence that is
//!   kept needs its subject.
//! * A digest is deleted only if each of its tags may be deleted.
//! * After an interruption there may be evidence without an image, but never an image without its evidence.

mod age;
mod evaluator;
mod graph;
mod hosts;
mod inventory;
mod keep_rules;
mod manifest_info;
mod plan;
mod policy;
mod reason;
mod rejection;

pub use super::tags::TagClass;
pub use age::{Age, ParseLimitError, Percentage};
pub use evaluator::DELETE_REASONS;
pub use graph::Graph;
pub use hosts::releases_in_use;
pub use inventory::{Inventory, StoredManifest};
pub use keep_rules::{KEEP_RULES, KeepRule};
pub use manifest_info::{BlobRef, ManifestInfo, ManifestKind};
pub use plan::{RetentionDecision, RetentionEntry, RetentionPlan};
pub use policy::{FollowedStream, HostKernel, RetentionLimits, RetentionPolicy};
pub use reason::RetentionReason;
pub use rejection::PlanRejection;

#[cfg(test)]
mod tests;
