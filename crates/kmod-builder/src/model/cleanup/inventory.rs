use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::{ManifestInfo, TagClass};
use crate::model::Digest;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    pub digest: Digest,
    /// GitHub's package version id.
    pub id: Option<u64>,
    /// All tags, including names that are not valid tags.
    pub tags: BTreeSet<String>,
    /// When it was stored, or the best approximation. Unknown counts as too young to delete.
    pub created: Option<Timestamp>,
    /// When it last changed. GitHub updates neither date when a tag moves (dependabot/dependabot-core#16328), so
    /// neither protects a recently promoted image.
    pub updated: Option<Timestamp>,
    pub info: ManifestInfo,
}

impl StoredManifest {
    /// The later of the known dates.
    pub fn since(&self) -> Option<Timestamp> {
        self.created.max(self.updated)
    }
}

/// Everything in a store, each digest once, sorted by digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    stored: Vec<StoredManifest>,
    /// Of each manifest's tags, in their order.
    classes: Vec<Vec<TagClass>>,
    positions: HashMap<Digest, usize>,
    /// See [`Self::after_interruption`].
    former_indexes: HashMap<Digest, Digest>,
}

impl Inventory {
    /// Merges duplicates, which occur when lists change while they are read: all tags, and the younger dates.
    pub fn new(stored: impl IntoIterator<Item = StoredManifest>) -> Self {
        let mut all: Vec<StoredManifest> = stored.into_iter().collect();
        all.sort_by(|one, other| one.digest.cmp(&other.digest));
        all.dedup_by(|one, other| {
            let is_same = one.digest == other.digest;
            if is_same {
                other.tags.append(&mut one.tags);
                other.id = other.id.max(one.id);
                other.created = other.created.max(one.created);
                other.updated = other.updated.max(one.updated);
            }
            is_same
        });
        let classes =
            all.iter().map(|stored| stored.tags.iter().map(|tag| TagClass::of(tag)).collect()).collect();
        let positions = all.iter().enumerate().map(|(position, stored)| (stored.digest.clone(), position));
        Self { classes, positions: positions.collect(), stored: all, former_indexes: HashMap::new() }
    }

    /// With the indexes that an interrupted clean-up deleted, by the manifests that they listed and that it was about to
    /// delete too.
    #[must_use]
    pub fn after_interruption(self, former_indexes: HashMap<Digest, Digest>) -> Self {
        Self { former_indexes, ..self }
    }

    /// The deleted index that listed it, if none of these indexes is stored again.
    pub(super) fn former_index(&self, digest: &Digest) -> Option<&Digest> {
        self.former_indexes.get(digest).filter(|index| !self.positions.contains_key(*index))
    }

    /// Sorted by digest.
    pub fn all(&self) -> &[StoredManifest] {
        &self.stored
    }

    pub fn find(&self, digest: &Digest) -> Option<&StoredManifest> {
        self.position(digest).map(|position| &self.stored[position])
    }

    /// Whether a record of failed builds is about this digest, which is then that of inputs and no manifest.
    pub fn is_of_inputs(&self, digest: &Digest) -> bool {
        let records = self.stored.iter().filter(|stored| stored.info.records_failed_builds);
        records.filter_map(|stored| stored.info.subject.as_ref()).any(|subject| subject == digest)
    }

    pub(super) fn classes(&self, position: usize) -> &[TagClass] {
        &self.classes[position]
    }

    pub(super) fn position(&self, digest: &Digest) -> Option<usize> {
        self.positions.get(digest).copied()
    }
}
