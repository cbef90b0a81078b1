use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::io::registry::{ContentCache, write_cached};
use crate::model::Digest;
use crate::model::cleanup::ManifestInfo;
use crate::model::manifest::RawManifest;

/// What is kept between runs. Manifests that were read once are never asked for again, which matters on GHCR, where
/// each read counts as a download and a manifest with 5000 of them can never be deleted.
#[derive(Clone, Debug)]
pub struct CleanupCache {
    manifests: ContentCache,
    seen: PathBuf,
}

/// When a manifest of a store was first seen by this machine.
pub(super) type FirstSeen = BTreeMap<Digest, Timestamp>;

impl CleanupCache {
    /// Keeps everything below this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self { manifests: ContentCache::new(directory.join("manifests")), seen: directory.join("seen") }
    }

    /// What is known of these, all at once and off the program's own threads.
    pub(super) async fn manifest_info(&self, digests: Vec<Digest>) -> HashMap<Digest, ManifestInfo> {
        let cache = self.clone();
        crate::io::blocking::run(move |_| {
            let known = digests.into_iter().filter_map(|digest| {
                let raw = cache.manifest(&digest)?;
                Some((digest, ManifestInfo::read(&raw.media_type, &raw.bytes)))
            });
            known.collect()
        })
        .await
    }

    /// The document, if it is here and whole.
    pub(super) fn manifest(&self, digest: &Digest) -> Option<RawManifest> {
        self.manifests.read(digest)
    }

    pub(super) fn keep(&self, raw: &RawManifest) {
        self.manifests.keep(raw);
    }

    /// When the manifests of a store were seen first.
    pub(super) fn seen(&self, store: &str) -> FirstSeen {
        let text = fs::read(self.seen_path(store)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub(super) fn remember(&self, store: &str, seen: &FirstSeen) {
        let text = serde_json::to_vec(seen).expect("digests and times can be written");
        write_cached(&self.seen_path(store), &text);
    }

    fn seen_path(&self, store: &str) -> PathBuf {
        self.seen.join(format!("{}.json", Digest::of(store.as_bytes()).hex()))
    }
}
