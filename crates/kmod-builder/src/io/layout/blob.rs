use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use super::LayoutError;
use crate::io::atomic_file;
use crate::io::layer::Hashing;
use crate::model::Digest;

/// Prefix of unfinished files, in the layout's directory so that a rename stays on one file system.
const UNFINISHED: &str = ".unfinished-";

/// Dropped before [`BlobWriter::finish`], it leaves nothing.
pub struct BlobWriter {
    file: Hashing<NamedTempFile>,
    blobs: PathBuf,
}

impl BlobWriter {
    pub(super) fn new(directory: &Path, blobs: PathBuf) -> Result<Self, LayoutError> {
        let file = unfinished(directory).map_err(LayoutError::io(directory))?;
        Ok(Self { file: Hashing::new(file), blobs })
    }

    /// Renames the blob to its digest; returns digest and size.
    pub fn finish(self) -> Result<(Digest, u64), LayoutError> {
        let (file, digest, size) = self.file.finish();
        let path = self.blobs.join(digest.hex());
        atomic_file::persist(file, &path).map_err(LayoutError::io(&path))?;
        Ok((digest, size))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

pub(super) fn write_whole(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = unfinished(directory)?;
    file.write_all(bytes)?;
    atomic_file::persist(file, path)
}

fn unfinished(directory: &Path) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(directory)?;
    // The lock tells `sweep` that the writer is alive. On file systems without locks, only the age does.
    file.as_file().try_lock_shared().ok();
    Ok(file)
}

/// A younger file may belong to a writer that has not locked it yet.
const GRACE: Duration = Duration::from_mins(1);

/// Removes unfinished files of dead writers. Files that cannot be removed stay.
pub(super) fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            continue;
        }
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
        let old = age.is_ok_and(|age| age.is_ok_and(|age| age > GRACE));
        // The lock is released when the writer ends, even if it is killed.
        let abandoned = old && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if abandoned && fs::remove_file(entry.path()).is_ok() {
            tracing::debug!(file = %entry.path().display(), "removed what a killed writer left");
        }
    }
}
