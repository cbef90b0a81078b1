use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use super::backend::CleanupRequests;
use super::{CONCURRENT, CleanupCache, RetentionError};
use crate::io::github::DeleteOutcome;
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
/// runs; after an interrupted clean-up, only the cache leads to the rest. Registries report no push time: an image has
/// the age that it states, but is no older than its youngest evidence.
#[derive(Debug)]
pub struct RegistryBackend {
    pub(super) registry: RegistryWriter,
    known_tags: Mutex<BTreeSet<Tag>>,
    stats: Mutex<CleanupRequests>,
}

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
        let store = self.registry.repository().to_string();
        let seen = cache.seen(&store);
        let tags = self.tagged().await?;
        let mut found: BTreeMap<Digest, StoredManifest> = BTreeMap::new();
        let mut asked: BTreeSet<Digest> = tags.keys().chain(seen.keys()).cloned().collect();
        let mut next: Vec<Digest> = asked.iter().cloned().collect();
        while !next.is_empty() {
            let looks = stream::iter(next).map(|digest| self.look(cache, &tags, digest)).buffered(CONCURRENT);
            let looks: Vec<Option<(StoredManifest, Vec<Digest>)>> = looks.try_collect().await?;
            next = Vec::new();
            for (stored, near) in looks.into_iter().flatten() {
                next.extend(near.into_iter().filter(|digest| asked.insert(digest.clone())));
                found.insert(stored.digest.clone(), stored);
            }
        }
        date(&mut found, &seen, now);
        let memory = found.keys().map(|digest| (digest.clone(), seen.get(digest).copied().unwrap_or(now)));
        cache.remember(&store, &memory.collect());
        Ok(Inventory::new(found.into_values()))
    }

    /// Tags by manifest digest.
    async fn tagged(&self) -> Result<BTreeMap<Digest, BTreeSet<String>>, RetentionError> {
        let names = self.names().await?;
        let resolved: Vec<(Tag, Option<Digest>)> = self.resolve(names.iter().cloned()).await?;
        *self.known_tags.lock().unwrap_or_else(PoisonError::into_inner) = names;
        let mut tagged: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
        for (tag, digest) in resolved {
            if let Some(digest) = digest {
                tagged.entry(digest).or_default().insert(tag.to_string());
            }
        }
        Ok(tagged)
    }

    async fn names(&self) -> Result<BTreeSet<Tag>, RetentionError> {
        self.count(|stats| &mut stats.lists);
        Ok(self.registry.tags().await?.into_iter().collect())
    }

    async fn resolve(
        &self,
        tags: impl Iterator<Item = Tag>,
    ) -> Result<Vec<(Tag, Option<Digest>)>, RetentionError> {
        let resolve = async |tag: Tag| {
            self.count(|stats| &mut stats.others);
            let digest = self.registry.resolve(&TagOrDigest::Tag(tag.clone())).await?;
            Ok::<_, RetentionError>((tag, digest))
        };
        stream::iter(tags.collect::<Vec<_>>()).map(resolve).buffered(CONCURRENT).try_collect().await
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
        let mut near: Vec<Digest> = info.children.iter().chain(&info.subject).cloned().collect();
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

    /// Includes tags created after the inventory was gathered.
    pub(super) async fn tags_now(
        &self,
        entry: &RetentionEntry,
    ) -> Result<Option<BTreeSet<String>>, RetentionError> {
        if !self.is_there(&TagOrDigest::Digest(entry.digest.clone())).await? {
            return Ok(None);
        }
        let names = self.names().await?;
        let known = self.known_tags.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_new = |tag: &Tag| entry.tags.contains(tag.as_str()) || !known.contains(tag);
        let resolved = self.resolve(names.into_iter().filter(is_new)).await?;
        let points = resolved.into_iter().filter(|(_, digest)| digest.as_ref() == Some(&entry.digest));
        Ok(Some(points.map(|(tag, _)| tag.to_string()).collect()))
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

/// Gives images the age of their youngest evidence. Undated manifests that belong to nothing get the time they were
/// first seen, so that only the grace period applies. Undated images stay undated and are kept.
fn date(found: &mut BTreeMap<Digest, StoredManifest>, seen: &BTreeMap<Digest, Timestamp>, now: Timestamp) {
    let evidence: Vec<(Digest, Option<Timestamp>)> =
        found.values().filter_map(|stored| Some((stored.info.subject.clone()?, stored.created))).collect();
    for (subject, created) in evidence {
        if let Some(stored) = found.get_mut(&subject) {
            stored.updated = stored.updated.max(created);
        }
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
