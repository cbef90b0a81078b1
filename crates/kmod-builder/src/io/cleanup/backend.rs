use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{CleanupCache, GithubBackend, JournalRecord, LayoutBackend, RegistryBackend, RetentionError};
use crate::io::github::DeleteOutcome;
use crate::model::Digest;
use crate::model::cleanup::{Inventory, RetentionEntry, StoredManifest};
use crate::model::image::TagOrDigest;
use crate::model::manifest::RawManifest;

#[derive(Debug)]
pub enum RetentionBackend {
    /// GHCR: listed and deleted through GitHub's REST API, read as a registry.
    Github(GithubBackend),
    /// Any other registry: manifests are found through tags and deleted by digest.
    Registry(RegistryBackend),
    Layout(LayoutBackend),
}

/// Requests for gathering and deleting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CleanupRequests {
    /// List pages.
    pub lists: u64,
    /// Manifests and configurations read.
    pub manifests: u64,
    /// Other reads.
    pub others: u64,
    /// Deletions and restorations.
    pub changes: u64,
}

impl RetentionBackend {
    /// The complete inventory; an incomplete listing is an error.
    pub async fn gather(&self, cache: &CleanupCache, now: Timestamp) -> Result<Inventory, RetentionError> {
        match self {
            Self::Github(backend) => backend.gather(cache, now).await,
            Self::Registry(backend) => backend.gather(cache, now).await,
            Self::Layout(backend) => backend.gather(),
        }
    }

    /// The tags that point to it now; `None` if it is gone.
    pub(super) async fn tags_now(
        &self,
        entry: &RetentionEntry,
    ) -> Result<Option<BTreeSet<String>>, RetentionError> {
        match self {
            Self::Github(backend) => backend.tags_now(entry).await,
            Self::Registry(backend) => backend.tags_now(entry).await,
            Self::Layout(backend) => backend.tags_now(&entry.digest),
        }
    }

    /// Reads from the cache if possible.
    pub(super) async fn manifest(
        &self,
        cache: &CleanupCache,
        digest: &Digest,
    ) -> Result<Option<RawManifest>, RetentionError> {
        if let Some(raw) = cache.manifests.read(digest) {
            return Ok(Some(raw));
        }
        match self {
            Self::Github(GithubBackend { registry, .. })
            | Self::Registry(RegistryBackend { registry, .. }) => {
                Ok(registry.manifest(&TagOrDigest::Digest(digest.clone())).await?)
            }
            Self::Layout(backend) => backend.manifest(digest),
        }
    }

    pub(super) async fn delete(&self, entry: &RetentionEntry) -> Result<DeleteOutcome, RetentionError> {
        match self {
            Self::Github(backend) => backend.delete(entry).await,
            Self::Registry(backend) => backend.delete(&entry.digest).await,
            Self::Layout(backend) => backend.delete(&entry.digest),
        }
    }

    /// Called after the last deletion. Layouts only: registries remove unneeded blobs themselves.
    pub(super) fn collect_garbage(&self, deleted: &[Digest], now: Timestamp) -> Result<(), RetentionError> {
        match self {
            Self::Layout(backend) => backend.collect_garbage(deleted, now),
            Self::Github(_) | Self::Registry(_) => Ok(()),
        }
    }

    /// A manifest or blob that does not exist.
    pub(super) async fn missing_content(
        &self,
        stored: &StoredManifest,
        blobs: bool,
    ) -> Result<Option<String>, RetentionError> {
        let registry = match self {
            Self::Github(GithubBackend { registry, .. })
            | Self::Registry(RegistryBackend { registry, .. }) => registry,
            Self::Layout(backend) => return Ok(backend.missing_content(stored)),
        };
        if registry.resolve(&TagOrDigest::Digest(stored.digest.clone())).await?.is_none() {
            return Ok(Some("its manifest".to_owned()));
        }
        if blobs {
            for blob in &stored.info.blobs {
                if !registry.has_blob(&blob.digest).await? {
                    return Ok(Some(format!("its blob {}", blob.digest)));
                }
            }
        }
        Ok(None)
    }

    /// Restores a manifest with those of its tags that are free. Returns the tags that point to something else.
    pub(super) async fn restore(&self, record: &JournalRecord) -> Result<Vec<String>, RetentionError> {
        let raw = record.manifest();
        if let (Self::Github(backend), Some(id)) = (self, record.version_id) {
            // The journal's bytes are enough where GitHub can no longer restore it.
            backend.packages.restore(id).await?;
        }
        match self {
            Self::Github(GithubBackend { registry, .. })
            | Self::Registry(RegistryBackend { registry, .. }) => {
                super::registry::restore_manifest(registry, &raw, &record.tags).await
            }
            Self::Layout(backend) => backend.restore_manifest(&raw, &record.tags),
        }
    }

    pub fn cost(&self) -> CleanupRequests {
        match self {
            Self::Github(backend) => backend.cost(),
            Self::Registry(backend) => backend.cost(),
            Self::Layout(_) => CleanupRequests::default(),
        }
    }
}
