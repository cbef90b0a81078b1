use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::model::Digest;
use crate::model::boot_test::{BootTest, BootVerdict};
use crate::model::ci_report::RecordedResult;
use crate::model::document::{self, DocumentSchema};
use crate::output::{self, Show};

#[derive(Serialize)]
pub(in crate::commands) struct BootTestReport {
    schema: DocumentSchema,
    #[serde(flatten)]
    pub(in crate::commands) test: BootTest,
    /// Digests of the manifests that carry the result.
    pub(in crate::commands) attached: Vec<Digest>,
    /// Total of all boots.
    #[serde(serialize_with = "document::seconds")]
    duration_seconds: Duration,
}

impl BootTestReport {
    pub(in crate::commands) fn new(test: BootTest, attached: &[Digest]) -> Self {
        let (schema, duration_seconds) = (DocumentSchema::new("boot-test", 1), test.time());
        Self { schema, test, attached: attached.to_vec(), duration_seconds }
    }
}

impl Show for BootTestReport {
    fn table(&self) -> String {
        let attached = self.attached.iter().map(|digest| format!("attached as {digest}\n"));
        self.test.table() + &attached.collect::<String>()
    }

    fn recorded(&self) -> Option<RecordedResult> {
        self.test.recorded()
    }
}

impl Show for BootTest {
    fn table(&self) -> String {
        let rows = self.boots.iter().flat_map(|report| {
            let row = |step: &str, passed: bool, at: Duration, detail: &str| {
                [
                    report.boot.number().to_string(),
                    step.to_string(),
                    if passed { "ok" } else { "FAILED" }.to_owned(),
                    format!("{:.1} s", at.as_secs_f64()),
                    detail.trim().chars().take(60).collect(),
                ]
            };
            let steps = report.steps.iter();
            let made = steps.map(move |made| row(made.step.as_str(), made.passed, made.at, &made.detail));
            made.chain(report.unfinished().map(|step| row(step, false, report.time, "")))
        });
        let mut text = output::columns(["BOOT", "STEP", "RESULT", "AFTER", "DETAIL"], rows);
        let (_, word, reason) = words(&self.verdict);
        let _ = write!(text, "\n{word}: {}", self.target);
        if let Some(guest) = &self.guest {
            let (time, accelerator) = (self.time().as_secs_f64(), guest.accelerator.as_str());
            let _ = write!(text, " ({time:.1} s, {accelerator})");
        }
        let reason = reason.map_or_else(String::new, |reason| format!("\n  {reason}"));
        format!("{text}{reason}\n{}\n", self.image)
    }

    fn recorded(&self) -> Option<RecordedResult> {
        let (result, _, reason) = words(&self.verdict);
        Some(RecordedResult::BootTest { result: result.to_owned(), reason })
    }
}

/// The verdict in the record and in the table, and its reason.
fn words(verdict: &BootVerdict) -> (&'static str, &'static str, Option<String>) {
    match verdict {
        BootVerdict::Passed => ("passed", "passed", None),
        BootVerdict::Failed(failure) => ("failed", "FAILED", Some(failure.to_string())),
        BootVerdict::NotTested(reason) => ("not-tested", "not tested", Some(reason.clone())),
    }
}
