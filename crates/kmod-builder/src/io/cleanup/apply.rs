use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use super::{CleanupCache, Journal, JournalRecord, RetentionBackend, RetentionError};
use crate::io::github::DeleteOutcome;
use crate::model::Digest;
use crate::model::cleanup::{Graph, Inventory, RetentionEntry, RetentionPlan};

#[derive(Clone, Debug, Default, Serialize)]
pub struct CleanupResult {
    /// In deletion order.
    pub deleted: Vec<Digest>,
    /// Deleted by another client.
    pub already_gone: Vec<Digest>,
    pub retained: Vec<RetainedManifest>,
    /// Not deleted, because they changed after the plan was made.
    pub skipped: Vec<SkippedManifest>,
    /// The rate limit that ended the run; a later run can continue.
    pub stopped: Option<String>,
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

/// Carries out a plan: gathers the store again, plans again with the same policy and time, and deletes only what both
/// plans delete. Before each deletion, the tags are read again and the bytes are written to the journal.
///
/// Returns the fresh inventory with its plan, for the integrity check.
pub async fn apply(
    backend: &RetentionBackend,
    cache: &CleanupCache,
    plan: &RetentionPlan,
    journal: &mut Journal,
    now: Timestamp,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(CleanupResult, Inventory, RetentionPlan), RetentionError> {
    if plan.created_at.duration_since(now) > CLOCK_TOLERANCE {
        return Err(RetentionError::Clock { here: now, whose: "the plan's", there: plan.created_at });
    }
    if now.duration_since(plan.created_at) > OLDEST_PLAN {
        return Err(RetentionError::OldPlan { made: plan.created_at });
    }
    let inventory = backend.gather(cache, now).await?;
    let fresh = RetentionPlan::decide(&plan.store, &inventory, &plan.policy, plan.created_at.min(now));
    let mut run = Run {
        backend,
        cache,
        planned: plan.deletions().iter().map(|entry| (&entry.digest, entry)).collect(),
        graph: Graph::new(&inventory),
        inventory: &inventory,
        protected: HashSet::new(),
        result: CleanupResult::default(),
    };
    run.agree(plan, &fresh);
    let going: Vec<&RetentionEntry> =
        fresh.deletions().iter().filter(|entry| run.planned.contains_key(&entry.digest)).collect();
    for (number, entry) in (1..).zip(&going) {
        match run.delete(entry, journal, now).await {
            Ok(()) => {
                let tags = entry.tags.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
                say(&format!("[{number}/{}] {} {} {tags}", going.len(), entry.kind, entry.digest.short()));
            }
            Err(error) if error.is_limit() => {
                run.result.stopped = Some(error.to_string());
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let result = run.result;
    backend.collect_garbage(&result.deleted, now)?;
    Ok((result, inventory, fresh))
}

struct Run<'a> {
    backend: &'a RetentionBackend,
    cache: &'a CleanupCache,
    planned: HashMap<&'a Digest, &'a RetentionEntry>,
    graph: Graph,
    inventory: &'a Inventory,
    protected: HashSet<Digest>,
    result: CleanupResult,
}

impl Run<'_> {
    /// Skips what only one of the two plans deletes, and what that needs.
    fn agree(&mut self, plan: &RetentionPlan, fresh: &RetentionPlan) {
        let goes: HashSet<&Digest> = fresh.deletions().iter().map(|entry| &entry.digest).collect();
        for entry in plan.deletions().iter().filter(|entry| !goes.contains(&entry.digest)) {
            if self.inventory.find(&entry.digest).is_none() {
                self.result.already_gone.push(entry.digest.clone());
            } else {
                self.skip(&entry.digest, SkipReason::StaysNow);
            }
        }
        let unplanned = goes.into_iter().filter(|digest| !self.planned.contains_key(digest)).cloned();
        self.graph.protect(self.inventory, &mut self.protected, unplanned);
    }

    /// Keeps a manifest and what it needs.
    fn skip(&mut self, digest: &Digest, reason: SkipReason) {
        self.result.skipped.push(SkippedManifest { digest: digest.clone(), reason });
        self.graph.protect(self.inventory, &mut self.protected, [digest.clone()]);
    }

    async fn delete(
        &mut self,
        entry: &RetentionEntry,
        journal: &mut Journal,
        now: Timestamp,
    ) -> Result<(), RetentionError> {
        let digest = &entry.digest;
        if self.protected.contains(digest) {
            self.skip(digest, SkipReason::StillNeeded);
            return Ok(());
        }
        let Some(tags) = self.backend.tags_now(entry).await? else {
            self.result.already_gone.push(digest.clone());
            return Ok(());
        };
        if self.planned.get(digest).is_none_or(|planned| planned.tags != tags) {
            self.skip(digest, SkipReason::TagsChanged);
            return Ok(());
        }
        let Some(raw) = self.backend.manifest(self.cache, digest).await? else {
            self.skip(digest, SkipReason::NotRestorable);
            return Ok(());
        };
        journal.record(&JournalRecord {
            digest: digest.clone(),
            version_id: entry.version_id,
            tags,
            media_type: raw.media_type.clone(),
            bytes: raw.bytes.to_vec(),
            reason: entry.reason.clone(),
            deleted_at: now,
        })?;
        match self.backend.delete(entry).await? {
            DeleteOutcome::Deleted => self.result.deleted.push(digest.clone()),
            DeleteOutcome::AlreadyGone => self.result.already_gone.push(digest.clone()),
            DeleteOutcome::Retained(reason) => {
                self.result.retained.push(RetainedManifest { digest: digest.clone(), reason });
                self.graph.protect(self.inventory, &mut self.protected, [digest.clone()]);
            }
        }
        Ok(())
    }
}
