use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::atomic_file;
use crate::digest::Digest;
use crate::oci::RawManifest;

/// Small content by digest, kept between runs.
///
/// A file is the media type, a line feed, and the bytes, whose digest is checked on every read. The content may no
/// longer exist in a registry.
#[derive(Clone, Debug)]
pub struct ContentCache {
    directory: PathBuf,
}

impl ContentCache {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// `None` if missing or damaged.
    pub fn read(&self, digest: &Digest) -> Option<RawManifest> {
        let file = fs::read(self.path(digest)).ok()?;
        let end = file.iter().position(|byte| *byte == b'\n')?;
        let media_type = std::str::from_utf8(&file[..end]).ok()?;
        let raw = RawManifest::new(file[end + 1..].to_vec(), media_type);
        (raw.digest == *digest).then_some(raw)
    }

    /// Like [`Self::read`], if cached no longer ago than `age`.
    pub fn read_younger(&self, digest: &Digest, age: Duration) -> Option<RawManifest> {
        let kept = fs::metadata(self.path(digest)).ok()?.modified().ok()?;
        // After the clock was set back, everything is too old.
        if kept.elapsed().ok()? > age { None } else { self.read(digest) }
    }

    pub fn keep(&self, raw: &RawManifest) {
        let mut file = raw.media_type.replace('\n', " ").into_bytes();
        file.push(b'\n');
        file.extend_from_slice(&raw.bytes);
        write_cached(&self.path(&raw.digest), &file);
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(&digest.hex()[..2]).join(digest.hex())
    }
}

/// Atomic; failures are only logged.
pub fn write_cached(path: &Path, bytes: &[u8]) {
    if let Err(error) = atomic_file::write_cached(path, bytes) {
        tracing::debug!(path = %path.display(), %error, "not cached");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_undamaged_content_is_returned() {
        let directory = tempfile::tempdir().unwrap();
        let documents = ContentCache::new(directory.path());
        let raw = RawManifest::new(br#"{"x":"y\n"}"#.to_vec(), "application/x");
        assert_eq!(documents.read(&raw.digest), None);
        documents.keep(&raw);
        assert_eq!(documents.read(&raw.digest).as_ref(), Some(&raw));
        assert_eq!(documents.read_younger(&raw.digest, Duration::from_mins(1)).as_ref(), Some(&raw));
        assert_eq!(documents.read_younger(&raw.digest, Duration::ZERO), None);
        fs::write(documents.path(&raw.digest), "application/x\nother").unwrap();
        assert_eq!(documents.read(&raw.digest), None);
    }
}
