use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::TagClass;
use super::graph::Graph;
use super::inventory::{Inventory, Stored};
use super::judge::Judge;
use super::{Delete, Keep, Kind, Policy};
use crate::model::Digest;

/// What is to be done with every manifest of a store.
///
/// As JSON: `{"schema": 1, "store", "made", "policy", "freed", "entries": […]}`. The deletions come first, in the order
/// in which they are carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Shape", into = "Shape")]
pub struct RetentionPlan {
    shape: Shape,
    deletions: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    schema: u32,
    store: String,
    made: Timestamp,
    policy: Policy,
    freed: u64,
    entries: Vec<Entry>,
}

const SCHEMA: u32 = 1;

/// One stored manifest and what is to be done with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its digest.
    pub digest: Digest,
    /// GitHub's number for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// What it is, in a word.
    pub kind: String,
    /// Its tags when the plan was made.
    pub tags: BTreeSet<String>,
    /// Since when it has been in the store, as far as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Its size with its configuration and layers. Layers may be shared with others.
    pub bytes: u64,
    /// What is to be done, and why.
    #[serde(flatten)]
    pub decision: Decision,
    /// The same in a sentence.
    pub why: String,
}

/// What is to be done with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
pub enum Decision {
    /// It stays.
    Keep(Keep),
    /// It goes.
    Delete(Delete),
}

impl RetentionPlan {
    /// Decides about everything in the store. The same store, policy and time always give the same plan.
    pub fn decide(store: &str, inventory: &Inventory, policy: &Policy, now: Timestamp) -> Self {
        Self::decide_by(store, inventory, policy, now, |graph, roots| graph.closure(inventory, roots))
    }

    pub(super) fn decide_by(
        store: &str,
        inventory: &Inventory,
        policy: &Policy,
        now: Timestamp,
        close: impl FnOnce(&Graph, Vec<Option<Keep>>) -> Vec<Option<Keep>>,
    ) -> Self {
        let all = inventory.all();
        let classes: Vec<Vec<TagClass>> =
            all.iter().map(|stored| stored.tags.iter().map(|tag| TagClass::of(tag)).collect()).collect();
        let graph = Graph::new(inventory, &classes);
        let judge = Judge::new(policy, now, inventory, &classes);
        let (mut roots, mut reasons) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
        for (position, stored) in all.iter().enumerate() {
            let verdict = judge.judge(position, stored, &classes[position], &graph);
            let belongs_to = || graph.belongs_to(position).map(|image| all[image].digest.clone());
            let (root, reason) = match verdict {
                Ok(keep) => (Some(keep), None),
                Err(Some(delete)) => (None, Some(delete)),
                Err(None) => (None, belongs_to().map(|image| Delete::With { image })),
            };
            roots.push(root);
            reasons.push(reason);
        }
        let kept = close(&graph, roots);
        let mut going: Vec<usize> = (0..all.len()).filter(|position| kept[*position].is_none()).collect();
        // The oldest first: whoever stops in the middle has lost what was missed least.
        going.sort_by_key(|position| (all[*position].since(), all[*position].id, *position));
        let mut entries: Vec<Entry> = Vec::with_capacity(all.len());
        for position in graph.order(&going) {
            // Whatever belongs to nothing was judged for itself and has its own reason.
            let reason = reasons[position].take().unwrap_or(Delete::Superseded);
            entries.push(Entry::new(&all[position], &graph, position, Decision::Delete(reason)));
        }
        let deletions = entries.len();
        for (position, reason) in kept.into_iter().enumerate() {
            if let Some(reason) = reason {
                entries.push(Entry::new(&all[position], &graph, position, Decision::Keep(reason)));
            }
        }
        let freed = freed(inventory, &entries[..deletions]);
        let (store, policy) = (store.to_owned(), policy.clone());
        Self { shape: Shape { schema: SCHEMA, store, made: now, policy, freed, entries }, deletions }
    }

    /// The store that it is about.
    pub fn store(&self) -> &str {
        &self.shape.store
    }

    /// When it was made.
    pub const fn made(&self) -> Timestamp {
        self.shape.made
    }

    /// What was wanted.
    pub const fn policy(&self) -> &Policy {
        &self.shape.policy
    }

    /// Every stored manifest once, those that go first.
    pub fn entries(&self) -> &[Entry] {
        &self.shape.entries
    }

    /// What goes, in the order in which it goes.
    pub fn deletions(&self) -> &[Entry] {
        &self.shape.entries[..self.deletions]
    }

    /// What stays.
    pub fn kept(&self) -> &[Entry] {
        &self.shape.entries[self.deletions..]
    }

    /// How many bytes nothing needs any more afterwards. Layers that something kept shares are not among them.
    pub const fn freed(&self) -> u64 {
        self.shape.freed
    }
}

impl Entry {
    fn new(stored: &Stored, graph: &Graph, position: usize, decision: Decision) -> Self {
        let kind = match stored.contents.kind {
            Kind::Unknown => "unknown",
            Kind::Index if graph.is_evidence(position) => "evidence index",
            Kind::Signature => "signature",
            Kind::Image if graph.is_evidence(position) => "evidence",
            Kind::Index => "index",
            Kind::Image => "image",
        };
        let why = match &decision {
            Decision::Keep(reason) => reason.to_string(),
            Decision::Delete(reason) => reason.to_string(),
        };
        Self {
            digest: stored.digest.clone(),
            id: stored.id,
            kind: kind.to_owned(),
            tags: stored.tags.clone(),
            since: stored.since(),
            bytes: stored.contents.total_size(),
            decision,
            why,
        }
    }

    /// Whether it goes.
    pub const fn is_deleted(&self) -> bool {
        matches!(self.decision, Decision::Delete(_))
    }
}

fn freed(inventory: &Inventory, deletions: &[Entry]) -> u64 {
    let going: HashSet<&Digest> = deletions.iter().map(|entry| &entry.digest).collect();
    let (gone, kept): (Vec<&Stored>, Vec<&Stored>) =
        inventory.all().iter().partition(|stored| going.contains(&stored.digest));
    let mut counted: HashSet<&Digest> =
        kept.iter().flat_map(|stored| &stored.contents.blobs).map(|blob| &blob.digest).collect();
    let mut bytes = 0_u64;
    for stored in gone {
        bytes = bytes.saturating_add(stored.contents.size);
        for blob in &stored.contents.blobs {
            if counted.insert(&blob.digest) {
                bytes = bytes.saturating_add(blob.size);
            }
        }
    }
    bytes
}

/// The text is no plan that can be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum ShapeError {
    #[error("it is a plan of schema {0}, and this program knows schema 1 only")]
    Schema(u32),
    #[error("{0} comes twice in it")]
    Twice(Digest),
    #[error("a deletion comes after something that is kept: the order of deletion is lost")]
    Order,
}

impl TryFrom<Shape> for RetentionPlan {
    type Error = ShapeError;

    fn try_from(shape: Shape) -> Result<Self, Self::Error> {
        if shape.schema != SCHEMA {
            return Err(ShapeError::Schema(shape.schema));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = shape.entries.iter().find(|entry| !seen.insert(&entry.digest)) {
            return Err(ShapeError::Twice(twice.digest.clone()));
        }
        let deletions = shape.entries.iter().take_while(|entry| entry.is_deleted()).count();
        if shape.entries[deletions..].iter().any(Entry::is_deleted) {
            return Err(ShapeError::Order);
        }
        Ok(Self { shape, deletions })
    }
}

impl From<RetentionPlan> for Shape {
    fn from(plan: RetentionPlan) -> Self {
        plan.shape
    }
}
