use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use crate::io::cleanup::{BrokenManifest, CleanupRequests, CleanupResult, IntegrityCheck, RestoredManifest};
use crate::io::environment;
use crate::model::cleanup::{PlanRejection, RetentionEntry, RetentionPlan};
use crate::model::document::DocumentSchema;
use crate::output::{Show, columns};

impl Show for RetentionPlan {
    fn table(&self) -> String {
        let rows = self.entries().iter().map(|entry| {
            let decision = if entry.is_deleted() { "delete" } else { "keep" };
            [
                decision.to_owned(),
                entry.kind.clone(),
                entry.digest.short().to_owned(),
                age(entry, self),
                size(entry.bytes),
                tags(entry),
                entry.reason.text.clone(),
            ]
        });
        columns(["DECISION", "KIND", "DIGEST", "AGE", "SIZE", "TAGS", "BECAUSE"], rows)
    }
}

#[derive(Serialize)]
pub(in crate::commands) struct CleanupReport {
    pub(in crate::commands) schema: DocumentSchema,
    pub(in crate::commands) plan: RetentionPlan,
    pub(in crate::commands) result: CleanupResult,
    pub(in crate::commands) integrity: IntegrityCheck,
    pub(in crate::commands) requests: CleanupRequests,
    pub(in crate::commands) journal: PathBuf,
}

impl CleanupReport {
    pub(in crate::commands) fn sentence(&self) -> String {
        let (result, of) = (&self.result, self.plan.entries().len());
        let mut text = format!("Deleted {} of {of} manifests.", result.deleted.len());
        let mut add = |count: usize, what: &str| {
            if count > 0 {
                let _ = write!(text, " {count} {what}.");
            }
        };
        add(result.already_gone.len(), "were gone already");
        add(result.retained.len(), "are retained by the store's own rules");
        add(result.skipped.len(), "were left because something has changed since the plan was made");
        if let Some(reason) = &result.stopped {
            let _ = write!(text, " Stopped before the end: {reason}. Run it again to go on.");
        }
        let check = &self.integrity;
        let whole = if check.broken.is_empty() { "whole" } else { "NOT all whole" };
        if let Some(reason) = &check.unfinished {
            let _ = write!(text, " The check of what stays did not finish: {reason}.");
        } else if check.checked < check.manifests {
            let (stay, checked) = (check.manifests, check.checked);
            let _ = write!(text, " Of the {stay} that stay, {checked} were checked and are {whole}.");
        } else if check.manifests > 0 {
            let _ = write!(text, " The {} that stay are {whole}.", check.manifests);
        }
        if !check.broken_before.is_empty() {
            let count = check.broken_before.len();
            let _ = write!(text, " Content of {count} was missing already before this run.");
        }
        text
    }
}

impl Show for CleanupReport {
    fn table(&self) -> String {
        let mut text = self.plan.table();
        let mut line = |line: String| text += &(line + "\n");
        line(String::new());
        for kept in &self.result.retained {
            line(format!("retained {}: {}", kept.digest.short(), kept.reason));
        }
        for skipped in &self.result.skipped {
            line(format!("left {}: {}", skipped.digest.short(), skipped.reason));
        }
        for BrokenManifest { digest, missing } in &self.integrity.broken_before {
            line(format!("damaged before this run: {digest} lacks {missing}"));
        }
        for BrokenManifest { digest, missing } in &self.integrity.broken {
            line(format!("BROKEN {digest}: it lacks {missing}"));
        }
        line(self.sentence());
        text
    }
}

#[derive(Serialize)]
#[serde(transparent)]
pub(in crate::commands) struct RestoreReport(pub(in crate::commands) Vec<RestoredManifest>);

impl Show for RestoreReport {
    fn table(&self) -> String {
        let rows = self.0.iter().filter(|restored| restored.error.is_none()).map(|restored| {
            let taken = match restored.taken.as_slice() {
                [] => String::new(),
                taken => format!("without {}, which points to another manifest now", taken.join(" ")),
            };
            [restored.digest.to_string(), taken]
        });
        let mut text = columns(["RESTORED", ""], rows);
        for RestoredManifest { digest, error, .. } in &self.0 {
            if let Some(error) = error {
                let _ = writeln!(text, "NOT RESTORED {digest}: {error}");
            }
        }
        text
    }
}

/// Makes clear that a scheduled dry run deleted nothing.
pub(in crate::commands) fn dry(
    plan: &RetentionPlan,
    count: usize,
    freed_bytes: Option<u64>,
    rejections: &[PlanRejection],
) -> String {
    let of = plan.entries().len();
    let scheduled = environment::variable("GITHUB_EVENT_NAME").is_some_and(|event| event == "schedule");
    let run = if scheduled { "this scheduled run was a dry run" } else { "this was a dry run" };
    let freed = freed_bytes.map(|bytes| format!(", {}", size(bytes))).unwrap_or_default();
    let mut text = format!("Nothing was deleted: {run}. It would delete {count} of {of} manifests{freed}.");
    if let Some(rejection) = rejections.first() {
        let _ = write!(text, " It would be refused: {rejection}.");
    }
    text
}

fn age(entry: &RetentionEntry, plan: &RetentionPlan) -> String {
    match entry.since {
        None => "unknown".to_owned(),
        Some(since) => match plan.created_at.duration_since(since).as_hours() {
            hours @ ..48 => format!("{hours} h"),
            hours => format!("{} d", hours / 24),
        },
    }
}

fn tags(entry: &RetentionEntry) -> String {
    match entry.tags.iter().map(String::as_str).collect::<Vec<_>>().join(" ") {
        tags if tags.is_empty() => "-".to_owned(),
        tags => tags,
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        ..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes.div_ceil(1 << 20)),
        _ => format!("{}.{} GiB", bytes >> 30, (bytes % (1 << 30) * 10) >> 30),
    }
}
