use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::io::registry::{ContentCache, write_cached};
use crate::model::Digest;
use crate::model::cleanup::ManifestInfo;

/// Manifests of earlier runs. GHCR counts each read as a download and cannot delete a manifest with 5000 downloads, so
/// each manifest is read only once.
#[derive(Clone, Debug)]
pub struct CleanupCache {
    pub(super) manifests: ContentCache,
    seen: PathBuf,
    interrupted: PathBuf,
}

/// When this machine first saw each manifest of a store.
pub(super) type FirstSeen = BTreeMap<Digest, Timestamp>;

impl CleanupCache {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self {
            manifests: ContentCache::new(directory.join("manifests")),
            seen: directory.join("seen"),
            interrupted: directory.join("interrupted"),
        }
    }

    /// Reads all of them at once on a blocking thread.
    pub(super) async fn manifest_info(&self, digests: Vec<Digest>) -> HashMap<Digest, ManifestInfo> {
        let cache = self.clone();
        crate::io::blocking::run(move |_| {
            let known = digests.into_iter().filter_map(|digest| {
                let raw = cache.manifests.read(&digest)?;
                Some((digest, ManifestInfo::read(&raw.media_type, &raw.bytes)))
            });
            known.collect()
        })
        .await
    }

    pub(super) fn seen(&self, store: &str) -> FirstSeen {
        let text = fs::read(self.seen_path(store)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub(super) fn remember(&self, store: &str, seen: &FirstSeen) {
        let text = serde_json::to_vec(seen).expect("digests and times can be written");
        write_cached(&self.seen_path(store), &text);
    }

    /// The indexes that an interrupted run deleted, by the manifests that it was about to delete after them.
    pub(super) fn former_indexes(&self, store: &str) -> HashMap<Digest, Digest> {
        let text = fs::read(self.interrupted.join(file_of(store))).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub(super) fn remember_indexes(&self, store: &str, former_indexes: &HashMap<Digest, Digest>) {
        let text = serde_json::to_vec(former_indexes).expect("digests can be written");
        write_cached(&self.interrupted.join(file_of(store)), &text);
    }

    /// After a restoration.
    pub fn forget_interruption(&self, store: &str) {
        if !self.former_indexes(store).is_empty() {
            self.remember_indexes(store, &HashMap::new());
        }
    }

    fn seen_path(&self, store: &str) -> PathBuf {
        self.seen.join(file_of(store))
    }
}

fn file_of(store: &str) -> String {
    format!("{}.json", Digest::of(store.as_bytes()).hex())
}
