//! Cleans up a store: gathers everything, lets [`RetentionPlan`](crate::model::cleanup::RetentionPlan) decide, and
//! deletes one manifest at a time after recording it in the journal.
//!
//! [`RetentionBackend`] covers the three kinds of stores. A failed lookup is an error, never "nothing there".

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
pub use backend::{CleanupRequests, RetentionBackend};
pub use cache::CleanupCache;
pub use error::RetentionError;
pub use github::GithubBackend;
pub use integrity::{BrokenManifest, IntegrityCheck, check};
pub use journal::{Journal, JournalRecord, read_journal};
pub use layout::LayoutBackend;
pub use registry::RegistryBackend;
pub use restore::{RestoredManifest, restore};

/// Concurrent manifest reads.
const CONCURRENT: usize = 8;
