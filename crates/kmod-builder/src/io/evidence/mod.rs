//! Reads, signs and attaches the evidence of an image in a registry.

pub mod attach;
pub mod builder;
mod read;
pub mod resign;
pub mod signer;
pub mod statement_publisher;

pub use read::{
    bundles, missing_boot_tests, simple_signatures, stored_bundles, stored_evidence, stored_statements,
    summaries, write_bundles,
};
