use std::fmt::Write as _;
use std::time::Duration;

use super::{CommandTime, Finding, IssueAction, LastStage, RunReport, TargetResult};
use crate::model::plan::BuildDecision;

/// The maximum length of a message in the summary, in characters. GitHub accepts 1 MiB in total.
const LONGEST: usize = 3000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunTrigger {
    /// `schedule`, `workflow_dispatch` or `push`.
    pub event: Option<String>,
    pub actor: Option<String>,
    pub branch: Option<String>,
    /// The command line of `plan` or `cleanup`.
    pub command: Option<String>,
}

/// Markdown. `issues` is the result of updating the issues, or the reason why they were not updated.
pub fn summary(
    report: &RunReport,
    trigger: &RunTrigger,
    issues: &Result<Vec<IssueAction>, String>,
) -> String {
    let title = if report.last_stage == LastStage::Cleanup { "Clean-up" } else { "OpenZFS kernel modules" };
    let mut paragraphs = vec![format!("## {title}: {}", verdict(report)), started_by(trigger)];
    if !report.targets.is_empty() {
        paragraphs.push(table(&report.targets));
    }
    paragraphs.extend(report.all().map(section));
    match issues {
        Err(reason) => {
            paragraphs.push(format!("> [!WARNING]\n> No issue was changed: {}", escaped(reason)));
        }
        Ok(steps) if steps.is_empty() => {}
        Ok(steps) => {
            let steps = steps.iter().map(|step| format!("\n- {}", escaped(&step.to_string())));
            paragraphs.push(format!("Issues:\n{}", steps.collect::<String>()));
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs.into_iter().map(|paragraph| paragraph + "\n\n").collect()
}

fn verdict(report: &RunReport) -> String {
    let failed = |result: &&TargetResult| result.findings.iter().any(|finding| finding.kind.is_failure());
    let count = |of: &dyn Fn(&&TargetResult) -> bool| report.targets.iter().filter(of).count();
    let (failed, promoted) = (count(&|result| failed(result)), count(&|result| result.promoted));
    let tested = count(&|result| result.boot_test.as_deref() == Some("passed") && !result.promoted);
    let not_built = count(&|result| matches!(result.planned.decision, BuildDecision::NotBuilt(_)));
    let current = count(&|result| matches!(result.planned.decision, BuildDecision::UpToDate(_)));
    let parts: Vec<_> = [
        (failed, "failed"),
        (promoted, "promoted"),
        (tested, "tested"),
        (current, "up to date"),
        (not_built, "not built"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect();
    let alone = report.findings.len();
    match (parts.is_empty(), alone) {
        (true, 0) => "done".to_owned(),
        (true, _) => "failed".to_owned(),
        (false, 0) => parts.join(", "),
        (false, alone) => format!("{}, and {alone} unresolved", parts.join(", ")),
    }
}

fn started_by(trigger: &RunTrigger) -> String {
    let command = trigger.command.as_ref();
    let Some(event) = trigger.event.as_deref() else {
        return command.map_or_else(String::new, |command| format!("Command: `{command}`"));
    };
    let by = match event {
        "schedule" => "the schedule",
        "workflow_dispatch" => "hand",
        "push" => "a push",
        other => other,
    };
    let actor = trigger.actor.as_ref().filter(|_| event != "schedule");
    let parts = [
        Some(format!("Started by {by}")),
        actor.map(|actor| format!(" ({actor})")),
        trigger.branch.as_ref().map(|branch| format!(" on `{branch}`")),
        command.map(|command| format!(": `{command}`")),
    ];
    parts.into_iter().flatten().collect()
}

fn table(results: &[TargetResult]) -> String {
    let mut text = "| target | sources | decision | digest | evidence | boot test | promoted | time |\n\
                    |---|---|---|---|---|---|---|---|"
        .to_owned();
    for result in results {
        let cells = [
            format!("`{}`", result.tag()),
            result.planned.sources.join(", "),
            decision(result),
            result.digest.as_ref().map_or_else(none, |digest| format!("`{digest}`")),
            match result.signed {
                Some(true) => "provenance, SBOM, signature".to_owned(),
                Some(false) => "**none**".to_owned(),
                None => none(),
            },
            result.boot_test.clone().unwrap_or_else(none),
            if result.promoted { "yes".to_owned() } else { none() },
            times(&result.commands),
        ];
        let cells = cells.map(|cell| escaped(&cell));
        write!(text, "\n| {} |", cells.join(" | ")).expect("writing to a String cannot fail");
    }
    text
}

fn none() -> String {
    "–".to_owned()
}

fn decision(result: &TargetResult) -> String {
    match result.findings.iter().find(|finding| finding.kind.is_failure()) {
        Some(finding) => format!("{}; **{}**", result.planned.decision.as_str(), finding.kind.title()),
        None => result.planned.decision.as_str().to_owned(),
    }
}

fn times(times: &[CommandTime]) -> String {
    let all: Vec<_> = times.iter().map(|time| format!("{} {}", time.command, clock(time.duration))).collect();
    if all.is_empty() { none() } else { all.join(", ") }
}

fn clock(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

fn section(finding: &Finding) -> String {
    let message: String = finding.message.chars().take(LONGEST).collect();
    let quoted: Vec<_> = message.lines().map(|line| format!("    {line}")).collect();
    format!(
        "### {}: {}\n\n{}\n\n{}",
        escaped(&finding.subject),
        finding.kind.title(),
        quoted.join("\n"),
        escaped(finding.advice())
    )
}

/// Escapes the characters that Markdown and GitHub interpret.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}
