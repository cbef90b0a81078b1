use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::model::Digest;
use crate::model::parcel::RawManifest;
use crate::model::retention::Contents;

/// Documents by their digest, kept between runs: what was read once is never asked for again, which matters on GHCR,
/// where each read counts as a download and a manifest with 5000 of them can never be deleted.
///
/// A file is the media type, a line feed, and the bytes, whose digest is checked whenever they are read. Everything
/// here can be had again, so failures to write are only logged.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

/// When a manifest of a store was first seen by this machine.
pub(super) type Seen = BTreeMap<Digest, Timestamp>;

impl Cache {
    /// Keeps everything below this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// What is known of these, all at once and off the program's own threads.
    pub(super) async fn contents(&self, digests: Vec<Digest>) -> HashMap<Digest, Contents> {
        let cache = self.clone();
        crate::io::blocking::run(move |_| {
            let known = digests.into_iter().filter_map(|digest| {
                let raw = cache.manifest(&digest)?;
                Some((digest, Contents::read(&raw.media_type, &raw.bytes)))
            });
            known.collect()
        })
        .await
    }

    /// The document, if it is here and whole.
    pub(super) fn manifest(&self, digest: &Digest) -> Option<RawManifest> {
        let file = fs::read(self.path(digest)).ok()?;
        let end = file.iter().position(|byte| *byte == b'\n')?;
        let media_type = std::str::from_utf8(&file[..end]).ok()?;
        let raw = RawManifest::new(file[end + 1..].to_vec(), media_type);
        (raw.digest == *digest).then_some(raw)
    }

    pub(super) fn keep(&self, raw: &RawManifest) {
        let mut file = raw.media_type.replace('\n', " ").into_bytes();
        file.push(b'\n');
        file.extend_from_slice(&raw.bytes);
        self.write(&self.path(&raw.digest), &file);
    }

    /// When the manifests of a store were seen first.
    pub(super) fn seen(&self, store: &str) -> Seen {
        let text = fs::read(self.seen_path(store)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub(super) fn remember(&self, store: &str, seen: &Seen) {
        let text = serde_json::to_vec(seen).expect("digests and times can be written");
        self.write(&self.seen_path(store), &text);
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("manifests").join(&digest.hex()[..2]).join(digest.hex())
    }

    fn seen_path(&self, store: &str) -> PathBuf {
        self.directory.join("seen").join(format!("{}.json", Digest::of(store.as_bytes()).hex()))
    }

    /// Whole or not at all, whoever else writes the same.
    fn write(&self, path: &Path, bytes: &[u8]) {
        let write = || {
            let folder = path.parent().unwrap_or(&self.directory);
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(bytes)?;
            file.persist(path)?;
            Ok::<_, std::io::Error>(())
        };
        if let Err(error) = write() {
            tracing::debug!(path = %path.display(), %error, "not cached");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_whole_documents_are_known() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let raw = RawManifest::new(br#"{"x":"y\n"}"#.to_vec(), "application/x");
        assert_eq!(cache.manifest(&raw.digest), None);
        cache.keep(&raw);
        assert_eq!(cache.manifest(&raw.digest).as_ref(), Some(&raw));
        assert_eq!(cache.contents(vec![raw.digest.clone(), Digest::of(b"")]).await.len(), 1);
        fs::write(cache.path(&raw.digest), "application/x\nother").unwrap();
        assert_eq!(cache.manifest(&raw.digest), None);
    }
}
