use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::ManifestInfo;
use crate::model::Digest;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    pub digest: Digest,
    /// GitHub's number for it (a "version" of the package).
    pub id: Option<u64>,
    /// The tags that point to it; names that no registry would take as a tag included.
    pub tags: BTreeSet<String>,
    /// When it came into the store, or what comes nearest to that. Unknown means: too young to go.
    pub created: Option<Timestamp>,
    /// When it last changed. GitHub moves neither this nor the former when a tag moves
    /// (dependabot/dependabot-core#16328), so that neither protects what was promoted yesterday.
    pub updated: Option<Timestamp>,
    pub info: ManifestInfo,
}

impl StoredManifest {
    /// Since when it has been there unchanged, as far as known.
    pub fn since(&self) -> Option<Timestamp> {
        self.created.max(self.updated)
    }
}

/// Everything that a store holds, each digest once, in the order of digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    stored: Vec<StoredManifest>,
    positions: HashMap<Digest, usize>,
}

impl Inventory {
    /// All of these. A digest that comes twice (lists change while they are read) becomes one with the tags of both
    /// and the younger dates: whichever is right, nothing goes for the other's sake.
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
        let positions = all.iter().enumerate().map(|(position, stored)| (stored.digest.clone(), position));
        Self { positions: positions.collect(), stored: all }
    }

    /// Each manifest, in the order of digests.
    pub fn all(&self) -> &[StoredManifest] {
        &self.stored
    }

    /// The manifest of this digest.
    pub fn find(&self, digest: &Digest) -> Option<&StoredManifest> {
        self.position(digest).map(|position| &self.stored[position])
    }

    pub(super) fn position(&self, digest: &Digest) -> Option<usize> {
        self.positions.get(digest).copied()
    }
}
