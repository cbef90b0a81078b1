use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use super::backend::{self, CleanupRequests, CurrentState};
use super::cache::FirstSeen;
use super::{CONCURRENT, CleanupCache, PROGRESS_STEP, RetentionError};
use crate::io::github::DeleteOutcome;
use crate::io::progress;
use crate::io::registry::RegistryWriter;
use crate::model::Digest;
use crate::model::cleanup::{
    Inventory, ManifestInfo, ManifestKind, RetentionEntry, StoredManifest, TagClass,
};
use crate::model::image::{Tag, TagOrDigest};
use crate::model::manifest::RawManifest;

/// A repository in a registry, through the OCI distribution specification alone.
///
/// Such a registry lists only tags. Untagged manifests are found through indexes, referrers and the cache of earlier
/// runs; after an interrupted clean-up, only the cache leads to the rest. Registries report no push time, see [`date`].
#[derive(Debug)]
pub struct RegistryBackend {
    pub(super) registry: RegistryWriter,
    /// All that were resolved since the inventory was gathered.
    known_tags: Mutex<BTreeSet<Tag>>,
    stats: Mutex<CleanupRequests>,
}

/// Reads of tags that keep changing.
const MAX_READS: usize = 5;

/// Bytes. Larger configurations are not read, and their images have no age.
const LARGEST_CONFIG: u64 = 1 << 20;

impl RegistryBackend {
    pub fn new(registry: RegistryWriter) -> Self {
        Self { registry, known_tags: Mutex::default(), stats: Mutex::default() }
    }

    fn count(&self, member: fn(&mut CleanupRequests) -> &mut u64) {
        *member(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner)) += 1;
    }

    pub(super) async fn gather(
        &self,
        cache: &CleanupCache,
        now: Timestamp,
    ) -> Result<Inventory, RetentionError> {
        let seen = cache.seen(&self.store());
        let tags = self.tagged(&seen).await?;
        self.read_all(cache, tags, &seen, now).await
    }

    /// Every tag is resolved until two reads in a row are equal.
    pub(super) async fn gather_stable(
        &self,
        cache: &CleanupCache,
        now: Timestamp,
    ) -> Result<Inventory, RetentionError> {
        let seen = cache.seen(&self.store());
        let mut tags = self.tagged(&seen).await?;
        for _ in 0..MAX_READS {
            let again = self.tagged(&seen).await?;
            if again == tags {
                return self.read_all(cache, tags, &seen, now).await;
            }
            tags = again;
        }
        Err(RetentionError::unsure("what the tags point to", "they changed each time they were read"))
    }

    fn store(&self) -> String {
        self.registry.repository().to_string()
    }

    async fn read_all(
        &self,
        cache: &CleanupCache,
        tags: BTreeMap<Digest, BTreeSet<String>>,
        seen: &FirstSeen,
        now: Timestamp,
    ) -> Result<Inventory, RetentionError> {
        let mut found: BTreeMap<Digest, StoredManifest> = BTreeMap::new();
        let mut asked: BTreeSet<Digest> = tags.keys().chain(seen.keys()).cloned().collect();
        let mut next: Vec<Digest> = asked.iter().cloned().collect();
        let done = AtomicUsize::new(0);
        while !next.is_empty() {
            let looks = stream::iter(next).map(async |digest| {
                let look = self.look(cache, &tags, digest).await?;
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                if done.is_multiple_of(PROGRESS_STEP) {
                    progress::print_notice(&format!("{done} manifests are read"));
                }
                Ok::<_, RetentionError>(look)
            });
            let looks = looks.buffered(CONCURRENT);
            let looks: Vec<Option<(StoredManifest, Vec<Digest>)>> = looks.try_collect().await?;
            next = Vec::new();
            for (stored, near) in looks.into_iter().flatten() {
                next.extend(near.into_iter().filter(|digest| asked.insert(digest.clone())));
                found.insert(stored.digest.clone(), stored);
            }
        }
        date(&mut found, seen, now);
        let memory = found.keys().map(|digest| (digest.clone(), seen.get(digest).copied().unwrap_or(now)));
        cache.remember(&self.store(), &memory.collect());
        Ok(Inventory::new(found.into_values()))
    }

    /// Tags by manifest digest. Where an earlier run found manifests, a repository without tags is an error: without
    /// their tags, images would count as unneeded.
    async fn tagged(&self, seen: &FirstSeen) -> Result<BTreeMap<Digest, BTreeSet<String>>, RetentionError> {
        let names = self.names().await?;
        if names.is_empty() && !seen.is_empty() {
            let reason = format!(
                "the registry lists none, and an earlier run found {} manifests there (if they were deleted on purpose, \
                 run it once with an empty cache directory)",
                seen.len()
            );
            return Err(RetentionError::unsure("which tags the repository has", reason));
        }
        let resolved = self.resolve(names.iter().cloned().collect()).await?;
        *self.known_tags.lock().unwrap_or_else(PoisonError::into_inner) = names;
        let mut tagged: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
        for (tag, digest) in resolved {
            tagged.entry(digest).or_default().insert(tag.to_string());
        }
        Ok(tagged)
    }

    /// Empty if the registry answers 404.
    async fn names(&self) -> Result<BTreeSet<Tag>, RetentionError> {
        self.count(|stats| &mut stats.lists);
        Ok(self.registry.listed_tags().await?.unwrap_or_default().into_iter().collect())
    }

    async fn resolve(&self, tags: Vec<Tag>) -> Result<Vec<(Tag, Digest)>, RetentionError> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).others += tags.len() as u64;
        backend::resolve(&self.registry, tags).await
    }

    /// The manifest, if it exists, and everything reachable from it.
    async fn look(
        &self,
        cache: &CleanupCache,
        tagged: &BTreeMap<Digest, BTreeSet<String>>,
        digest: Digest,
    ) -> Result<Option<(StoredManifest, Vec<Digest>)>, RetentionError> {
        let tag_or_digest = TagOrDigest::Digest(digest.clone());
        let tags = tagged.get(&digest);
        let raw = match cache.manifests.read(&digest) {
            // A cached manifest may be gone from the registry; a tagged one was just listed.
            Some(raw) if tags.is_some() || self.is_there(&tag_or_digest).await? => raw,
            Some(_) => return Ok(None),
            None => {
                self.count(|stats| &mut stats.manifests);
                match (self.registry.manifest(&tag_or_digest).await?, tags) {
                    (Some(raw), _) => raw,
                    (None, None) => return Ok(None),
                    (None, Some(tags)) => {
                        let tag = tags.first().map_or("", String::as_str);
                        let reason = format!("the tag {tag} points to it, and it is not there");
                        return Err(RetentionError::unsure(format!("what {digest} is"), reason));
                    }
                }
            }
        };
        cache.manifests.keep(&raw);
        let info = ManifestInfo::read(&raw.media_type, &raw.bytes);
        self.count(|stats| &mut stats.others);
        let referrers = self.registry.referrers(&digest).await?;
        // Some registries answer 500 if they are asked for inputs, which are a blob of theirs, as a manifest.
        let subject = info.subject.as_ref().filter(|_| !info.records_failed_builds);
        let mut near: Vec<Digest> = info.children.iter().chain(subject).cloned().collect();
        for referrer in referrers.found {
            cache.manifests.keep(&referrer.manifest);
            near.push(referrer.manifest.digest);
        }
        let created = self.created(cache, &info).await?;
        let tags = tags.cloned().unwrap_or_default();
        Ok(Some((StoredManifest { digest, id: None, tags, created, updated: None, info }, near)))
    }

    async fn is_there(&self, tag_or_digest: &TagOrDigest) -> Result<bool, RetentionError> {
        self.count(|stats| &mut stats.others);
        Ok(self.registry.resolve(tag_or_digest).await?.is_some())
    }

    /// From its annotation, else from its configuration.
    async fn created(
        &self,
        cache: &CleanupCache,
        info: &ManifestInfo,
    ) -> Result<Option<Timestamp>, RetentionError> {
        let (None, Some(config)) = (info.created, &info.config) else {
            return Ok(info.created);
        };
        if let Some(config) = cache.manifests.read(config) {
            return Ok(ManifestInfo::created_in_config(&config.bytes));
        }
        self.count(|stats| &mut stats.manifests);
        let Some(bytes) = self.registry.small_blob(config, LARGEST_CONFIG).await? else { return Ok(None) };
        cache.manifests.keep(&RawManifest::new(bytes.clone(), "application/json"));
        Ok(ManifestInfo::created_in_config(&bytes))
    }

    /// Resolves its tags, those of its evidence, those that may move, and those that are new.
    pub(super) async fn current_state(
        &self,
        entry: &RetentionEntry,
        cache: &CleanupCache,
        is_known: &(dyn Fn(&Digest) -> bool + Sync),
    ) -> Result<Option<CurrentState>, RetentionError> {
        if !self.is_there(&TagOrDigest::Digest(entry.digest.clone())).await? {
            return Ok(None);
        }
        let names = self.names().await?;
        let evidence = format!("sha256-{}", entry.digest.hex());
        let new: BTreeSet<Tag> = {
            let mut known = self.known_tags.lock().unwrap_or_else(PoisonError::into_inner);
            names.iter().filter(|name| known.insert((*name).clone())).cloned().collect()
        };
        let matters = |tag: &Tag| {
            let text = tag.as_str();
            let is_own = entry.tags.contains(text) || text.starts_with(&evidence);
            is_own || new.contains(tag) || !entry.is_evidence() && backend::may_move(text)
        };
        let resolved = self.resolve(names.into_iter().filter(matters).collect()).await?;
        let mut state = CurrentState::default();
        for (tag, digest) in resolved {
            if digest == entry.digest {
                state.tags.insert(tag.to_string());
            } else if !is_known(&digest) {
                self.count(|stats| &mut stats.manifests);
                let Some(raw) = self.registry.manifest(&TagOrDigest::Digest(digest)).await? else { continue };
                cache.manifests.keep(&raw);
                state.added.push(backend::added(&raw, [tag.to_string()].into()));
            }
        }
        Ok(Some(state))
    }

    pub(super) async fn delete(&self, digest: &Digest) -> Result<DeleteOutcome, RetentionError> {
        self.count(|stats| &mut stats.changes);
        let deleted = self.registry.delete_manifest(digest).await?;
        Ok(if deleted { DeleteOutcome::Deleted } else { DeleteOutcome::AlreadyGone })
    }

    pub(super) fn cost(&self) -> CleanupRequests {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Images have the age of their youngest evidence, what an index lists also that of the index. The date in an image is
/// the release date of OpenZFS, so that images without dated evidence are as old as they are known to be: since they
/// were first seen. The same applies to other undated manifests that belong to nothing.
fn date(found: &mut BTreeMap<Digest, StoredManifest>, seen: &FirstSeen, now: Timestamp) {
    let evidence: Vec<(Digest, Timestamp)> =
        found.values().filter_map(|stored| Some((stored.info.subject.clone()?, stored.created?))).collect();
    let mut dated: BTreeMap<Digest, Timestamp> = BTreeMap::new();
    for (subject, created) in evidence {
        let date = dated.entry(subject).or_insert(created);
        *date = created.max(*date);
    }
    let mut queue: Vec<Digest> = dated.keys().cloned().collect();
    while let Some(parent) = queue.pop() {
        let date = dated[&parent];
        for child in found.get(&parent).into_iter().flat_map(|stored| &stored.info.children) {
            if dated.get(child).is_none_or(|known| *known < date) {
                dated.insert(child.clone(), date);
                queue.push(child.clone());
            }
        }
    }
    let is_evidence = |stored: &StoredManifest| {
        let is_evidence_tag =
            |tag: &String| matches!(TagClass::of(tag), TagClass::Referrers(_) | TagClass::Signature(_));
        stored.info.subject.is_some() || stored.tags.iter().any(is_evidence_tag)
    };
    for stored in found.values_mut() {
        let known = dated.get(&stored.digest).copied();
        let is_image = stored.info.kind != ManifestKind::Signature && !is_evidence(stored);
        stored.updated = known.or_else(|| is_image.then(|| seen.get(&stored.digest).copied().unwrap_or(now)));
    }
    let there: BTreeSet<Digest> = found.keys().cloned().collect();
    for stored in found.values_mut().filter(|stored| stored.created.is_none()) {
        let by_tag = stored.tags.iter().filter_map(|tag| match TagClass::of(tag) {
            TagClass::Referrers(subject) | TagClass::Signature(subject) => Some(subject),
            _ => None,
        });
        let subjects: Vec<Digest> = by_tag.chain(stored.info.subject.clone()).collect();
        let is_alone = !subjects.iter().any(|subject| there.contains(subject));
        if is_alone && (stored.info.kind != ManifestKind::Image || !subjects.is_empty()) {
            stored.created = Some(seen.get(&stored.digest).copied().unwrap_or(now));
        }
    }
}

/// Stores a manifest under its digest and under those of its tags that are free. Returns the tags that point to
/// something else.
pub(super) async fn restore_manifest(
    registry: &RegistryWriter,
    raw: &RawManifest,
    tags: &BTreeSet<String>,
) -> Result<Vec<String>, RetentionError> {
    if registry.resolve(&TagOrDigest::Digest(raw.digest.clone())).await?.is_none() {
        registry.put_manifest(raw).await?;
    }
    let mut taken = Vec::new();
    for name in tags {
        let Ok(tag) = name.parse::<Tag>() else { continue };
        match registry.resolve(&TagOrDigest::Tag(tag.clone())).await? {
            None => {
                registry.put_tag(&tag, raw).await?;
            }
            Some(other) if other != raw.digest => taken.push(name.clone()),
            Some(_) => {}
        }
    }
    Ok(taken)
}
