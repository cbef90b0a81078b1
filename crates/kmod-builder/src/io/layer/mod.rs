//! Layers: tar archives of RPMs, written the same way every time and read with suspicion.

mod hash;
mod read;
mod write;

pub use hash::Hashing;
pub use read::{EntryRejection, LayerEntry, LayerError, LayerReader};
pub use write::{LayerFile, write};
