//! Reads `META` from the release tarball.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use kmod_compat::{Meta, MetaError, ZfsVersion};

/// Bytes; `META` has about 200.
const LARGEST_META: u64 = 64 * 1024;

/// Parses `zfs-X/META` in a release tarball.
pub fn meta(path: &Path, zfs: ZfsVersion) -> Result<Meta, TarballError> {
    let wanted = Path::new(&zfs.tag()).join("META");
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(path)?));
    for entry in archive.entries()? {
        let entry = entry?;
        if entry.path()? == wanted {
            let mut text = String::new();
            entry.take(LARGEST_META).read_to_string(&mut text)?;
            return Ok(Meta::parse(&text)?);
        }
    }
    Err(TarballError::NoMeta { wanted: wanted.display().to_string() })
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TarballError {
    #[error("the tarball does not hold `{wanted}`")]
    NoMeta {
        /// Path in the archive: `zfs-X/META`.
        wanted: String,
    },
    #[error("the tarball's `META` is not understood")]
    Meta(#[from] MetaError),
    #[error("the tarball cannot be read")]
    Io(#[from] std::io::Error),
}
