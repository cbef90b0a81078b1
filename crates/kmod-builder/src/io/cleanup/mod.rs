//! Cleans up a store: gathers everything, lets [`RetentionPlan`](crate::model::cleanup::RetentionPlan) decide, and
//! deletes one manifest at a time after recording it in the journal.
//!
//! [`RetentionBackend`] covers the three kinds of stores. A failed lookup is an error, never "nothing there".

mod access;
mod apply;
mod backend;
mod cache;
mod error;
mod github;
mod integrity;
mod journal;
mod kernels;
mod layout;
mod plan_file;
mod registry;
mod restore;

pub use access::StoreAccess;
pub use apply::{CleanupResult, CleanupRun, PreparedCleanup, RetainedManifest, SkipReason, SkippedManifest};
pub use backend::{CleanupRequests, RetentionBackend};
pub use cache::CleanupCache;
pub use error::RetentionError;
pub use github::GithubBackend;
pub use integrity::{BrokenManifest, IntegrityCheck};
pub use journal::{Journal, JournalRecord, read_journal};
pub use kernels::host_kernels;
pub use layout::LayoutBackend;
pub use plan_file::{read_plan, write_plan};
pub use registry::RegistryBackend;
pub use restore::{RestoredManifest, restore};

/// Concurrent reads.
const CONCURRENT: usize = 8;
/// Reads between two notices of progress.
const PROGRESS_STEP: usize = 500;
