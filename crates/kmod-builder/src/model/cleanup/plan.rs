use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::evaluator::RetentionEvaluator;
use super::graph::Graph;
use super::inventory::{Inventory, StoredManifest};
use super::{ManifestKind, RetentionPolicy, RetentionReason};
use crate::model::{Digest, DocumentSchema};

const SCHEMA: DocumentSchema = DocumentSchema::new("cleanup-plan", 2);

/// A decision for every manifest of a store.
///
/// Version 1 is read as well. Members of later versions are ignored: only the deletions in this plan are executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionPlan {
    #[serde(deserialize_with = "schema")]
    schema: DocumentSchema,
    pub store: String,
    #[serde(alias = "made")]
    pub created_at: Timestamp,
    pub policy: RetentionPolicy,
    /// Without the layers that kept manifests share.
    #[serde(alias = "freed")]
    pub freed_bytes: u64,
    /// The deletions first, in the order of execution.
    #[serde(deserialize_with = "entries")]
    entries: Vec<RetentionEntry>,
}

fn schema<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DocumentSchema, D::Error> {
    SCHEMA.read(deserializer)
}

/// Each digest once, and the deletions first.
fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RetentionEntry>, D::Error> {
    /// In version 1, `reason` is the id, `why` is its text, and the details are members of the entry.
    #[derive(Deserialize)]
    struct StoredEntry {
        #[serde(flatten)]
        entry: RetentionEntry,
        why: Option<String>,
        #[serde(flatten)]
        details: BTreeMap<String, Value>,
    }
    let mut entries = Vec::<RetentionEntry>::new();
    let mut seen = HashSet::new();
    for StoredEntry { mut entry, why, details } in Vec::deserialize(deserializer)? {
        if let Some(text) = why {
            let id = entry.reason.text.replace("beta", "branch");
            entry.reason = RetentionReason { id, text, details };
        }
        if !seen.insert(entry.digest.clone()) {
            return Err(D::Error::custom(format_args!("duplicate entry {}", entry.digest)));
        }
        if entry.is_deleted() && entries.last().is_some_and(|last| !last.is_deleted()) {
            return Err(D::Error::custom(
                "a deletion follows a kept manifest: the order of deletion is lost",
            ));
        }
        entries.push(entry);
    }
    Ok(entries)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionEntry {
    pub digest: Digest,
    /// GitHub's package version id.
    #[serde(default, alias = "id", skip_serializing_if = "Option::is_none")]
    pub version_id: Option<u64>,
    /// `image`, `index`, `evidence`, `evidence index`, `signature` or `unknown`.
    pub kind: String,
    /// When the plan was made.
    pub tags: BTreeSet<String>,
    /// Unchanged in the store since then, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// With its configuration and layers, which other manifests may share.
    pub bytes: u64,
    pub decision: RetentionDecision,
    #[serde(deserialize_with = "RetentionReason::read")]
    pub reason: RetentionReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetentionDecision {
    Keep,
    Delete,
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
        let graph = Graph::new(inventory);
        let evaluator = RetentionEvaluator::new(policy, now, inventory, &graph);
        let (mut roots, mut reasons) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
        for position in 0..all.len() {
            let evaluation = evaluator.evaluate(position);
            reasons.push(evaluation.clone().err());
            roots.push(evaluation.ok());
        }
        let kept = close(&graph, roots);
        let mut going: Vec<usize> = (0..all.len()).filter(|position| kept[*position].is_none()).collect();
        // Oldest images are deleted first, so an interrupted run loses the least-needed ones.
        going.sort_by_key(|position| (all[*position].since(), all[*position].id, *position));
        let entry = |position: usize, decision, reason| {
            let stored = &all[position];
            RetentionEntry {
                digest: stored.digest.clone(),
                version_id: stored.id,
                kind: kind(stored.info.kind, graph.is_evidence(position)).to_owned(),
                tags: stored.tags.clone(),
                since: stored.since(),
                bytes: stored.info.total_size(),
                decision,
                reason,
            }
        };
        let deleted = graph.order(&going).into_iter().filter_map(|position| {
            Some(entry(position, RetentionDecision::Delete, reasons[position].take()?))
        });
        let mut entries: Vec<RetentionEntry> = deleted.collect();
        let freed_bytes = freed_bytes(inventory, &entries);
        for (position, reason) in kept.into_iter().enumerate() {
            entries.extend(reason.map(|reason| entry(position, RetentionDecision::Keep, reason)));
        }
        let (store, policy) = (store.to_owned(), policy.clone());
        Self { schema: SCHEMA, store, created_at: now, policy, freed_bytes, entries }
    }

    /// The deletions first.
    pub fn entries(&self) -> &[RetentionEntry] {
        &self.entries
    }

    /// In the order of execution.
    pub fn deletions(&self) -> &[RetentionEntry] {
        &self.entries[..self.count_deletions()]
    }

    pub fn kept(&self) -> &[RetentionEntry] {
        &self.entries[self.count_deletions()..]
    }

    fn count_deletions(&self) -> usize {
        self.entries.partition_point(RetentionEntry::is_deleted)
    }
}

impl RetentionEntry {
    pub(crate) fn is_deleted(&self) -> bool {
        self.decision == RetentionDecision::Delete
    }

    /// Whatever its tags are.
    pub(crate) fn is_evidence(&self) -> bool {
        matches!(self.kind.as_str(), "evidence" | "evidence index" | "signature")
    }
}

const fn kind(kind: ManifestKind, is_evidence: bool) -> &'static str {
    match kind {
        ManifestKind::Unknown => "unknown",
        ManifestKind::Index if is_evidence => "evidence index",
        ManifestKind::Signature => "signature",
        ManifestKind::Image if is_evidence => "evidence",
        ManifestKind::Index => "index",
        ManifestKind::Image => "image",
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
