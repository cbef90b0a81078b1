//! The clean-up of a store: everything is looked at, [`RetentionPlan`](crate::model::cleanup::RetentionPlan) decides,
//! and what it decided is carried out, one manifest at a time, with a way back.
//!
//! Three kinds of stores, one engine: [`RetentionBackend`] is what they have in common. Whatever cannot be found out is an error,
//! never "nothing there".

mod apply;
mod backend;
mod cache;
mod error;
mod github;
mod integrity;
mod journal;
mod layout;
mod registry;
mod restore;

pub use apply::{CleanupResult, RetainedManifest, SkipReason, SkippedManifest, apply};
pub use backend::{RequestStats, RetentionBackend};
pub use cache::CleanupCache;
pub use error::RetentionError;
pub use github::GithubBackend;
pub use integrity::{BrokenManifest, IntegrityCheck, check};
pub use journal::{Journal, JournalRecord, read_journal};
pub use layout::LayoutBackend;
pub use registry::RegistryBackend;
pub use restore::{RestoredManifest, restore};

/// How many manifests are asked for at the same time.
const CONCURRENT: usize = 8;
