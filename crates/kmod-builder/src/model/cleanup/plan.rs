use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::TagClass;
use super::evaluator::RetentionEvaluator;
use super::graph::Graph;
use super::inventory::{Inventory, StoredManifest};
use super::{DeleteReason, KeepReason, ManifestKind, RetentionPolicy};
use crate::model::Digest;

/// What is to be done with every manifest of a store.
///
/// As JSON: `{"schema": 1, "store", "made", "policy", "freed", "entries": […]}`. The deletions come first, in the order
/// in which they are carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PlanDocument", into = "PlanDocument")]
pub struct RetentionPlan {
    shape: PlanDocument,
    deletions: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanDocument {
    schema: u32,
    store: String,
    made: Timestamp,
    policy: RetentionPolicy,
    freed: u64,
    entries: Vec<RetentionEntry>,
}

const SCHEMA: u32 = 1;

/// One stored manifest and what is to be done with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionEntry {
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
    pub decision: RetentionDecision,
    /// The same in a sentence.
    pub why: String,
}

/// What is to be done with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
pub enum RetentionDecision {
    /// It stays.
    #[serde(rename = "keep")]
    KeepReason(KeepReason),
    /// It goes.
    #[serde(rename = "delete")]
    DeleteReason(DeleteReason),
}

impl RetentionPlan {
    /// Decides about everything in the store. The same store, policy and time always give the same plan.
    pub fn decide(store: &str, inventory: &Inventory, policy: &RetentionPolicy, now: Timestamp) -> Self {
        Self::decide_by(store, inventory, policy, now, |graph, roots| graph.closure(inventory, roots))
    }

    pub(super) fn decide_by(
        store: &str,
        inventory: &Inventory,
        policy: &RetentionPolicy,
        now: Timestamp,
        close: impl FnOnce(&Graph, Vec<Option<KeepReason>>) -> Vec<Option<KeepReason>>,
    ) -> Self {
        let all = inventory.all();
        let classes: Vec<Vec<TagClass>> =
            all.iter().map(|stored| stored.tags.iter().map(|tag| TagClass::of(tag)).collect()).collect();
        let graph = Graph::new(inventory, &classes);
        let evaluator = RetentionEvaluator::new(policy, now, inventory, &classes);
        let (mut roots, mut reasons) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
        for (position, stored) in all.iter().enumerate() {
            let verdict = evaluator.evaluator(position, stored, &classes[position], &graph);
            let belongs_to = || graph.belongs_to(position).map(|image| all[image].digest.clone());
            let (root, reason) = match verdict {
                Ok(keep) => (Some(keep), None),
                Err(Some(delete)) => (None, Some(delete)),
                Err(None) => (None, belongs_to().map(|image| DeleteReason::With { image })),
            };
            roots.push(root);
            reasons.push(reason);
        }
        let kept = close(&graph, roots);
        let mut going: Vec<usize> = (0..all.len()).filter(|position| kept[*position].is_none()).collect();
        // The oldest first: whoever stops in the middle has lost what was missed least.
        going.sort_by_key(|position| (all[*position].since(), all[*position].id, *position));
        let mut entries: Vec<RetentionEntry> = Vec::with_capacity(all.len());
        for position in graph.order(&going) {
            // Whatever belongs to nothing was judged for itself and has its own reason.
            let reason = reasons[position].take().unwrap_or(DeleteReason::Superseded);
            entries.push(RetentionEntry::new(
                &all[position],
                &graph,
                position,
                RetentionDecision::DeleteReason(reason),
            ));
        }
        let deletions = entries.len();
        for (position, reason) in kept.into_iter().enumerate() {
            if let Some(reason) = reason {
                entries.push(RetentionEntry::new(
                    &all[position],
                    &graph,
                    position,
                    RetentionDecision::KeepReason(reason),
                ));
            }
        }
        let freed = freed(inventory, &entries[..deletions]);
        let (store, policy) = (store.to_owned(), policy.clone());
        Self { shape: PlanDocument { schema: SCHEMA, store, made: now, policy, freed, entries }, deletions }
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
    pub const fn policy(&self) -> &RetentionPolicy {
        &self.shape.policy
    }

    /// Every stored manifest once, those that go first.
    pub fn entries(&self) -> &[RetentionEntry] {
        &self.shape.entries
    }

    /// What goes, in the order in which it goes.
    pub fn deletions(&self) -> &[RetentionEntry] {
        &self.shape.entries[..self.deletions]
    }

    /// What stays.
    pub fn kept(&self) -> &[RetentionEntry] {
        &self.shape.entries[self.deletions..]
    }

    /// How many bytes nothing needs any more afterwards. Layers that something kept shares are not among them.
    pub const fn freed(&self) -> u64 {
        self.shape.freed
    }
}

impl RetentionEntry {
    fn new(stored: &StoredManifest, graph: &Graph, position: usize, decision: RetentionDecision) -> Self {
        let kind = match stored.info.kind {
            ManifestKind::Unknown => "unknown",
            ManifestKind::Index if graph.is_evidence(position) => "evidence index",
            ManifestKind::Signature => "signature",
            ManifestKind::Image if graph.is_evidence(position) => "evidence",
            ManifestKind::Index => "index",
            ManifestKind::Image => "image",
        };
        let why = match &decision {
            RetentionDecision::KeepReason(reason) => reason.to_string(),
            RetentionDecision::DeleteReason(reason) => reason.to_string(),
        };
        Self {
            digest: stored.digest.clone(),
            id: stored.id,
            kind: kind.to_owned(),
            tags: stored.tags.clone(),
            since: stored.since(),
            bytes: stored.info.total_size(),
            decision,
            why,
        }
    }

    /// Whether it goes.
    pub const fn is_deleted(&self) -> bool {
        matches!(self.decision, RetentionDecision::DeleteReason(_))
    }
}

fn freed(inventory: &Inventory, deletions: &[RetentionEntry]) -> u64 {
    let going: HashSet<&Digest> = deletions.iter().map(|entry| &entry.digest).collect();
    let (gone, kept): (Vec<&StoredManifest>, Vec<&StoredManifest>) =
        inventory.all().iter().partition(|stored| going.contains(&stored.digest));
    let mut counted: HashSet<&Digest> =
        kept.iter().flat_map(|stored| &stored.info.blobs).map(|blob| &blob.digest).collect();
    let mut bytes = 0_u64;
    for stored in gone {
        bytes = bytes.saturating_add(stored.info.size);
        for blob in &stored.info.blobs {
            if counted.insert(&blob.digest) {
                bytes = bytes.saturating_add(blob.size);
            }
        }
    }
    bytes
}

/// The text is no plan that can be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidPlan {
    #[error("it is a plan of schema {0}, and this program knows schema 1 only")]
    Schema(u32),
    #[error("{0} comes twice in it")]
    Twice(Digest),
    #[error("a deletion comes after something that is kept: the order of deletion is lost")]
    Order,
}

impl TryFrom<PlanDocument> for RetentionPlan {
    type Error = InvalidPlan;

    fn try_from(shape: PlanDocument) -> Result<Self, Self::Error> {
        if shape.schema != SCHEMA {
            return Err(InvalidPlan::Schema(shape.schema));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = shape.entries.iter().find(|entry| !seen.insert(&entry.digest)) {
            return Err(InvalidPlan::Twice(twice.digest.clone()));
        }
        let deletions = shape.entries.iter().take_while(|entry| entry.is_deleted()).count();
        if shape.entries[deletions..].iter().any(RetentionEntry::is_deleted) {
            return Err(InvalidPlan::Order);
        }
        Ok(Self { shape, deletions })
    }
}

impl From<RetentionPlan> for PlanDocument {
    fn from(plan: RetentionPlan) -> Self {
        plan.shape
    }
}
