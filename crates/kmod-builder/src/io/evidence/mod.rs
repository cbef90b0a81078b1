//! The evidence beside an image in a registry: read, signed and attached.

pub mod attach;
pub mod builder;
pub mod github_attestations;
mod read;
pub mod signer;

pub use read::{bundles, simple_signatures, stored_bundles, stored_evidence, summaries, write_bundles};
