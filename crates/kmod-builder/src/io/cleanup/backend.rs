use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{CleanupCache, GithubBackend, LayoutBackend, RegistryBackend, RetentionError};
use crate::io::github::Removal;
use crate::model::Digest;
use crate::model::cleanup::{Inventory, RetentionEntry, StoredManifest};
use crate::model::image::TagOrDigest;
use crate::model::manifest::RawManifest;

use super::JournalRecord;

/// A store as the clean-up sees it.
#[derive(Debug)]
pub enum RetentionBackend {
    /// GitHub's registry: listed and deleted through GitHub's API, read as a registry.
    Github(GithubBackend),
    /// Any other registry: tags lead to everything, and manifests are deleted by digest.
    Registry(RegistryBackend),
    /// A directory of images.
    Layout(LayoutBackend),
}

/// What looking and deleting cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RequestStats {
    /// Pages of lists.
    pub lists: u64,
    /// Manifests and configurations read.
    pub manifests: u64,
    /// Other questions.
    pub others: u64,
    /// Deletions and restorations.
    pub changes: u64,
}

impl RetentionBackend {
    /// Everything in the store, complete or an error.
    pub async fn gather(&self, cache: &CleanupCache, now: Timestamp) -> Result<Inventory, RetentionError> {
        match self {
            Self::Github(backend) => backend.gather(cache, now).await,
            Self::Registry(backend) => backend.gather(cache, now).await,
            Self::Layout(backend) => backend.gather(),
        }
    }

    /// The tags that point to it at this moment, or `None` if it is gone.
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

    /// The manifest itself, from the cache if it is there.
    pub(super) async fn manifest(
        &self,
        cache: &CleanupCache,
        digest: &Digest,
    ) -> Result<Option<RawManifest>, RetentionError> {
        if let Some(raw) = cache.manifest(digest) {
            return Ok(Some(raw));
        }
        let tag_or_digest = TagOrDigest::Digest(digest.clone());
        match self {
            Self::Github(backend) => Ok(backend.registry().manifest(&tag_or_digest).await?),
            Self::Registry(backend) => Ok(backend.registry().manifest(&tag_or_digest).await?),
            Self::Layout(backend) => backend.manifest(digest),
        }
    }

    pub(super) async fn delete(&self, entry: &RetentionEntry) -> Result<Removal, RetentionError> {
        match self {
            Self::Github(backend) => backend.delete(entry).await,
            Self::Registry(backend) => backend.delete(&entry.digest).await,
            Self::Layout(backend) => backend.delete(&entry.digest),
        }
    }

    /// After the last deletion: what only deleted manifests needed goes as well, where that is the store's business.
    pub(super) fn collect_garbage(&self, deleted: &[Digest], now: Timestamp) -> Result<u64, RetentionError> {
        match self {
            Self::Layout(backend) => backend.collect_garbage(deleted, now),
            Self::Github(_) | Self::Registry(_) => Ok(0),
        }
    }

    /// The manifest or blob that does not exist.
    pub(super) async fn missing_content(
        &self,
        stored: &StoredManifest,
        blobs: bool,
    ) -> Result<Option<String>, RetentionError> {
        let registry = match self {
            Self::Github(backend) => backend.registry(),
            Self::Registry(backend) => backend.registry(),
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

    /// Brings a manifest back, with those of its tags that nothing else has taken since. The tags that were taken.
    pub(super) async fn restore(&self, record: &JournalRecord) -> Result<Vec<String>, RetentionError> {
        let raw = record.manifest();
        match self {
            Self::Github(backend) => {
                backend.restore(record.version_id).await?;
                super::registry::restore_manifest(backend.registry(), &raw, &record.tags).await
            }
            Self::Registry(backend) => {
                super::registry::restore_manifest(backend.registry(), &raw, &record.tags).await
            }
            Self::Layout(backend) => backend.restore_manifest(&raw, &record.tags),
        }
    }

    /// What was asked so far.
    pub fn cost(&self) -> RequestStats {
        match self {
            Self::Github(backend) => backend.cost(),
            Self::Registry(backend) => backend.cost(),
            Self::Layout(_) => RequestStats::default(),
        }
    }
}
