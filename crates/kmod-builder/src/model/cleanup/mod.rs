//! Which manifests of a store are kept and which are deleted.
//!
//! [`Inventory`] is complete knowledge of a store, [`RetentionPolicy`] is what its owner wants, and [`RetentionPlan`] gives
//! every stored manifest exactly one line: keep or delete, with its reason. Three things hold for every plan:
//!
//! * Nothing that is kept needs anything that is deleted. An image needs the images it lists, everything that refers
//!   to it (attestations, and attestations on attestations), the index of those under the tag `sha256-<hex>`, and its
//!   `.sig`, `.att` and `.sbom` tags; evidence that is kept needs what it speaks about.
//! * A digest is one unit, whatever number of tags it has: it goes only if each of them may.
//! * Deletions are ordered such that stopping after any of them leaves evidence without an image at worst, never an
//!   image without its evidence.

mod age;
mod dependencies;
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
mod schema;

pub use super::tags::TagClass;
pub use age::{Age, ParseAgeError, ParsePercentageError, Percentage};
pub use dependencies::Dependencies;
pub use evaluator::DELETE_REASONS;
pub use hosts::releases_in_use;
pub use inventory::{Inventory, StoredManifest};
pub use keep_rules::{KEEP_RULES, KeepRule};
pub use manifest_info::{BlobRef, ManifestInfo, ManifestKind};
pub use plan::{RetentionDecision, RetentionEntry, RetentionPlan};
pub use policy::{HostKernel, RetentionPolicy};
pub use reason::RetentionReason;
pub use rejection::PlanRejection;
pub use schema::{StoredSchema, UnsupportedSchema};

#[cfg(test)]
mod tests;
