//! Nouns and decisions: pure, synchronous, total. The clock is an argument.

mod digest;
pub mod image;
pub mod inputs;
mod target;

pub use digest::{Digest, ParseDigestError};
pub use target::Target;
