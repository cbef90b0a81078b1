use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::evaluator::{LifetimeKind, RetentionEvaluator, delete_reason};
use super::graph::Graph;
use super::inventory::{Inventory, StoredManifest};
use super::schema::{StoredSchema, UnsupportedSchema};
use super::{ManifestKind, RetentionPolicy, RetentionReason, TagClass};
use crate::model::Digest;

/// A decision for every manifest of a store.
///
/// In JSON the deletions come first, in the order of execution. Version 1 is read as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PlanDocument", into = "PlanDocument")]
pub struct RetentionPlan {
    document: PlanDocument,
    deletions: usize,
}

/// Members of later versions are ignored: only the deletions in this plan are executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PlanDocument {
    schema: StoredSchema,
    store: String,
    #[serde(alias = "made")]
    created_at: Timestamp,
    policy: RetentionPolicy,
    #[serde(alias = "freed")]
    freed_bytes: u64,
    entries: Vec<RetentionEntry>,
}

const SCHEMA: &str = "cleanup-plan";
const VERSION: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "EntryDocument")]
pub struct RetentionEntry {
    pub digest: Digest,
    /// GitHub's package version id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<u64>,
    /// `image`, `index`, `evidence`, `evidence index`, `signature` or `unknown`.
    pub kind: String,
    /// When the plan was made.
    pub tags: BTreeSet<String>,
    /// Unchanged in the store since then, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// With its configuration and layers, which other manifests may share.
    pub bytes: u64,
    pub decision: RetentionDecision,
    pub reason: RetentionReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetentionDecision {
    Keep,
    Delete,
}

/// In version 1, `reason` is the id, `why` is its text, and the details are members of the entry.
#[derive(Deserialize)]
struct EntryDocument {
    digest: Digest,
    #[serde(alias = "id")]
    version_id: Option<u64>,
    kind: String,
    tags: BTreeSet<String>,
    since: Option<Timestamp>,
    bytes: u64,
    decision: RetentionDecision,
    reason: RetentionReason,
    why: Option<String>,
    #[serde(flatten)]
    details: BTreeMap<String, Value>,
}

impl From<EntryDocument> for RetentionEntry {
    fn from(document: EntryDocument) -> Self {
        let EntryDocument { digest, version_id, kind, tags, since, bytes, decision, .. } = document;
        let mut reason = document.reason;
        if let Some(text) = document.why {
            let id = reason.text.replace("beta", "branch");
            reason = RetentionReason { id, text, details: document.details };
        }
        Self { digest, version_id, kind, tags, since, bytes, decision, reason }
    }
}

impl RetentionPlan {
    /// Deterministic for the same store, policy and time.
    pub fn decide(store: &str, inventory: &Inventory, policy: &RetentionPolicy, now: Timestamp) -> Self {
        Self::decide_by(store, inventory, policy, now, |graph, roots| graph.closure(inventory, roots))
    }

    pub(super) fn decide_by(
        store: &str,
        inventory: &Inventory,
        policy: &RetentionPolicy,
        now: Timestamp,
        close: impl FnOnce(&Graph, Vec<Option<RetentionReason>>) -> Vec<Option<RetentionReason>>,
    ) -> Self {
        let all = inventory.all();
        let classes: Vec<Vec<TagClass>> =
            all.iter().map(|stored| stored.tags.iter().map(|tag| TagClass::of(tag)).collect()).collect();
        let graph = Graph::new(inventory, &classes);
        let evaluator = RetentionEvaluator::new(policy, now, inventory, &classes);
        let (mut roots, mut reasons) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
        for (position, stored) in all.iter().enumerate() {
            let evaluation = evaluator.evaluate(position, stored, &classes[position], &graph);
            let attached = || {
                let image = &all[graph.belongs_to(position)?].digest;
                Some(delete_reason(LifetimeKind::Attached, vec![("image", image.to_string())]))
            };
            let (root, reason) = match evaluation {
                Ok(keep) => (Some(keep), None),
                Err(delete) => (None, delete.or_else(attached)),
            };
            roots.push(root);
            reasons.push(reason);
        }
        let kept = close(&graph, roots);
        let mut going: Vec<usize> = (0..all.len()).filter(|position| kept[*position].is_none()).collect();
        // Oldest images are deleted first, so an interrupted run loses the least-needed ones.
        going.sort_by_key(|position| (all[*position].since(), all[*position].id, *position));
        let mut entries: Vec<RetentionEntry> = Vec::with_capacity(all.len());
        let entry = |position: usize, decision, reason| {
            RetentionEntry::new(&all[position], graph.is_evidence(position), decision, reason)
        };
        for position in graph.order(&going) {
            let reason = reasons[position].take();
            let reason = reason.unwrap_or_else(|| delete_reason(LifetimeKind::Superseded, Vec::new()));
            entries.push(entry(position, RetentionDecision::Delete, reason));
        }
        let deletions = entries.len();
        for (position, reason) in kept.into_iter().enumerate() {
            entries.extend(reason.map(|reason| entry(position, RetentionDecision::Keep, reason)));
        }
        let document = PlanDocument {
            schema: StoredSchema::new(SCHEMA, VERSION),
            store: store.to_owned(),
            created_at: now,
            policy: policy.clone(),
            freed_bytes: freed_bytes(inventory, &entries[..deletions]),
            entries,
        };
        Self { document, deletions }
    }

    pub fn store(&self) -> &str {
        &self.document.store
    }

    pub const fn created_at(&self) -> Timestamp {
        self.document.created_at
    }

    pub const fn policy(&self) -> &RetentionPolicy {
        &self.document.policy
    }

    /// The deletions first.
    pub fn entries(&self) -> &[RetentionEntry] {
        &self.document.entries
    }

    /// In the order of execution.
    pub fn deletions(&self) -> &[RetentionEntry] {
        &self.document.entries[..self.deletions]
    }

    pub fn kept(&self) -> &[RetentionEntry] {
        &self.document.entries[self.deletions..]
    }

    /// Without the layers that kept manifests share.
    pub const fn freed_bytes(&self) -> u64 {
        self.document.freed_bytes
    }
}

impl RetentionEntry {
    fn new(
        stored: &StoredManifest,
        is_evidence: bool,
        decision: RetentionDecision,
        reason: RetentionReason,
    ) -> Self {
        let kind = match stored.info.kind {
            ManifestKind::Unknown => "unknown",
            ManifestKind::Index if is_evidence => "evidence index",
            ManifestKind::Signature => "signature",
            ManifestKind::Image if is_evidence => "evidence",
            ManifestKind::Index => "index",
            ManifestKind::Image => "image",
        };
        Self {
            digest: stored.digest.clone(),
            version_id: stored.id,
            kind: kind.to_owned(),
            tags: stored.tags.clone(),
            since: stored.since(),
            bytes: stored.info.total_size(),
            decision,
            reason,
        }
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.decision == RetentionDecision::Delete
    }
}

fn freed_bytes(inventory: &Inventory, deletions: &[RetentionEntry]) -> u64 {
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

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidPlan {
    #[error(transparent)]
    Schema(#[from] UnsupportedSchema),
    #[error("duplicate entry {0}")]
    Duplicate(Digest),
    #[error("a deletion comes after a manifest that is kept: the order of deletion is lost")]
    Order,
}

impl TryFrom<PlanDocument> for RetentionPlan {
    type Error = InvalidPlan;

    fn try_from(mut document: PlanDocument) -> Result<Self, Self::Error> {
        document.schema.require(SCHEMA, VERSION)?;
        document.schema = StoredSchema::new(SCHEMA, VERSION);
        let mut seen = HashSet::new();
        if let Some(duplicate) = document.entries.iter().find(|entry| !seen.insert(&entry.digest)) {
            return Err(InvalidPlan::Duplicate(duplicate.digest.clone()));
        }
        let deletions = document.entries.iter().take_while(|entry| entry.is_deleted()).count();
        if document.entries[deletions..].iter().any(RetentionEntry::is_deleted) {
            return Err(InvalidPlan::Order);
        }
        Ok(Self { document, deletions })
    }
}

impl From<RetentionPlan> for PlanDocument {
    fn from(plan: RetentionPlan) -> Self {
        plan.document
    }
}
