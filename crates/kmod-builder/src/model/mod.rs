//! Pure and synchronous types and decisions. The clock is an argument.

pub mod boot_test;
pub mod builder_policy;
pub mod ci_report;
pub mod cleanup;
pub mod compose;
mod compression;
pub mod config;
pub mod containerfile;
pub mod document;
pub mod elf;
pub mod evidence;
pub mod image_diff;
pub mod inputs;
pub mod manifest;
pub mod packages;
pub mod plan;
pub mod podman;
pub mod printable;
pub mod promote;
pub mod publish;
pub mod reconcile;
pub mod referrers;
pub mod rpm_signature;
pub mod tags;
mod target;
pub mod verify;

pub use compression::Compression;
pub use document::DocumentSchema;
pub use kmod_query::{Digest, ParseDigestError, oci, reference as image};
pub use target::Target;
