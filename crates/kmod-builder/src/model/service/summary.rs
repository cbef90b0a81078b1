use std::fmt::Write as _;
use std::time::Duration;

use super::{Goal, Result, Results, Step, Trouble};

/// How much of a message stands in the summary, in characters: GitHub takes 1 MiB for all.
const LONGEST: usize = 3000;

/// Who asked for the run, and what for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// `schedule`, `workflow_dispatch` or `push`.
    pub event: Option<String>,
    /// Who started it.
    pub actor: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// The command line of `plan` or `cleanup`.
    pub command: Option<String>,
}

/// The page of the run, in Markdown. `issues` is what was done with issues, or why nothing could be.
pub fn summary(results: &Results, asked: &Asked, issues: &std::result::Result<Vec<Step>, String>) -> String {
    let mut text = String::new();
    let title = if results.goal == Goal::Cleanup { "Clean-up" } else { "OpenZFS kernel modules" };
    line(&mut text, &format!("## {title}: {}", verdict(results)));
    line(&mut text, &asked_for(asked));
    if !results.targets.is_empty() {
        line(&mut text, &table(&results.targets));
    }
    for trouble in results.all() {
        line(&mut text, &told(trouble));
    }
    match issues {
        Err(reason) => line(&mut text, &format!("> [!WARNING]\n> No issue was touched: {}", escaped(reason))),
        Ok(steps) if steps.is_empty() => {}
        Ok(steps) => {
            let steps: Vec<_> =
                steps.iter().map(|step| format!("- {}", escaped(&step.to_string()))).collect();
            line(&mut text, &format!("Issues:\n\n{}", steps.join("\n")));
        }
    }
    text
}

fn line(text: &mut String, paragraph: &str) {
    if !paragraph.is_empty() {
        text.push_str(paragraph);
        text.push_str("\n\n");
    }
}

/// One line for the whole run.
fn verdict(results: &Results) -> String {
    let failed = |result: &&Result| result.troubles.iter().any(|trouble| trouble.class.is_failure());
    let count = |of: &dyn Fn(&&Result) -> bool| results.targets.iter().filter(of).count();
    let (failed, promoted) = (count(&|result| failed(result)), count(&|result| result.promoted));
    let tested = count(&|result| result.boot_test.as_deref() == Some("passed") && !result.promoted);
    let held = count(&|result| result.planned.decision == "held");
    let current = count(&|result| result.planned.decision == "up-to-date");
    let parts: Vec<_> = [
        (failed, "failed"),
        (promoted, "promoted"),
        (tested, "tested"),
        (current, "up to date"),
        (held, "held"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect();
    let alone = results.troubles.len();
    match (parts.is_empty(), alone) {
        (true, 0) => "done".to_owned(),
        (true, _) => "failed".to_owned(),
        (false, 0) => parts.join(", "),
        (false, alone) => format!("{}, and {alone} that could not be found out", parts.join(", ")),
    }
}

fn asked_for(asked: &Asked) -> String {
    let mut text = match asked.event.as_deref() {
        Some("schedule") => "Asked by the schedule".to_owned(),
        Some("workflow_dispatch") => "Asked by hand".to_owned(),
        Some("push") => "Asked by a push".to_owned(),
        Some(other) => format!("Asked by {other}"),
        None => String::new(),
    };
    if text.is_empty() {
        return asked.command.as_ref().map_or_else(String::new, |command| format!("Asked: `{command}`"));
    }
    if let Some(actor) = asked.actor.as_ref().filter(|_| asked.event.as_deref() != Some("schedule")) {
        write!(text, " ({actor})").expect("writing to a String cannot fail");
    }
    if let Some(branch) = &asked.branch {
        write!(text, " on `{branch}`").expect("writing to a String cannot fail");
    }
    if let Some(command) = &asked.command {
        write!(text, ": `{command}`").expect("writing to a String cannot fail");
    }
    text
}

fn table(results: &[Result]) -> String {
    let mut text = "| target | seen in | decision | digest | evidence | boot test | promoted | time |\n\
                    |---|---|---|---|---|---|---|---|"
        .to_owned();
    for result in results {
        let cells = [
            format!("`{}`", result.planned.tag),
            result.planned.streams.join(", "),
            decision(result),
            result.digest.as_ref().map_or_else(none, |digest| format!("`{digest}`")),
            match result.signed {
                Some(true) => "provenance, SBOM, signature".to_owned(),
                Some(false) => "**none**".to_owned(),
                None => none(),
            },
            result.boot_test.clone().unwrap_or_else(none),
            if result.promoted { "yes".to_owned() } else { none() },
            times(&result.times),
        ];
        let cells = cells.map(|cell| escaped(&cell));
        write!(text, "\n| {} |", cells.join(" | ")).expect("writing to a String cannot fail");
    }
    text
}

fn none() -> String {
    "–".to_owned()
}

fn decision(result: &Result) -> String {
    match result.troubles.iter().find(|trouble| trouble.class.is_failure()) {
        Some(trouble) => format!("{}; **{}**", result.planned.decision, trouble.class.title()),
        None => result.planned.decision.clone(),
    }
}

fn times(times: &[(String, Duration)]) -> String {
    let all: Vec<_> = times.iter().map(|(verb, time)| format!("{verb} {}", clock(*time))).collect();
    if all.is_empty() { none() } else { all.join(", ") }
}

fn clock(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

fn told(trouble: &Trouble) -> String {
    let message: String = trouble.message.chars().take(LONGEST).collect();
    let quoted: Vec<_> = message.lines().map(|line| format!("    {line}")).collect();
    let advice = trouble.help.as_deref().unwrap_or(trouble.class.advice());
    format!(
        "### {}: {}\n\n{}\n\n{}",
        escaped(&trouble.target),
        trouble.class.title(),
        quoted.join("\n"),
        escaped(advice)
    )
}

/// Words of others, without what Markdown and GitHub make of them.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}
