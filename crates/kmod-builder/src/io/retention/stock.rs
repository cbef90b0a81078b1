use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Cache, GithubStock, LayoutStock, RegistryStock, RetentionError};
use crate::io::github::Removal;
use crate::model::Digest;
use crate::model::image::TagOrDigest;
use crate::model::manifest::RawManifest;
use crate::model::retention::{Entry, Inventory, Stored};

use super::Record;

/// A store as the clean-up sees it.
#[derive(Debug)]
pub enum Stock {
    /// GitHub's registry: listed and deleted through GitHub's API, read as a registry.
    Github(GithubStock),
    /// Any other registry: tags lead to everything, and manifests are deleted by digest.
    Registry(RegistryStock),
    /// A directory of images.
    Layout(LayoutStock),
}

/// What looking and deleting cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Cost {
    /// Pages of lists.
    pub lists: u64,
    /// Manifests and configurations read.
    pub manifests: u64,
    /// Other questions.
    pub others: u64,
    /// Deletions and restorations.
    pub changes: u64,
}

impl Stock {
    /// Everything in the store, complete or an error.
    pub async fn gather(&self, cache: &Cache, now: Timestamp) -> Result<Inventory, RetentionError> {
        match self {
            Self::Github(stock) => stock.gather(cache, now).await,
            Self::Registry(stock) => stock.gather(cache, now).await,
            Self::Layout(stock) => stock.gather(),
        }
    }

    /// The tags that point to it at this moment, or `None` if it is gone.
    pub(super) async fn tags_now(&self, entry: &Entry) -> Result<Option<BTreeSet<String>>, RetentionError> {
        match self {
            Self::Github(stock) => stock.tags_now(entry).await,
            Self::Registry(stock) => stock.tags_now(entry).await,
            Self::Layout(stock) => stock.tags_now(&entry.digest),
        }
    }

    /// The manifest itself, from the cache if it is there.
    pub(super) async fn manifest(
        &self,
        cache: &Cache,
        digest: &Digest,
    ) -> Result<Option<RawManifest>, RetentionError> {
        if let Some(raw) = cache.manifest(digest) {
            return Ok(Some(raw));
        }
        let tag_or_digest = TagOrDigest::Digest(digest.clone());
        match self {
            Self::Github(stock) => Ok(stock.registry().manifest(&tag_or_digest).await?),
            Self::Registry(stock) => Ok(stock.registry().manifest(&tag_or_digest).await?),
            Self::Layout(stock) => stock.manifest(digest),
        }
    }

    pub(super) async fn delete(&self, entry: &Entry) -> Result<Removal, RetentionError> {
        match self {
            Self::Github(stock) => stock.delete(entry).await,
            Self::Registry(stock) => stock.delete(&entry.digest).await,
            Self::Layout(stock) => stock.delete(&entry.digest),
        }
    }

    /// After the last deletion: what only deleted manifests needed goes as well, where that is the store's business.
    pub(super) fn sweep(&self, deleted: &[Digest], now: Timestamp) -> Result<u64, RetentionError> {
        match self {
            Self::Layout(stock) => stock.sweep(deleted, now),
            Self::Github(_) | Self::Registry(_) => Ok(0),
        }
    }

    /// Whether the manifest, and the blobs that matter of it, can be had.
    pub(super) async fn lacks(&self, stored: &Stored, blobs: bool) -> Result<Option<String>, RetentionError> {
        let registry = match self {
            Self::Github(stock) => stock.registry(),
            Self::Registry(stock) => stock.registry(),
            Self::Layout(stock) => return Ok(stock.lacks(stored)),
        };
        if registry.resolve(&TagOrDigest::Digest(stored.digest.clone())).await?.is_none() {
            return Ok(Some("its manifest".to_owned()));
        }
        if blobs {
            for blob in &stored.contents.blobs {
                if !registry.has_blob(&blob.digest).await? {
                    return Ok(Some(format!("its blob {}", blob.digest)));
                }
            }
        }
        Ok(None)
    }

    /// Brings a manifest back, with those of its tags that nothing else has taken since. The tags that were taken.
    pub(super) async fn restore(&self, record: &Record) -> Result<Vec<String>, RetentionError> {
        let raw = record.manifest();
        match self {
            Self::Github(stock) => {
                stock.restore(record.id).await?;
                super::registry::put_back(stock.registry(), &raw, &record.tags).await
            }
            Self::Registry(stock) => super::registry::put_back(stock.registry(), &raw, &record.tags).await,
            Self::Layout(stock) => stock.put_back(&raw, &record.tags),
        }
    }

    /// What was asked so far.
    pub fn cost(&self) -> Cost {
        match self {
            Self::Github(stock) => stock.cost(),
            Self::Registry(stock) => stock.cost(),
            Self::Layout(_) => Cost::default(),
        }
    }
}
