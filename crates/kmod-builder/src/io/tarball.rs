//! The release tarball, as far as it is read here: its `META`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use kmod_compat::{Meta, MetaError, ZfsVersion};

/// `META` is about 200 bytes.
const LARGEST_META: u64 = 64 * 1024;

/// What the `META` in a release tarball (`zfs-X/META`) declares.
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

/// The tarball is not one of OpenZFS.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TarballError {
    /// It holds no `META`.
    #[error("the tarball does not hold `{wanted}`")]
    NoMeta {
        /// The path in it.
        wanted: String,
    },
    /// Its `META` is not understood.
    #[error("the tarball's `META` is not understood")]
    Meta(#[from] MetaError),
    /// It cannot be read.
    #[error("the tarball cannot be read")]
    Io(#[from] std::io::Error),
}
