use std::collections::BTreeSet;

use miette::Diagnostic as _;
use serde::Serialize;

use crate::model::Target;
use crate::model::ci_report::RecordedResult;
use crate::model::document::{self, DocumentSchema};
use crate::model::evidence::EvidenceKind;
use crate::model::image::{DigestRef, Tag};
use crate::model::promote::{
    PromotedImage, PromotionCheck, PromotionChecks, PromotionPlan, PromotionRejection, RollbackUpdate,
    TagUpdate,
};
use crate::model::tags::LineChannel;
use crate::model::verify::CheckStatus;
use crate::output::{self, Show};

pub(in crate::commands) enum PromotionOutcome {
    /// A required check failed.
    Unproven,
    /// With `--dry-run`.
    Planned(PromotionPlan),
    Promoted(PromotedImage, PromotionPlan),
}

#[derive(Serialize)]
pub(in crate::commands) struct PromotionReport {
    schema: DocumentSchema,
    #[serde(serialize_with = "document::image")]
    image: DigestRef,
    /// `None`: only the image's own tag.
    channel: Option<LineChannel>,
    #[serde(serialize_with = "document::optional_target")]
    target: Option<Target>,
    result: &'static str,
    /// Evidence that was not required.
    waived: BTreeSet<EvidenceKind>,
    checks: Vec<PromotionCheck>,
    rejections: Vec<PromotionRejection>,
    /// All tags in update order; empty if a required check failed.
    tags: Vec<Tag>,
    /// Updates of the tags that did not point to the image.
    updates: Vec<TagUpdate>,
    /// Statements about rollbacks.
    notes: Vec<RollbackUpdate>,
}

impl PromotionReport {
    pub(in crate::commands) fn new(
        image: &DigestRef,
        channel: Option<&LineChannel>,
        checks: &PromotionChecks,
        required: &BTreeSet<EvidenceKind>,
    ) -> Self {
        Self {
            schema: DocumentSchema::new("promotion", 1),
            image: image.clone(),
            channel: channel.cloned(),
            target: checks.target().cloned(),
            result: "not-proven",
            waived: EvidenceKind::ALL.into_iter().filter(|kind| !required.contains(kind)).collect(),
            checks: checks.checks(required),
            rejections: Vec::new(),
            tags: Vec::new(),
            updates: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(in crate::commands) fn with_tags(mut self, tags: Vec<Tag>) -> Self {
        self.tags = tags;
        self
    }

    pub(in crate::commands) fn end(mut self, outcome: PromotionOutcome) -> Self {
        let plan = match outcome {
            PromotionOutcome::Unproven => return self,
            PromotionOutcome::Planned(plan) => {
                self.result = "planned";
                plan
            }
            PromotionOutcome::Promoted(promoted, plan) => {
                self.result = if promoted.updates() == 0 { "nothing-to-do" } else { "promoted" };
                plan
            }
        };
        if !plan.rejections.is_empty() {
            self.result = "refused";
        }
        PromotionPlan { updates: self.updates, rejections: self.rejections, notes: self.notes } = plan;
        self
    }

    pub(in crate::commands) fn refused(&self) -> bool {
        matches!(self.result, "not-proven" | "refused")
    }

    fn sentence(&self) -> String {
        match self.result {
            "not-proven" => "NOT PROVEN: no tag was changed".to_owned(),
            "refused" => "REFUSED: no tag of the channel was changed".to_owned(),
            "planned" => format!("{} of {} tags would be set", self.updates.len(), self.tags.len()),
            "nothing-to-do" => "already promoted, nothing to do".to_owned(),
            _ => "promoted".to_owned(),
        }
    }
}

impl Show for PromotionReport {
    fn recorded(&self) -> Option<RecordedResult> {
        let failed = self.checks.iter().map(|check| &check.answer);
        let failed =
            failed.filter_map(|answer| Some(format!("{}: {}", answer.check, answer.outcome().reason()?)));
        let reasons = failed.chain(self.rejections.iter().map(ToString::to_string)).collect();
        Some(RecordedResult::Rejected { reasons })
    }

    fn table(&self) -> String {
        let rows = self.checks.iter().map(|check| {
            let result = match (check.answer.outcome(), check.required) {
                (CheckStatus::Passed, _) => "ok",
                (CheckStatus::Failed(_), true) => "FAILED",
                (CheckStatus::Unknown(_), true) => "unknown",
                (_, false) => "not ok, not required",
            };
            [check.answer.check.to_owned(), result.to_owned()]
        });
        let mut text = output::columns(["CHECK", "RESULT"], rows);
        let mut line = |line: String| text += &(line + "\n");
        for check in &self.checks {
            if let Some(reason) = check.answer.outcome().reason() {
                line(format!("\n{}:\n  {reason}", check.answer.check));
            }
        }
        for rejection in &self.rejections {
            let help = rejection.help().map_or_else(String::new, |help| format!("\n  help: {help}"));
            line(format!("\n{rejection}{help}"));
        }
        let tags = if self.rejections.is_empty() { &self.tags[..] } else { &[] };
        if !tags.is_empty() {
            line(String::new());
        }
        for tag in tags {
            let update = self.updates.iter().find(|update| update.tag == *tag);
            line(update.map_or_else(|| format!("leave {tag}"), TagUpdate::to_string));
        }
        for note in &self.notes {
            line(note.to_string());
        }
        if !self.waived.is_empty() {
            let waived: Vec<_> = self.waived.iter().map(EvidenceKind::to_string).collect();
            line(format!("\nNOT REQUIRED: {}", waived.join(", ")));
        }
        let what = self.target.as_ref().map_or_else(|| "an unknown target".to_owned(), Target::to_string);
        let channel = self.channel.as_ref().map_or_else(|| "no channel".to_owned(), LineChannel::to_string);
        line(format!("\n{}: {what}, to {channel}\n{}", self.sentence(), self.image));
        text
    }
}
