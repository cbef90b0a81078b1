use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};

use super::backend::{self, CleanupRequests, CurrentState};
use super::{CONCURRENT, CleanupCache, PROGRESS_STEP, RetentionError};
use crate::io::github::{DeleteOutcome, PackageVersion, Packages};
use crate::io::progress;
use crate::io::registry::RegistryWriter;
use crate::model::Digest;
use crate::model::cleanup::{Inventory, ManifestInfo, RetentionEntry, StoredManifest};
use crate::model::image::{Tag, TagOrDigest};

/// A package in GHCR: listed through GitHub's REST API, read through the registry.
#[derive(Debug)]
pub struct GithubBackend {
    pub(super) packages: Packages,
    pub(super) registry: RegistryWriter,
    manifests: AtomicU64,
    /// See [`backend::may_move`].
    moving: Mutex<Vec<Tag>>,
}

/// Ages are days; a larger difference means a wrong clock.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_hours(1);

impl GithubBackend {
    /// Both must be for the same repository.
    pub fn new(packages: Packages, registry: RegistryWriter) -> Self {
        Self { packages, registry, manifests: AtomicU64::new(0), moving: Mutex::default() }
    }

    pub(super) async fn gather(
        &self,
        cache: &CleanupCache,
        now: Timestamp,
    ) -> Result<Inventory, RetentionError> {
        let versions = self.packages.versions().await?;
        self.read_all(versions, cache, now).await
    }

    pub(super) async fn gather_stable(
        &self,
        cache: &CleanupCache,
        now: Timestamp,
    ) -> Result<Inventory, RetentionError> {
        let versions = self.packages.stable_versions().await?;
        self.read_all(versions, cache, now).await
    }

    async fn read_all(
        &self,
        versions: Vec<PackageVersion>,
        cache: &CleanupCache,
        now: Timestamp,
    ) -> Result<Inventory, RetentionError> {
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
        if !unread.is_empty() {
            let (count, all) = (unread.len(), unread.len() + all.len());
            progress::print_notice(&format!("reading {count} manifests that are not in the cache, of {all}"));
        }
        let (done, count) = (AtomicUsize::new(0), unread.len());
        let read = stream::iter(unread).map(async |version| {
            let read = self.read(cache, version).await?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(PROGRESS_STEP) && done < count {
                progress::print_notice(&format!("{done} of {count} manifests are read"));
            }
            Ok::<_, RetentionError>(read)
        });
        let read: Vec<Option<StoredManifest>> = read.buffered(CONCURRENT).try_collect().await?;
        all.extend(read.into_iter().flatten());
        let inventory = Inventory::new(all);
        *self.moving.lock().unwrap_or_else(PoisonError::into_inner) = moving_tags(&inventory);
        Ok(inventory)
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

    /// Tags that may move are asked for at the registry too. For images, the newest versions are listed again.
    pub(super) async fn current_state(
        &self,
        entry: &RetentionEntry,
        cache: &CleanupCache,
        is_known: &(dyn Fn(&Digest) -> bool + Sync),
    ) -> Result<Option<CurrentState>, RetentionError> {
        let Some(version) = self.packages.version(number(entry)?).await? else { return Ok(None) };
        if version.digest != entry.digest {
            let reason = format!("its number {} now stands for {}", version.id, version.digest);
            return Err(RetentionError::unsure(format!("where {} is", entry.digest), reason));
        }
        let mut state = CurrentState { tags: version.tags, added: Vec::new() };
        if entry.is_evidence() {
            return Ok(Some(state));
        }
        let moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let resolved = backend::resolve(&self.registry, moving).await?;
        let moved = resolved.into_iter().filter(|(_, digest)| *digest == entry.digest);
        state.tags.extend(moved.map(|(tag, _)| tag.to_string()));
        for version in self.packages.newest(is_known).await? {
            // It may have been deleted already.
            let Some(raw) = self.registry.manifest(&TagOrDigest::Digest(version.digest)).await? else {
                continue;
            };
            cache.manifests.keep(&raw);
            state.added.push(backend::added(&raw, version.tags));
        }
        Ok(Some(state))
    }

    pub(super) async fn is_gone(&self, entry: &RetentionEntry) -> Result<bool, RetentionError> {
        Ok(self.packages.version(number(entry)?).await?.is_none())
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

fn moving_tags(inventory: &Inventory) -> Vec<Tag> {
    let tags = inventory.all().iter().flat_map(|stored| &stored.tags);
    tags.filter(|tag| backend::may_move(tag)).filter_map(|tag| tag.parse().ok()).collect()
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
