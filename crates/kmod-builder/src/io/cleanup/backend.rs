use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use super::{
    CONCURRENT, CleanupCache, GithubBackend, JournalRecord, LayoutBackend, RegistryBackend, RetentionError,
};
use crate::io::github::DeleteOutcome;
use crate::io::registry::{RegistryError, RegistryWriter, RetryPolicy};
use crate::model::Digest;
use crate::model::cleanup::{Inventory, ManifestInfo, RetentionEntry, StoredManifest, TagClass};
use crate::model::image::{Tag, TagOrDigest};
use crate::model::manifest::RawManifest;
use crate::model::oci::Descriptor;

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

/// What the store has at this moment, right before a deletion.
#[derive(Debug, Default)]
pub(super) struct CurrentState {
    /// That point to the manifest.
    pub(super) tags: BTreeSet<String>,
    /// Manifests that were stored after the inventory was gathered, as far as the store shows them.
    pub(super) added: Vec<StoredManifest>,
}

/// How often content that is missing is asked for again, with growing delays: registries answer 404 for a moment.
const ASK_AGAIN: usize = 4;

impl RetentionBackend {
    /// The complete inventory, from one read of the store's lists; an incomplete listing is an error.
    pub async fn gather(&self, cache: &CleanupCache, now: Timestamp) -> Result<Inventory, RetentionError> {
        let inventory = match self {
            Self::Github(backend) => backend.gather(cache, now).await,
            Self::Registry(backend) => backend.gather(cache, now).await,
            Self::Layout(backend) => backend.gather(),
        };
        Ok(inventory?.after_interruption(cache.former_indexes(&self.name())))
    }

    /// Of the store, in the cache.
    pub fn name(&self) -> String {
        match self {
            Self::Github(GithubBackend { registry, .. })
            | Self::Registry(RegistryBackend { registry, .. }) => registry.repository().to_string(),
            Self::Layout(backend) => backend.directory(),
        }
    }

    /// Like [`Self::gather`], from lists that were read until two reads in a row were equal.
    pub(super) async fn gather_stable(
        &self,
        cache: &CleanupCache,
        now: Timestamp,
    ) -> Result<Inventory, RetentionError> {
        let inventory = match self {
            Self::Github(backend) => backend.gather_stable(cache, now).await,
            Self::Registry(backend) => backend.gather_stable(cache, now).await,
            Self::Layout(backend) => backend.gather(),
        };
        Ok(inventory?.after_interruption(cache.former_indexes(&self.name())))
    }

    /// `None` if the manifest is gone. `is_known` names the manifests of the inventory and those that were added
    /// before.
    pub(super) async fn current_state(
        &self,
        entry: &RetentionEntry,
        cache: &CleanupCache,
        is_known: &(dyn Fn(&Digest) -> bool + Sync),
    ) -> Result<Option<CurrentState>, RetentionError> {
        match self {
            Self::Github(backend) => backend.current_state(entry, cache, is_known).await,
            Self::Registry(backend) => backend.current_state(entry, cache, is_known).await,
            Self::Layout(backend) => {
                let tags = backend.tags_now(&entry.digest)?;
                Ok(tags.map(|tags| CurrentState { tags, added: Vec::new() }))
            }
        }
    }

    fn registry(&self) -> Option<&RegistryWriter> {
        match self {
            Self::Github(GithubBackend { registry, .. })
            | Self::Registry(RegistryBackend { registry, .. }) => Some(registry),
            Self::Layout(_) => None,
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

    /// The entries of `index.json` of a layout, by digest.
    pub(super) fn layout_entries(&self) -> Result<Option<HashMap<Digest, Vec<Descriptor>>>, RetentionError> {
        match self {
            Self::Layout(backend) => backend.entries().map(Some),
            Self::Github(_) | Self::Registry(_) => Ok(None),
        }
    }

    /// "Not found" is believed only if the store does not show the manifest any more.
    pub(super) async fn delete(&self, entry: &RetentionEntry) -> Result<DeleteOutcome, RetentionError> {
        let outcome = match self {
            Self::Github(backend) => backend.delete(entry).await?,
            Self::Registry(backend) => backend.delete(&entry.digest).await?,
            Self::Layout(backend) => return backend.delete(&entry.digest),
        };
        if outcome == DeleteOutcome::AlreadyGone {
            let is_gone = async || match self {
                Self::Github(backend) => backend.is_gone(entry).await,
                _ => Ok(self.registry().is_none() || !self.asks_for_manifest(&entry.digest).await?),
            };
            if !asking_again().poll_until(is_gone).await? {
                return Err(RetentionError::NotDeleted { digest: entry.digest.clone() });
            }
        }
        Ok(outcome)
    }

    /// Called after the last deletion. Layouts only: registries remove unneeded blobs themselves.
    pub fn collect_garbage(&self, freed: &HashSet<Digest>, now: Timestamp) -> Result<(), RetentionError> {
        match self {
            Self::Layout(backend) => backend.collect_garbage(freed, now),
            Self::Github(_) | Self::Registry(_) => Ok(()),
        }
    }

    async fn asks_for_manifest(&self, digest: &Digest) -> Result<bool, RegistryError> {
        match self.registry() {
            Some(registry) => Ok(registry.resolve(&TagOrDigest::Digest(digest.clone())).await?.is_some()),
            None => Ok(false),
        }
    }

    /// Asks several times before it says no.
    pub(super) async fn has_manifest(&self, digest: &Digest) -> Result<bool, RetentionError> {
        match self {
            Self::Layout(backend) => Ok(backend.has(digest)),
            _ => Ok(asking_again().poll_until(async || self.asks_for_manifest(digest).await).await?),
        }
    }

    /// One request: a subject that exists is the exception.
    pub(super) async fn has_subject(&self, digest: &Digest) -> Result<bool, RetentionError> {
        match self {
            Self::Layout(backend) => backend.has_manifest(digest),
            _ => Ok(self.asks_for_manifest(digest).await?),
        }
    }

    /// For a manifest that is said to be gone. GitHub said so itself, and its registry is asked once.
    pub(super) async fn still_has(&self, digest: &Digest) -> Result<bool, RetentionError> {
        match self {
            Self::Registry(_) => self.has_manifest(digest).await,
            Self::Github(_) | Self::Layout(_) => self.has_subject(digest).await,
        }
    }

    pub(super) async fn has_blob(&self, digest: &Digest) -> Result<bool, RetentionError> {
        match self {
            Self::Layout(backend) => Ok(backend.has(digest)),
            Self::Github(GithubBackend { registry, .. })
            | Self::Registry(RegistryBackend { registry, .. }) => {
                Ok(asking_again().poll_until(async || registry.has_blob(digest).await).await?)
            }
        }
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
            Self::Layout(backend) => backend.restore_manifest(&raw, record),
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

fn asking_again() -> RetryPolicy {
    RetryPolicy { read_backs: ASK_AGAIN, ..RetryPolicy::default() }
}

/// The digests of listed tags. A listed tag without a manifest is an error: the list or the answer is wrong.
pub(super) async fn resolve(
    registry: &RegistryWriter,
    tags: impl IntoIterator<Item = Tag>,
) -> Result<Vec<(Tag, Digest)>, RetentionError> {
    let resolve = async |tag: Tag| match registry.resolve(&TagOrDigest::Tag(tag.clone())).await? {
        Some(digest) => Ok((tag, digest)),
        None => Err(RetentionError::unsure(
            format!("what the tag `{tag}` points to"),
            "it is listed, and the registry says that it does not exist",
        )),
    };
    let tags: Vec<Tag> = tags.into_iter().collect();
    stream::iter(tags).map(resolve).buffered(CONCURRENT).try_collect().await
}

/// Whether users and promotions move it from one image to another. The image that has it is always kept, so that the
/// tag exists during the whole run.
pub(super) fn may_move(tag: &str) -> bool {
    matches!(TagClass::of(tag), TagClass::Channel | TagClass::Unknown)
}

/// A manifest that was stored after the inventory was gathered; its age does not matter.
pub(super) fn added(raw: &RawManifest, tags: BTreeSet<String>) -> StoredManifest {
    let info = ManifestInfo::read(&raw.media_type, &raw.bytes);
    StoredManifest { digest: raw.digest.clone(), id: None, tags, created: None, updated: None, info }
}
