use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;

use super::client::Registry;
use super::content_cache::ContentCache;
use super::error::RegistryError;
use crate::digest::Digest;
use crate::oci::RawManifest;

/// How long cached content counts as existing in the registry; deletions are noticed later.
const FRESH: Duration = Duration::from_hours(7 * 24);
/// Blobs have no media type of their own.
const BLOB: &str = "application/octet-stream";

/// For reading only: before writing, the current state of the registry must be read.
#[derive(Debug)]
pub(super) struct RegistryCache {
    content: ContentCache,
    lacks_referrers_api: Mutex<Option<bool>>,
}

impl Registry {
    /// Caches content by digest for a week. Tags and lists are always requested.
    #[must_use]
    pub fn cached_by(&self, content: ContentCache) -> Self {
        let mut cached = self.clone();
        cached.cache = Some(Arc::new(RegistryCache { content, lacks_referrers_api: Mutex::new(None) }));
        cached
    }

    pub(super) fn cached(&self, digest: &Digest) -> Option<RawManifest> {
        self.cache.as_ref()?.content.read_younger(digest, FRESH)
    }

    pub(super) fn cache_manifest(&self, manifest: &RawManifest) {
        if let Some(cache) = &self.cache {
            cache.content.keep(manifest);
        }
    }

    pub(super) fn cache_blob(&self, bytes: &Bytes) {
        if let Some(cache) = &self.cache {
            cache.content.keep(&RawManifest::new(bytes.clone(), BLOB));
        }
    }

    /// Skips the request if an earlier response showed that there is no referrers API.
    pub(super) async fn if_referrers_api<T>(
        &self,
        request: impl AsyncFnOnce() -> Result<Option<T>, RegistryError>,
    ) -> Result<Option<T>, RegistryError> {
        let Some(cache) = &self.cache else { return request().await };
        // Held during the first request, whose result all others use.
        let mut lacks = cache.lacks_referrers_api.lock().await;
        match *lacks {
            Some(true) => Ok(None),
            Some(false) => {
                drop(lacks);
                request().await
            }
            None => {
                let response = request().await?;
                *lacks = Some(response.is_none());
                Ok(response)
            }
        }
    }
}
