//! Nouns and decisions: pure, synchronous, total. The clock is an argument.

pub mod boot;
pub mod comparison;
pub mod compose;
mod compression;
pub mod containerfile;
mod digest;
pub mod evidence;
pub mod image;
pub mod inputs;
pub mod manifest;
pub mod oci;
pub mod packages;
pub mod plan;
pub mod podman;
pub mod promote;
pub mod publish;
pub mod referrers;
pub mod retention;
pub mod service;
pub mod tags;
mod target;
pub mod verification;

pub use compression::Compression;
pub use digest::{Digest, ParseDigestError};
pub use target::Target;
