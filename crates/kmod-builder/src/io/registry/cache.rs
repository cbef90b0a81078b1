//! What a reader who comes again every day need not ask again.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::io::content_cache::ContentCache;
use crate::model::Digest;
use crate::model::manifest::RawManifest;

use super::client::Registry;
use super::error::RegistryError;

/// How long a document that was read counts as being there. What is listed and missing is noticed after this time.
const FRESH: Duration = Duration::from_hours(7 * 24);
/// The type under which blobs are kept, which have none of their own.
const BLOB: &str = "application/octet-stream";

/// Documents that were read lately, and whether the registry has a referrers API.
///
/// For readers only: whoever writes must see what the registry has now.
#[derive(Debug)]
pub(super) struct RegistryCache {
    documents: ContentCache,
    lacks_referrers: Mutex<Option<bool>>,
}

impl RegistryCache {
    pub(super) fn new(documents: ContentCache) -> Self {
        Self { documents, lacks_referrers: Mutex::new(None) }
    }
}

impl Registry {
    /// The same repository for somebody who reads it again and again: documents that are named by their digest are
    /// kept here and, for a week, not asked for again. Tags and lists are always asked for.
    #[must_use]
    pub fn remembering(&self, documents: ContentCache) -> Self {
        self.with_memory(RegistryCache::new(documents))
    }

    pub(super) fn remembered(&self, digest: &Digest) -> Option<RawManifest> {
        self.memory()?.documents.read_younger(digest, FRESH)
    }

    pub(super) fn remember(&self, manifest: &RawManifest) {
        if let Some(memory) = self.memory() {
            memory.documents.keep(manifest);
        }
    }

    pub(super) fn remember_blob(&self, bytes: &Bytes) {
        if let Some(memory) = self.memory() {
            memory.documents.keep(&RawManifest::new(bytes.clone(), BLOB));
        }
    }

    /// Asks for a list of the referrers API, unless an earlier answer said that there is no such API.
    pub(super) async fn ask_referrers_api<T>(
        &self,
        ask: impl AsyncFnOnce() -> Result<Option<T>, RegistryError>,
    ) -> Result<Option<T>, RegistryError> {
        let Some(memory) = self.memory() else { return ask().await };
        // Held while the first one asks: the others will know from its answer.
        let mut lacks = memory.lacks_referrers.lock().await;
        match *lacks {
            Some(true) => Ok(None),
            Some(false) => {
                drop(lacks);
                ask().await
            }
            None => {
                let answer = ask().await?;
                *lacks = Some(answer.is_none());
                Ok(answer)
            }
        }
    }
}
