use std::time::Duration;

use serde::Serialize;

use super::{CommandRecord, CommandStatus, Failure, FindingKind, RecordedResult};
use crate::model::plan::{BuildDecision, NotBuiltKind, Plan, PlannedTarget, TargetStep};
use crate::model::reconcile::MissingInput;
use crate::model::{Digest, DocumentSchema, document};

/// The command with which a run is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LastStage {
    /// What passes its boot test is promoted.
    #[default]
    Promote,
    /// What is built is tested, and stays a candidate.
    BootTest,
    /// The registry is cleaned up.
    Cleanup,
}

impl LastStage {
    /// The commands for targets, in order.
    const fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Promote => &["recall", "build", "boot-test", "sign", "promote"],
            Self::BootTest => &["recall", "build", "boot-test", "sign"],
            Self::Cleanup => &[],
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: FindingKind,
    /// A target's tag, a command or a source.
    pub subject: String,
    pub message: String,
    /// More specific than the advice of the kind.
    pub help: Option<String>,
}

impl Finding {
    fn new(kind: FindingKind, subject: &str, message: impl Into<String>) -> Self {
        Self { kind, subject: subject.to_owned(), message: message.into(), help: None }
    }

    fn of(record: &CommandRecord, failure: &Failure, subject: &str) -> Self {
        let Failure { kind, message, help } = failure.clone();
        let message = format!("{}: {message}", record.command);
        Self { kind, subject: subject.to_owned(), message, help }
    }

    pub fn advice(&self) -> &str {
        self.help.as_deref().unwrap_or(self.kind.advice())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetResult {
    #[serde(flatten)]
    pub planned: PlannedTarget,
    pub findings: Vec<Finding>,
    /// Of an image that was built or is up to date.
    pub digest: Option<Digest>,
    /// `None` if no image was published in this run.
    pub signed: Option<bool>,
    /// `passed`, `failed` or `not-tested`.
    pub boot_test: Option<String>,
    pub promoted: bool,
    pub commands: Vec<CommandTime>,
}

impl TargetResult {
    pub fn tag(&self) -> String {
        self.planned.target.tag().to_string()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandTime {
    pub command: String,
    #[serde(rename = "duration_seconds", serialize_with = "document::seconds")]
    pub duration: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunReport {
    schema: DocumentSchema,
    pub last_stage: LastStage,
    /// Each planned target once.
    pub targets: Vec<TargetResult>,
    /// Findings that concern no single target.
    pub findings: Vec<Finding>,
    /// Whether the plan has every source and `plan` succeeded.
    pub complete: bool,
}

impl RunReport {
    /// Joins the plan with the records of the jobs.
    ///
    /// With `one_channel`, everything is promoted to a single channel. Otherwise each target must have a promotion
    /// record for every stream in which its kernel was seen.
    pub fn new(last_stage: LastStage, one_channel: bool, records: &[CommandRecord]) -> Self {
        let report = |targets, findings, complete| Self {
            schema: DocumentSchema::new("run-report", 2),
            last_stage,
            targets,
            findings,
            complete,
        };
        if last_stage == LastStage::Cleanup {
            let findings = finding_of("cleanup", records).into_iter().collect::<Vec<_>>();
            let complete = findings.is_empty();
            return report(Vec::new(), findings, complete);
        }
        let record = records.iter().find(|record| record.command == "plan");
        let Some(RecordedResult::Plan(plan)) = record.and_then(|record| record.results.last()) else {
            let lost = || Finding::new(FindingKind::Lost, "plan", "`plan` has left no plan");
            return report(Vec::new(), vec![finding_of("plan", records).unwrap_or_else(lost)], false);
        };
        let (findings, complete) = plan_findings(plan, records);
        let result = |planned: &PlannedTarget| target_result(last_stage, one_channel, planned, records);
        report(plan.targets().iter().map(result).collect(), findings, complete)
    }

    /// First those of the run, then by target.
    pub fn all(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().chain(self.targets.iter().flat_map(|result| &result.findings))
    }

    pub fn is_good(&self) -> bool {
        !self.all().any(|finding| finding.kind.is_failure())
    }
}

/// The findings that concern no single target, and whether the plan is complete.
fn plan_findings(plan: &Plan, records: &[CommandRecord]) -> (Vec<Finding>, bool) {
    let unresolved = plan.unresolved().iter();
    let mut findings: Vec<_> = unresolved
        .map(|source| {
            let kind = if source.gone { FindingKind::SourceGone } else { FindingKind::Upstream };
            Finding::new(kind, &source.source, &*source.reason)
        })
        .collect();
    // An incomplete plan is already reported by source and target.
    if plan.is_complete() {
        findings.extend(finding_of("plan", records));
    }
    let complete = findings.is_empty() && plan.is_complete();
    (findings, complete)
}

/// The finding of a command about all targets.
fn finding_of(command: &str, records: &[CommandRecord]) -> Option<Finding> {
    let Some(record) = records.iter().find(|record| record.command == command) else {
        return Some(Finding::new(FindingKind::Lost, command, format!("`{command}` has left no record")));
    };
    record.failure.as_ref().map(|failure| Finding::of(record, failure, command))
}

fn target_result(
    last_stage: LastStage,
    one_channel: bool,
    planned: &PlannedTarget,
    records: &[CommandRecord],
) -> TargetResult {
    let tag = planned.target.tag().to_string();
    let mut own: Vec<_> = records.iter().filter(|record| record.tag.as_deref() == Some(&*tag)).collect();
    own.sort_by_key(|record| record.started_at);
    let findings = match &planned.decision {
        BuildDecision::UpToDate(_) => Vec::new(),
        BuildDecision::NotBuilt(not_built) => {
            let kind = match not_built.kind {
                NotBuiltKind::UnverifiedRelease | NotBuiltKind::UnacceptableInputs => {
                    FindingKind::UnverifiedRelease
                }
                NotBuiltKind::Unsupported | NotBuiltKind::Excluded => FindingKind::Unsupported,
            };
            vec![Finding::new(kind, &tag, &*not_built.reason)]
        }
        BuildDecision::Build { .. } | BuildDecision::Continue { .. } => {
            let promotions = match &planned.channels {
                Some(channels) => channels.len().max(1),
                None if one_channel => 1,
                None => planned.sources.len().max(1),
            };
            let steps = planned.decision.steps();
            let mut findings = target_findings(last_stage, &steps, &tag, promotions, &own);
            if findings.is_empty() && steps.contains(&TargetStep::Withdraw) {
                findings.push(Finding::new(FindingKind::Withdrawn, &tag, planned.decision.reason()));
            }
            findings
        }
        BuildDecision::Waiting { missing, reason } => {
            let kind = match missing {
                MissingInput::KernelDevel => FindingKind::KernelDevelMissing,
                MissingInput::BuilderImage | MissingInput::FedoraKey => FindingKind::MissingInput,
            };
            vec![Finding::new(kind, &tag, &**reason)]
        }
        BuildDecision::BackingOff { image, backoff } => {
            let kind = if image.is_some() { FindingKind::Boot } else { FindingKind::Build };
            vec![Finding::new(kind, &tag, backoff.to_string())]
        }
        BuildDecision::Withdrawn { reason, .. } => {
            vec![Finding::new(FindingKind::Withdrawn, &tag, &**reason)]
        }
        BuildDecision::Unknown { reason } => vec![Finding::new(FindingKind::Upstream, &tag, &**reason)],
    };
    let command_time = |record: &&CommandRecord| {
        let duration = record.ended_at.duration_since(record.started_at).try_into().unwrap_or_default();
        CommandTime { command: record.command.clone(), duration }
    };
    let mut result = TargetResult {
        planned: planned.clone(),
        findings,
        digest: None,
        signed: None,
        boot_test: None,
        promoted: promoted(&own),
        commands: own.iter().map(command_time).collect(),
    };
    if let BuildDecision::UpToDate(digest) | BuildDecision::Continue { image: digest, .. } = &planned.decision
    {
        result.digest = Some(digest.clone());
    }
    for recorded in own.iter().flat_map(|record| &record.results) {
        match recorded {
            RecordedResult::Image { digest, signed, .. } => {
                (result.digest, result.signed) = (Some(digest.clone()), *signed);
            }
            RecordedResult::BootTest { result: word, .. } => result.boot_test = Some(word.clone()),
            RecordedResult::Plan(_) | RecordedResult::Rejected { .. } => {}
        }
    }
    result
}

/// Promoted at least once, and not rejected anywhere.
fn promoted(own: &[&CommandRecord]) -> bool {
    let mut promotions = own.iter().filter(|record| record.command == "promote").peekable();
    promotions.peek().is_some() && promotions.all(|record| record.status == CommandStatus::Done)
}

/// The failures of the first command that has any. If none has and a record is missing, its job was lost.
fn target_findings(
    last_stage: LastStage,
    steps: &[TargetStep],
    tag: &str,
    promotions: usize,
    own: &[&CommandRecord],
) -> Vec<Finding> {
    for command in last_stage.commands() {
        let left: Vec<_> = own.iter().filter(|record| record.command == *command).collect();
        let failed: Vec<_> = left
            .iter()
            .filter_map(|record| Some(Finding::of(record, record.failure.as_ref()?, tag)))
            .collect();
        if !failed.is_empty() {
            return failed;
        }
        // `sign` runs for targets whose plan does not have it, too.
        if !steps.iter().any(|step| step.command() == *command) {
            continue;
        }
        let expected = if *command == "promote" { promotions } else { 1 };
        if left.len() < expected {
            let lost = match left.len() {
                0 => format!("`{command}` has left no record"),
                some => format!("`{command}` has left {some} of {expected} records"),
            };
            return vec![Finding::new(FindingKind::Lost, tag, lost)];
        }
    }
    Vec::new()
}
