use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};

use super::stock::Cost;
use super::{CONCURRENT, Cache, RetentionError};
use crate::io::github::{Packages, Removal, Version};
use crate::io::registry::Registry;
use crate::model::image::TagOrDigest;
use crate::model::retention::{Contents, Entry, Inventory, Stored};

/// A package in GitHub's registry. Its API tells what exists, its registry what that is.
#[derive(Debug)]
pub struct GithubStock {
    packages: Packages,
    registry: Registry,
    manifests: AtomicU64,
}

/// Ages are days. A clock that is off by more than this is not just slow.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_hours(1);

impl GithubStock {
    /// The same repository, seen both ways.
    pub fn new(packages: Packages, registry: Registry) -> Self {
        Self { packages, registry, manifests: AtomicU64::new(0) }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) async fn gather(&self, cache: &Cache, now: Timestamp) -> Result<Inventory, RetentionError> {
        let versions = self.packages.versions().await?;
        if let Some(there) = self.packages.server_time()
            && there.duration_since(now).abs() > CLOCK_TOLERANCE
        {
            return Err(RetentionError::Clock { here: now, whose: "GitHub's", there });
        }
        let mut known = cache.contents(versions.iter().map(|version| version.digest.clone()).collect()).await;
        let (found, unread): (Vec<_>, Vec<_>) =
            versions.into_iter().partition(|version| known.contains_key(&version.digest));
        let mut all: Vec<Stored> = found
            .into_iter()
            .filter_map(|version| {
                // A version that is listed twice is looked up twice.
                let contents = known.get(&version.digest).cloned()?;
                Some(stored(version, contents))
            })
            .collect();
        known.clear();
        let read = stream::iter(unread).map(|version| self.read(cache, version)).buffered(CONCURRENT);
        let read: Vec<Option<Stored>> = read.try_collect().await?;
        all.extend(read.into_iter().flatten());
        Ok(Inventory::new(all))
    }

    /// Only a 404 means that it is gone, and only if GitHub's list agrees when asked again.
    async fn read(&self, cache: &Cache, version: Version) -> Result<Option<Stored>, RetentionError> {
        self.manifests.fetch_add(1, Ordering::Relaxed);
        let tag_or_digest = TagOrDigest::Digest(version.digest.clone());
        if let Some(raw) = self.registry.manifest(&tag_or_digest).await? {
            cache.keep(&raw);
            let contents = Contents::read(&raw.media_type, &raw.bytes);
            return Ok(Some(stored(version, contents)));
        }
        match self.packages.version(version.id).await? {
            None => Ok(None),
            Some(_) => Err(RetentionError::unsure(
                format!("what {} is", version.digest),
                "GitHub lists it, and its registry says that it is not there",
            )),
        }
    }

    pub(super) async fn tags_now(&self, entry: &Entry) -> Result<Option<BTreeSet<String>>, RetentionError> {
        let Some(version) = self.packages.version(number(entry)?).await? else { return Ok(None) };
        if version.digest != entry.digest {
            let reason = format!("its number {} now stands for {}", version.id, version.digest);
            return Err(RetentionError::unsure(format!("where {} is", entry.digest), reason));
        }
        Ok(Some(version.tags))
    }

    pub(super) async fn delete(&self, entry: &Entry) -> Result<Removal, RetentionError> {
        Ok(self.packages.delete(number(entry)?).await?)
    }

    /// True if GitHub brought it back; false if it cannot any more, and only the bytes are left.
    pub(super) async fn restore(&self, id: Option<u64>) -> Result<bool, RetentionError> {
        match id {
            Some(id) => Ok(self.packages.restore(id).await?),
            None => Ok(false),
        }
    }

    pub(super) fn cost(&self) -> Cost {
        let requests = self.packages.requests();
        Cost {
            lists: requests.lists,
            manifests: self.manifests.load(Ordering::Relaxed),
            others: requests.reads,
            changes: requests.changes,
        }
    }
}

fn stored(version: Version, contents: Contents) -> Stored {
    Stored {
        digest: version.digest,
        id: Some(version.id),
        tags: version.tags,
        created: Some(version.created),
        updated: Some(version.updated),
        contents,
    }
}

fn number(entry: &Entry) -> Result<u64, RetentionError> {
    entry.id.ok_or_else(|| {
        RetentionError::unsure(format!("which version {} is", entry.digest), "the plan has no number for it")
    })
}
