//! Nouns and decisions: pure, synchronous, total. The clock is an argument.

pub mod containerfile;
mod digest;
pub mod image;
pub mod inputs;
pub mod plan;
pub mod podman;
mod target;

pub use digest::{Digest, ParseDigestError};
pub use target::Target;
