use std::collections::BTreeSet;
use std::fmt::Write as _;

use miette::Diagnostic as _;
use serde::Serialize;

use crate::model::Target;
use crate::model::attest::Kind;
use crate::model::image::{DigestRef, Tag};
use crate::model::promotion::{Check, Promoted, PromotionChecks, Refusal, Step};
use crate::model::tags::Channel;
use crate::model::verification::Outcome;
use crate::output::{self, Show};

/// What became of a promotion.
pub(super) enum Ended {
    /// Something that is demanded does not hold.
    Unproven,
    /// The image is proven, and yet may not have the tags.
    Refused(Vec<Refusal>),
    /// This would be done.
    Planned(Vec<Step>),
    /// This was done.
    Promoted(Promoted, Vec<Step>),
}

/// A promotion, as it is shown.
#[derive(Serialize)]
pub(super) struct PromotionReport {
    image: DigestRef,
    channel: Channel,
    target: Option<Target>,
    result: &'static str,
    /// Evidence that was not demanded.
    waived: BTreeSet<Kind>,
    checks: Vec<Check>,
    refusals: Vec<Refusal>,
    /// All tags of the promotion, in their order; none where the image is not proven.
    tags: Vec<Tag>,
    /// Those of them that did not point to the image.
    steps: Vec<Step>,
}

impl PromotionReport {
    pub(super) fn new(
        image: &DigestRef,
        channel: &Channel,
        examination: &PromotionChecks,
        demanded: &BTreeSet<Kind>,
    ) -> Self {
        Self {
            image: image.clone(),
            channel: channel.clone(),
            target: examination.target().cloned(),
            result: "not-proven",
            waived: Kind::ALL.into_iter().filter(|kind| !demanded.contains(kind)).collect(),
            checks: examination.checks(demanded),
            refusals: Vec::new(),
            tags: Vec::new(),
            steps: Vec::new(),
        }
    }

    pub(super) fn with_tags<'a>(mut self, tags: impl Iterator<Item = &'a Tag>) -> Self {
        self.tags = tags.cloned().collect();
        self
    }

    pub(super) fn end(mut self, ended: Ended) -> Self {
        match ended {
            Ended::Unproven => {}
            Ended::Refused(refusals) => (self.result, self.refusals) = ("refused", refusals),
            Ended::Planned(steps) => (self.result, self.steps) = ("planned", steps),
            Ended::Promoted(promoted, steps) => {
                self.result = if promoted.steps() == 0 { "nothing-to-do" } else { "promoted" };
                self.steps = steps;
            }
        }
        self
    }

    pub(super) fn refused(&self) -> bool {
        matches!(self.result, "not-proven" | "refused")
    }

    fn sentence(&self) -> String {
        match self.result {
            "not-proven" => "NOT PROVEN: no tag was touched".to_owned(),
            "refused" => "REFUSED: no tag was touched".to_owned(),
            "planned" => format!("{} of {} tags would be put", self.steps.len(), self.tags.len()),
            "nothing-to-do" => "promoted before, nothing to do".to_owned(),
            _ => "promoted".to_owned(),
        }
    }
}

impl Show for PromotionReport {
    fn table(&self) -> String {
        let rows = self.checks.iter().map(|check| {
            let result = match (check.answer.outcome(), check.required) {
                (Outcome::Passed, _) => "ok",
                (Outcome::Failed(_), true) => "FAILED",
                (Outcome::Unknown(_), true) => "unknown",
                (_, false) => "not ok, not required",
            };
            [check.answer.check.to_owned(), result.to_owned()]
        });
        let mut text = output::columns(["CHECK", "RESULT"], rows);
        let mut line = |line: String| writeln!(text, "{line}").expect("writing to a String cannot fail");
        for check in &self.checks {
            if let Some(reason) = check.answer.outcome().reason() {
                line(format!("\n{}:\n  {reason}", check.answer.check));
            }
        }
        for refusal in &self.refusals {
            let help = refusal.help().map_or_else(String::new, |help| format!("\n  help: {help}"));
            line(format!("\n{refusal}{help}"));
        }
        // Where something speaks against it, no tag is left alone more than any other.
        let tags = if self.refusals.is_empty() { &self.tags[..] } else { &[] };
        if !tags.is_empty() {
            line(String::new());
        }
        for tag in tags {
            let step = self.steps.iter().find(|step| step.tag == *tag);
            line(step.map_or_else(|| format!("leave {tag}"), Step::to_string));
        }
        if !self.waived.is_empty() {
            let waived: Vec<_> = self.waived.iter().map(Kind::to_string).collect();
            line(format!("\nNOT REQUIRED: {}", waived.join(", ")));
        }
        let what = self.target.as_ref().map_or_else(|| "an unknown target".to_owned(), Target::to_string);
        line(format!("\n{}: {what}, to {}\n{}", self.sentence(), self.channel, self.image));
        text
    }
}
