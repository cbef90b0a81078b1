use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use super::{CleanupCache, Journal, JournalRecord, RetentionBackend, RetentionError};
use crate::io::github::DeleteOutcome;
use crate::model::Digest;
use crate::model::cleanup::{Dependencies, Inventory, RetentionEntry, RetentionPlan};

#[derive(Clone, Debug, Default, Serialize)]
pub struct CleanupResult {
    /// In deletion order.
    pub deleted: Vec<Digest>,
    /// Deleted by another client.
    pub already_gone: Vec<Digest>,
    /// Retained by the store's own rules.
    pub retained: Vec<RetainedManifest>,
    /// Not deleted, because they changed after the plan was made.
    pub skipped: Vec<SkippedManifest>,
    /// The rate limit that ended the run; a later run can continue.
    pub stopped: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RetainedManifest {
    pub digest: Digest,
    /// The store's message.
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
    if plan.created_at().duration_since(now) > CLOCK_TOLERANCE {
        return Err(RetentionError::Clock { here: now, whose: "the plan's", there: plan.created_at() });
    }
    if now.duration_since(plan.created_at()) > OLDEST_PLAN {
        return Err(RetentionError::OldPlan { made: plan.created_at() });
    }
    let inventory = backend.gather(cache, now).await?;
    let fresh = RetentionPlan::decide(plan.store(), &inventory, plan.policy(), plan.created_at().min(now));
    let mut run = Run {
        backend,
        cache,
        dependencies: Dependencies::of(&inventory),
        protected: HashSet::new(),
        applied: CleanupResult::default(),
    };
    run.agree(plan, &fresh, &inventory);
    let planned: HashSet<&Digest> = plan.deletions().iter().map(|entry| &entry.digest).collect();
    let going: Vec<&RetentionEntry> =
        fresh.deletions().iter().filter(|entry| planned.contains(&entry.digest)).collect();
    for (number, entry) in going.iter().enumerate() {
        match run.delete(entry, plan, journal, now).await {
            Ok(()) => {
                let tags = entry.tags.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
                say(&format!(
                    "[{}/{}] {} {} {tags}",
                    number + 1,
                    going.len(),
                    entry.kind,
                    entry.digest.short()
                ));
            }
            Err(error) if error.is_limit() => {
                run.applied.stopped = Some(error.to_string());
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let applied = run.applied;
    backend.collect_garbage(&applied.deleted, now)?;
    Ok((applied, inventory, fresh))
}

struct Run<'a> {
    backend: &'a RetentionBackend,
    cache: &'a CleanupCache,
    dependencies: Dependencies<'a>,
    protected: HashSet<Digest>,
    applied: CleanupResult,
}

impl Run<'_> {
    /// Skips what only one of the two plans deletes, and what that needs.
    fn agree(&mut self, plan: &RetentionPlan, fresh: &RetentionPlan, inventory: &Inventory) {
        let goes: HashSet<&Digest> = fresh.deletions().iter().map(|entry| &entry.digest).collect();
        let planned: HashSet<&Digest> = plan.deletions().iter().map(|entry| &entry.digest).collect();
        for entry in plan.deletions().iter().filter(|entry| !goes.contains(&entry.digest)) {
            if inventory.find(&entry.digest).is_none() {
                self.applied.already_gone.push(entry.digest.clone());
            } else {
                self.protect(&entry.digest, SkipReason::StaysNow);
            }
        }
        let unplanned = fresh.deletions().iter().filter(|entry| !planned.contains(&entry.digest));
        self.dependencies.protect(&mut self.protected, unplanned.map(|entry| entry.digest.clone()));
    }

    fn protect(&mut self, digest: &Digest, why: SkipReason) {
        self.applied.skipped.push(SkippedManifest { digest: digest.clone(), reason: why });
        self.dependencies.protect(&mut self.protected, [digest.clone()]);
    }

    async fn delete(
        &mut self,
        entry: &RetentionEntry,
        plan: &RetentionPlan,
        journal: &mut Journal,
        now: Timestamp,
    ) -> Result<(), RetentionError> {
        if self.protected.contains(&entry.digest) {
            self.applied
                .skipped
                .push(SkippedManifest { digest: entry.digest.clone(), reason: SkipReason::StillNeeded });
            return Ok(());
        }
        let Some(tags) = self.backend.tags_now(entry).await? else {
            self.applied.already_gone.push(entry.digest.clone());
            return Ok(());
        };
        let planned = plan.deletions().iter().find(|planned| planned.digest == entry.digest);
        if planned.is_none_or(|planned| planned.tags != tags) {
            self.protect(&entry.digest, SkipReason::TagsChanged);
            return Ok(());
        }
        let Some(raw) = self.backend.manifest(self.cache, &entry.digest).await? else {
            self.protect(&entry.digest, SkipReason::NotRestorable);
            return Ok(());
        };
        journal.record(&JournalRecord {
            digest: entry.digest.clone(),
            version_id: entry.version_id,
            tags,
            media_type: raw.media_type.clone(),
            bytes: raw.bytes.to_vec(),
            reason: entry.reason.clone(),
            deleted_at: now,
        })?;
        match self.backend.delete(entry).await? {
            DeleteOutcome::Deleted => self.applied.deleted.push(entry.digest.clone()),
            DeleteOutcome::AlreadyGone => self.applied.already_gone.push(entry.digest.clone()),
            DeleteOutcome::Retained(why) => {
                self.applied.retained.push(RetainedManifest { digest: entry.digest.clone(), reason: why });
                self.dependencies.protect(&mut self.protected, [entry.digest.clone()]);
            }
        }
        Ok(())
    }
}
