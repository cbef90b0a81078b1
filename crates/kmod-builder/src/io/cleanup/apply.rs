use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use super::integrity::IntegritySample;
use super::{CleanupCache, IntegrityCheck, Journal, JournalRecord, RetentionBackend, RetentionError};
use crate::io::github::DeleteOutcome;
use crate::model::Digest;
use crate::model::cleanup::{
    Graph, Inventory, PlanRejection, RetentionEntry, RetentionPlan, RetentionPolicy, StoredManifest, TagClass,
};
use crate::model::oci::Descriptor;

#[derive(Clone, Debug, Default, Serialize)]
pub struct CleanupResult {
    /// In deletion order.
    pub deleted: Vec<Digest>,
    /// Deleted by another client.
    pub already_gone: Vec<Digest>,
    pub retained: Vec<RetainedManifest>,
    /// Not deleted, because they changed after the plan was made.
    pub skipped: Vec<SkippedManifest>,
    /// Why the run ended before the last deletion; a later run can continue.
    pub stopped: Option<String>,
}

/// What became of a run. With an error, the rest still says what was done.
#[derive(Debug, Default)]
pub struct CleanupRun {
    pub result: CleanupResult,
    pub integrity: IntegrityCheck,
    /// `None` for a rate limit, which [`CleanupResult::stopped`] or [`IntegrityCheck::unfinished`] names.
    pub error: Option<RetentionError>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RetainedManifest {
    pub digest: Digest,
    pub reason: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct SkippedManifest {
    pub digest: Digest,
    #[serde(serialize_with = "id_and_text")]
    pub reason: SkipReason,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn id_and_text<S: Serializer>(reason: &SkipReason, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::json!({ "id": reason, "text": reason.to_string() }).serialize(serializer)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    #[error("it must be kept now")]
    StaysNow,
    #[error("its tags have changed")]
    TagsChanged,
    #[error("a manifest that was not deleted needs it")]
    StillNeeded,
    #[error("its manifest cannot be read, so that it could not be restored")]
    NotRestorable,
}

/// Older plans are rejected.
const OLDEST_PLAN: SignedDuration = SignedDuration::from_hours(7 * 24);
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_hours(1);

/// A plan that was compared with the store: gathered again, planned again with the same time, and what only one of the
/// two plans deletes is kept.
pub struct PreparedCleanup<'a> {
    backend: &'a RetentionBackend,
    cache: &'a CleanupCache,
    planned: HashMap<&'a Digest, &'a RetentionEntry>,
    inventory: Inventory,
    graph: Graph,
    fresh: RetentionPlan,
    protected: HashSet<Digest>,
    /// In `index.json` of a layout before the first deletion.
    layout_entries: Option<HashMap<Digest, Vec<Descriptor>>>,
    result: CleanupResult,
}

impl<'a> PreparedCleanup<'a> {
    /// The policy is that of the plan, or a stricter one.
    pub async fn new(
        backend: &'a RetentionBackend,
        cache: &'a CleanupCache,
        plan: &'a RetentionPlan,
        policy: &RetentionPolicy,
        now: Timestamp,
    ) -> Result<Self, RetentionError> {
        if plan.created_at.duration_since(now) > CLOCK_TOLERANCE {
            return Err(RetentionError::Clock { here: now, whose: "the plan's", there: plan.created_at });
        }
        if now.duration_since(plan.created_at) > OLDEST_PLAN {
            return Err(RetentionError::OldPlan { made: plan.created_at });
        }
        let inventory = backend.gather_stable(cache, now).await?;
        let mut prepared = Self {
            backend,
            cache,
            planned: plan.deletions().iter().map(|entry| (&entry.digest, entry)).collect(),
            graph: Graph::new(&inventory),
            fresh: RetentionPlan::decide(&plan.store, &inventory, policy, plan.created_at.min(now)),
            inventory,
            protected: HashSet::new(),
            layout_entries: backend.layout_entries()?,
            result: CleanupResult::default(),
        };
        prepared.agree(plan);
        Ok(prepared)
    }

    /// The plan for what is stored now.
    pub fn fresh(&self) -> &RetentionPlan {
        &self.fresh
    }

    /// What both plans delete, in the order of execution.
    pub fn deletions(&self) -> Vec<&RetentionEntry> {
        let goes = |entry: &&RetentionEntry| self.is_agreed(entry);
        self.fresh.deletions().iter().filter(goes).collect()
    }

    /// The limits, held against what is stored now.
    pub fn rejections(&self) -> Vec<PlanRejection> {
        self.fresh.rejections_of(|entry| entry.is_deleted() && self.is_agreed(entry))
    }

    fn is_agreed(&self, entry: &RetentionEntry) -> bool {
        self.planned.contains_key(&entry.digest) && !self.protected.contains(&entry.digest)
    }

    fn agree(&mut self, plan: &RetentionPlan) {
        let goes: HashSet<&Digest> = self.fresh.deletions().iter().map(|entry| &entry.digest).collect();
        for entry in plan.deletions().iter().filter(|entry| !goes.contains(&entry.digest)) {
            let digest = entry.digest.clone();
            if self.inventory.find(&digest).is_none() {
                self.result.already_gone.push(digest);
            } else {
                self.graph.protect(&self.inventory, &mut self.protected, [digest.clone()]);
                self.result.skipped.push(SkippedManifest { digest, reason: SkipReason::StaysNow });
            }
        }
        let unplanned = goes.into_iter().filter(|digest| !self.planned.contains_key(digest)).cloned();
        self.graph.protect(&self.inventory, &mut self.protected, unplanned);
        let goes = self.fresh.deletions().iter().filter(|entry| self.planned.contains_key(&entry.digest));
        for entry in goes.filter(|entry| self.protected.contains(&entry.digest)) {
            let digest = entry.digest.clone();
            self.result.skipped.push(SkippedManifest { digest, reason: SkipReason::StillNeeded });
        }
    }

    /// Deletes one manifest after the other. What stays is requested before and afterwards. Before each deletion, the
    /// tags are read again, and the bytes are written to the journal.
    pub async fn run(
        &self,
        journal: &mut Journal,
        now: Timestamp,
        say: &(dyn Fn(&str) + Sync),
    ) -> CleanupRun {
        let deletions = self.deletions();
        let is_local = matches!(self.backend, RetentionBackend::Layout(_));
        let sample = IntegritySample::new(&self.inventory, &self.fresh, &deletions, is_local, now);
        let mut run = CleanupRun { result: self.result.clone(), ..CleanupRun::default() };
        let broken_before =
            if deletions.is_empty() { Ok(Vec::new()) } else { sample.before(self.backend).await };
        let broken_before = match broken_before {
            Ok(broken_before) => broken_before,
            Err(error) => {
                run.stop(error);
                return run;
            }
        };
        let mut deleting = Deleting {
            prepared: self,
            protected: self.protected.clone(),
            added: HashSet::new(),
            interruption: Interruption::new(self, &deletions),
            result: &mut run.result,
        };
        let mut stopped = None;
        for (number, entry) in (1..).zip(&deletions) {
            match deleting.delete(entry, journal, now).await {
                Ok(()) => {
                    let tags = entry.tags.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
                    say(&format!(
                        "[{number}/{}] {} {} {tags}",
                        deletions.len(),
                        entry.kind,
                        entry.digest.short()
                    ));
                }
                Err(error) => {
                    stopped = Some(error);
                    break;
                }
            }
        }
        match stopped {
            Some(error) => run.stop(error),
            None => self.cache.forget_interruption(&self.backend.name()),
        }
        if let Err(error) = self.backend.collect_garbage(&self.freed(&run.result.deleted), now) {
            run.stop(error);
        }
        if !run.result.deleted.is_empty() {
            let (integrity, error) = sample.after(self.backend, broken_before).await;
            run.integrity = integrity;
            run.error = run.error.or(error.filter(|error| !error.is_limit()));
        }
        run
    }

    /// The deleted manifests and their blobs.
    fn freed(&self, deleted: &[Digest]) -> HashSet<Digest> {
        let stored = deleted.iter().filter_map(|digest| self.inventory.find(digest));
        let blobs = stored.flat_map(|stored| &stored.info.blobs).map(|blob| blob.digest.clone());
        blobs.chain(deleted.iter().cloned()).collect()
    }
}

impl CleanupRun {
    fn stop(&mut self, error: RetentionError) {
        self.result.stopped.get_or_insert_with(|| error.to_string());
        if !error.is_limit() {
            self.error.get_or_insert(error);
        }
    }
}

struct Deleting<'a> {
    prepared: &'a PreparedCleanup<'a>,
    protected: HashSet<Digest>,
    /// Stored since the inventory was gathered.
    added: HashSet<Digest>,
    interruption: Interruption<'a>,
    result: &'a mut CleanupResult,
}

/// What the next run must know if this one is interrupted between an index and what it lists.
struct Interruption<'a> {
    cache: &'a CleanupCache,
    store: String,
    going: HashSet<&'a Digest>,
    former_indexes: HashMap<Digest, Digest>,
}

impl<'a> Interruption<'a> {
    fn new(prepared: &'a PreparedCleanup<'_>, deletions: &[&'a RetentionEntry]) -> Self {
        let (cache, store) = (prepared.cache, prepared.backend.name());
        let mut former_indexes = cache.former_indexes(&store);
        former_indexes.retain(|child, _| prepared.inventory.find(child).is_some());
        let going = deletions.iter().map(|entry| &entry.digest).collect();
        Self { cache, store, going, former_indexes }
    }

    /// Before the deletion of an index.
    fn prepare(&mut self, stored: Option<&StoredManifest>) {
        let listed = stored.into_iter().flat_map(|stored| &stored.info.children);
        let listed: Vec<&Digest> = listed.filter(|child| self.going.contains(child)).collect();
        if let Some(index) = stored.filter(|_| !listed.is_empty()) {
            let former = listed.into_iter().map(|child| (child.clone(), index.digest.clone()));
            self.former_indexes.extend(former.collect::<Vec<_>>());
            self.cache.remember_indexes(&self.store, &self.former_indexes);
        }
    }
}

impl Deleting<'_> {
    /// Keeps a manifest and what it needs.
    fn skip(&mut self, digest: &Digest, reason: SkipReason) {
        self.result.skipped.push(SkippedManifest { digest: digest.clone(), reason });
        self.protect([digest.clone()]);
    }

    fn protect(&mut self, digests: impl IntoIterator<Item = Digest>) {
        self.prepared.graph.protect(&self.prepared.inventory, &mut self.protected, digests);
    }

    async fn delete(
        &mut self,
        entry: &RetentionEntry,
        journal: &mut Journal,
        now: Timestamp,
    ) -> Result<(), RetentionError> {
        let PreparedCleanup { backend, cache, planned, inventory, graph, layout_entries, .. } = self.prepared;
        let digest = &entry.digest;
        if self.protected.contains(digest) {
            self.skip(digest, SkipReason::StillNeeded);
            return Ok(());
        }
        let is_known = |digest: &Digest| inventory.find(digest).is_some() || self.added.contains(digest);
        let Some(state) = backend.current_state(entry, cache, &is_known).await? else {
            if backend.still_has(digest).await? {
                let reason = "the store says first that it is gone, and then that it is not";
                return Err(RetentionError::unsure(format!("whether {digest} exists"), reason));
            }
            self.result.already_gone.push(digest.clone());
            return Ok(());
        };
        for added in state.added {
            self.protect(named_by(&added));
            self.added.insert(added.digest);
        }
        if self.protected.contains(digest) {
            self.skip(digest, SkipReason::StaysNow);
            return Ok(());
        }
        if planned.get(digest).is_none_or(|planned| planned.tags != state.tags) {
            self.skip(digest, SkipReason::TagsChanged);
            return Ok(());
        }
        // The list may lack what exists, or an upload may have ended since.
        for subject in graph.absent_subjects(inventory, digest) {
            if backend.has_subject(&subject).await? {
                self.skip(digest, SkipReason::StaysNow);
                return Ok(());
            }
        }
        let Some(raw) = backend.manifest(cache, digest).await? else {
            self.skip(digest, SkipReason::NotRestorable);
            return Ok(());
        };
        let listed = inventory.find(digest).map(|stored| stored.info.media_type.clone());
        journal.record(&JournalRecord {
            digest: digest.clone(),
            version_id: entry.version_id,
            tags: state.tags,
            media_type: listed.filter(|listed| !listed.is_empty()).unwrap_or(raw.media_type),
            bytes: raw.bytes.to_vec(),
            reason: entry.reason.clone(),
            deleted_at: now,
            layout_entries: layout_entries
                .as_ref()
                .map(|entries| entries.get(digest).cloned().unwrap_or_default()),
        })?;
        self.interruption.prepare(inventory.find(digest));
        match backend.delete(entry).await? {
            DeleteOutcome::Deleted => self.result.deleted.push(digest.clone()),
            DeleteOutcome::AlreadyGone => self.result.already_gone.push(digest.clone()),
            DeleteOutcome::Retained(reason) => {
                self.result.retained.push(RetainedManifest { digest: digest.clone(), reason });
                self.protect([digest.clone()]);
            }
        }
        Ok(())
    }
}

/// What it lists and what it belongs to.
fn named_by(added: &StoredManifest) -> Vec<Digest> {
    let by_tag = added.tags.iter().filter_map(|tag| match TagClass::of(tag) {
        TagClass::Referrers(subject) | TagClass::Signature(subject) => Some(subject),
        _ => None,
    });
    by_tag.chain(added.info.children.iter().chain(&added.info.subject).cloned()).collect()
}
