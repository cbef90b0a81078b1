//! The clean-up of a store: everything is looked at, [`RetentionPlan`](crate::model::retention::RetentionPlan) decides,
//! and what it decided is carried out, one manifest at a time, with a way back.
//!
//! Three kinds of stores, one engine: [`Stock`] is what they have in common. Whatever cannot be found out is an error,
//! never "nothing there".

mod apply;
mod cache;
mod check;
mod error;
mod github;
mod journal;
mod layout;
mod registry;
mod restore;
mod stock;

pub use apply::{Applied, Skipped, apply};
pub use cache::Cache;
pub use check::{Checked, check};
pub use error::RetentionError;
pub use github::GithubStock;
pub use journal::{Journal, Record, read_journal};
pub use layout::LayoutStock;
pub use registry::RegistryStock;
pub use restore::{Restored, restore};
pub use stock::{Cost, Stock};

/// How many manifests are asked for at the same time.
const CONCURRENT: usize = 8;
