use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};

use super::backend::CleanupRequests;
use super::{CONCURRENT, CleanupCache, RetentionError};
use crate::io::github::{DeleteOutcome, PackageVersion, Packages};
use crate::io::registry::RegistryWriter;
use crate::model::cleanup::{Inventory, ManifestInfo, RetentionEntry, StoredManifest};
use crate::model::image::TagOrDigest;

/// A package in GHCR: listed through GitHub's REST API, read through the registry.
#[derive(Debug)]
pub struct GithubBackend {
    pub(super) packages: Packages,
    pub(super) registry: RegistryWriter,
    manifests: AtomicU64,
}

/// Ages are days; a larger difference means a wrong clock.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_hours(1);

impl GithubBackend {
    /// Both must be for the same repository.
    pub fn new(packages: Packages, registry: RegistryWriter) -> Self {
        Self { packages, registry, manifests: AtomicU64::new(0) }
    }

    pub(super) async fn gather(
        &self,
        cache: &CleanupCache,
        now: Timestamp,
    ) -> Result<Inventory, RetentionError> {
        let versions = self.packages.versions().await?;
        if let Some(there) = self.packages.server_time()
            && there.duration_since(now).abs() > CLOCK_TOLERANCE
        {
            return Err(RetentionError::Clock { here: now, whose: "GitHub's", there });
        }
        let known =
            cache.manifest_info(versions.iter().map(|version| version.digest.clone()).collect()).await;
        let (mut all, mut unread) = (Vec::new(), Vec::new());
        for version in versions {
            match known.get(&version.digest) {
                Some(info) => all.push(stored(version, info.clone())),
                None => unread.push(version),
            }
        }
        drop(known);
        let read = stream::iter(unread).map(|version| self.read(cache, version)).buffered(CONCURRENT);
        let read: Vec<Option<StoredManifest>> = read.try_collect().await?;
        all.extend(read.into_iter().flatten());
        Ok(Inventory::new(all))
    }

    /// Only a 404 that GitHub's list confirms counts as absence.
    async fn read(
        &self,
        cache: &CleanupCache,
        version: PackageVersion,
    ) -> Result<Option<StoredManifest>, RetentionError> {
        self.manifests.fetch_add(1, Ordering::Relaxed);
        let tag_or_digest = TagOrDigest::Digest(version.digest.clone());
        if let Some(raw) = self.registry.manifest(&tag_or_digest).await? {
            cache.manifests.keep(&raw);
            let info = ManifestInfo::read(&raw.media_type, &raw.bytes);
            return Ok(Some(stored(version, info)));
        }
        match self.packages.version(version.id).await? {
            None => Ok(None),
            Some(_) => Err(RetentionError::unsure(
                format!("what {} is", version.digest),
                "GitHub lists it, and its registry says that it is not there",
            )),
        }
    }

    pub(super) async fn tags_now(
        &self,
        entry: &RetentionEntry,
    ) -> Result<Option<BTreeSet<String>>, RetentionError> {
        let Some(version) = self.packages.version(number(entry)?).await? else { return Ok(None) };
        if version.digest != entry.digest {
            let reason = format!("its number {} now stands for {}", version.id, version.digest);
            return Err(RetentionError::unsure(format!("where {} is", entry.digest), reason));
        }
        Ok(Some(version.tags))
    }

    pub(super) async fn delete(&self, entry: &RetentionEntry) -> Result<DeleteOutcome, RetentionError> {
        Ok(self.packages.delete(number(entry)?).await?)
    }

    pub(super) fn cost(&self) -> CleanupRequests {
        let requests = self.packages.requests();
        CleanupRequests {
            lists: requests.lists,
            manifests: self.manifests.load(Ordering::Relaxed),
            others: requests.reads,
            changes: requests.changes,
        }
    }
}

fn stored(version: PackageVersion, info: ManifestInfo) -> StoredManifest {
    StoredManifest {
        digest: version.digest,
        id: Some(version.id),
        tags: version.tags,
        created: Some(version.created),
        updated: Some(version.updated),
        info,
    }
}

fn number(entry: &RetentionEntry) -> Result<u64, RetentionError> {
    entry.version_id.ok_or_else(|| {
        RetentionError::unsure(format!("which version {} is", entry.digest), "the plan has no number for it")
    })
}
