//! Layers: tar archives of RPMs, written reproducibly and read as untrusted input.

mod hash;
mod read;
mod write;

pub use hash::Hashing;
pub use read::{DUPLICATE, LayerEntry, LayerError, LayerReader};
pub use write::{LayerFile, write};
