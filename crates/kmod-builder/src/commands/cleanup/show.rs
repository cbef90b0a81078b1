use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use crate::io::cleanup::{CleanupResult, IntegrityCheck, RequestStats, RestoredManifest};
use crate::io::progress;
use crate::model::cleanup::{RetentionEntry, RetentionPlan};
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
                entry.why.clone(),
            ]
        });
        columns(["DECISION", "KIND", "DIGEST", "AGE", "SIZE", "TAGS", "BECAUSE"], rows)
    }
}

/// What was done, with the plan that it was done by.
#[derive(Serialize)]
pub(super) struct CleanupReport {
    pub(super) plan: RetentionPlan,
    pub(super) applied: CleanupResult,
    pub(super) checked: IntegrityCheck,
    pub(super) cost: RequestStats,
    pub(super) journal: PathBuf,
}

impl CleanupReport {
    /// All of it in a sentence or a few.
    pub(super) fn sentence(&self) -> String {
        let (applied, of) = (&self.applied, self.plan.entries().len());
        let mut text = format!("Deleted {} of {of} manifests.", applied.deleted.len());
        let mut add = |count: usize, what: &str| {
            if count > 0 {
                write!(text, " {count} {what}.").expect("writing to a String cannot fail");
            }
        };
        add(applied.already_gone.len(), "were gone already");
        add(applied.retained.len(), "are retained by the store's own rules");
        add(applied.skipped.len(), "were left because something has changed since the plan was made");
        if let Some(reason) = &applied.stopped {
            write!(text, " Stopped before the end: {reason}. Run it again to go on.")
                .expect("writing to a String cannot fail");
        }
        if self.checked.manifests > 0 {
            let whole = if self.checked.broken.is_empty() { "whole" } else { "NOT all whole" };
            write!(text, " The {} that stay are {whole}.", self.checked.manifests)
                .expect("writing to a String cannot fail");
        }
        text
    }
}

impl Show for CleanupReport {
    fn table(&self) -> String {
        let mut text = self.plan.table();
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        line(String::new());
        for (digest, why) in &self.applied.retained {
            line(format!("retained {}: {why}", digest.short()));
        }
        for (digest, why) in &self.applied.skipped {
            line(format!("left {}: {why}", digest.short()));
        }
        for (digest, lack) in &self.checked.broken {
            line(format!("BROKEN {digest}: it lacks {lack}"));
        }
        line(self.sentence());
        text
    }
}

/// What was brought back.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct RestoreReport(pub(super) Vec<RestoredManifest>);

impl Show for RestoreReport {
    fn table(&self) -> String {
        let rows = self.0.iter().map(|restored| {
            let taken = match restored.taken.as_slice() {
                [] => String::new(),
                taken => format!("without {}, which something else has by now", taken.join(" ")),
            };
            [restored.digest.to_string(), taken]
        });
        columns(["BROUGHT BACK", ""], rows)
    }
}

/// What a dry run has to say. A scheduled run that was meant to delete must not look as if it had.
pub(super) fn dry(plan: &RetentionPlan) -> String {
    let (count, of) = (plan.deletions().len(), plan.entries().len());
    let scheduled = std::env::var_os("GITHUB_EVENT_NAME").is_some_and(|event| event == "schedule");
    let run = if scheduled { "this scheduled run was a dry run" } else { "this was a dry run" };
    let mut text = format!(
        "Nothing was deleted: {run}. It would delete {count} of {of} manifests, {}.",
        size(plan.freed())
    );
    if let Some(rejection) = plan.rejections().first() {
        write!(text, " It would be refused: {rejection}.").expect("writing to a String cannot fail");
    }
    text
}

/// Says it on standard error, and on the page of the workflow's run if there is one
/// ([job summaries](https://docs.github.com/actions/reference/workflow-commands-for-github-actions)).
pub(super) fn summary(text: &str) {
    progress::note(text);
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    if let Err(error) = file.and_then(|mut file| writeln!(file, "**Clean-up.** {text}\n")) {
        tracing::warn!(%error, "the summary could not be written");
    }
}

fn age(entry: &RetentionEntry, plan: &RetentionPlan) -> String {
    match entry.since {
        None => "unknown".to_owned(),
        Some(since) => match plan.made().duration_since(since).as_hours() {
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
