use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use super::{Finding, FindingKind, LastStage, RunReport};
use crate::model::plan::BuildDecision;

pub const LABEL: &str = "zfs-kmods";
/// The maximum length of a message in an issue, in characters.
const LONGEST: usize = 6000;

/// The hidden first line of an issue's body. Unique among the issues.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker {
    pub kind: FindingKind,
    /// A target's tag, a command or a source.
    pub subject: String,
}

impl Marker {
    /// The marker of an issue, if it has one. Only the first line counts, because the text below quotes others.
    pub fn of(body: &str) -> Option<Self> {
        let line = body.lines().next()?.trim();
        let (kind, subject) = line.strip_prefix("<!-- zfs-kmods ")?.strip_suffix(" -->")?.split_once(' ')?;
        Some(Self { kind: kind.parse().ok()?, subject: subject.to_owned() })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<!-- zfs-kmods {} {} -->", self.kind, self.subject)
    }
}

/// An issue with a marker, and with [`LABEL`] if the token may set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExistingIssue {
    pub number: u64,
    pub marker: Marker,
    pub open: bool,
    pub body: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredIssue {
    pub marker: Marker,
    pub title: String,
    /// Begins with the marker.
    pub body: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueAction {
    Open(DesiredIssue),
    Update(u64, DesiredIssue),
    Reopen(u64, DesiredIssue),
    /// The text is a comment.
    Close(u64, String),
}

impl fmt::Display for IssueAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(wanted) => write!(f, "open an issue: {}", wanted.title),
            Self::Update(number, wanted) => write!(f, "update issue #{number}: {}", wanted.title),
            Self::Reopen(number, wanted) => write!(f, "reopen issue #{number}: {}", wanted.title),
            Self::Close(number, why) => write!(f, "close issue #{number}: {why}"),
        }
    }
}

/// One for each kind and target.
pub fn desired_issues(report: &RunReport, run: Option<&str>) -> Vec<DesiredIssue> {
    let mut all: Vec<DesiredIssue> = Vec::new();
    for finding in report.all() {
        let marker = Marker { kind: finding.kind, subject: finding.subject.clone() };
        if all.iter().all(|wanted| wanted.marker != marker) {
            let title = format!("{}: {}", finding.subject, finding.kind.title());
            all.push(DesiredIssue { body: body(&marker, finding, run), title, marker });
        }
    }
    all
}

fn body(marker: &Marker, finding: &Finding, run: Option<&str>) -> String {
    let message: String = finding.message.chars().take(LONGEST).collect();
    // A fence longer than any in the message. Mentions and links have no effect inside it.
    let fence = "`".repeat(longest_run(&message).max(2) + 1);
    let advice = finding.advice();
    // Without the run, the text for an unsupported target is the same every day, and the issue is not updated.
    let run = run.filter(|_| finding.kind.is_failure());
    let seen = run.map_or_else(String::new, |run| format!("\nLast seen in {run}.\n"));
    let general = match &finding.help {
        Some(_) if finding.kind.is_failure() => format!("\n{}\n", finding.kind.advice()),
        _ => String::new(),
    };
    format!(
        "{marker}\n**{}** for `{}`.\n\n{fence}text\n{message}\n{fence}\n\n{advice}\n{general}{seen}\n\
         The scheduled run maintains this issue: it updates, closes and reopens it.\n",
        finding.kind.title(),
        finding.subject,
    )
}

fn longest_run(text: &str) -> usize {
    text.split(|letter| letter != '`').map(str::len).max().unwrap_or_default()
}

/// The changes after which each finding has exactly one open issue, and no other issue is open.
///
/// `close_stale` requires a run that planned all targets: issues of targets outside its plan are closed too.
pub fn issue_actions(
    report: &RunReport,
    wanted: &[DesiredIssue],
    found: &[ExistingIssue],
    close_stale: bool,
) -> Vec<IssueAction> {
    let oldest = oldest_open(found);
    let mut all = duplicates(found);
    for wanted in wanted {
        let before = found.iter().filter(|issue| !issue.open && issue.marker == wanted.marker);
        match (oldest.get(&wanted.marker), before.max_by_key(|issue| issue.number)) {
            // GitHub changes line ends when a text is edited in the browser.
            (Some(issue), _) if same_text(&issue.body, &wanted.body) => {}
            (Some(issue), _) => all.push(IssueAction::Update(issue.number, wanted.clone())),
            (None, Some(issue)) => all.push(IssueAction::Reopen(issue.number, wanted.clone())),
            (None, None) => all.push(IssueAction::Open(wanted.clone())),
        }
    }
    let passed = oldest.values().filter(|issue| wanted.iter().all(|wanted| wanted.marker != issue.marker));
    all.extend(passed.filter_map(|issue| {
        Some(IssueAction::Close(issue.number, why_passed(report, &issue.marker, close_stale)?))
    }));
    all
}

fn oldest_open(found: &[ExistingIssue]) -> BTreeMap<&Marker, &ExistingIssue> {
    let mut open: Vec<_> = found.iter().filter(|issue| issue.open).collect();
    open.sort_by_key(|issue| Reverse(issue.number));
    open.into_iter().map(|issue| (&issue.marker, issue)).collect()
}

/// Closes all but the oldest of several open issues with the same marker, so that concurrent reporters agree.
pub fn duplicates(found: &[ExistingIssue]) -> Vec<IssueAction> {
    let oldest = oldest_open(found);
    let open = found.iter().filter(|issue| issue.open);
    let younger = open.filter_map(|issue| {
        let first = oldest[&issue.marker].number;
        let comment = || format!("This is the same as #{first}.");
        (first != issue.number).then(|| IssueAction::Close(issue.number, comment()))
    });
    younger.collect()
}

fn same_text(one: &str, other: &str) -> bool {
    one.replace("\r\n", "\n").trim_end() == other.replace("\r\n", "\n").trim_end()
}

/// The reason to close an issue. `None` if this run does not show that the finding is resolved.
fn why_passed(report: &RunReport, marker: &Marker, close_stale: bool) -> Option<String> {
    let subject = &marker.subject;
    if let Some(result) = report.targets.iter().find(|result| result.tag() == *subject) {
        return match result.findings.first() {
            None if matches!(result.planned.decision, BuildDecision::UpToDate(_)) => {
                Some("The image is there and up to date.".to_owned())
            }
            None => Some("All stages succeeded.".to_owned()),
            Some(finding) if marker.kind.row().stage? < finding.kind.row().stage? => {
                Some(format!("This stage succeeded; now {}.", finding.kind.title()))
            }
            Some(_) => None,
        };
    }
    let own = if report.last_stage == LastStage::Cleanup { "cleanup" } else { "plan" };
    if subject == own {
        return report.complete.then(|| "All stages succeeded.".to_owned());
    }
    let gone =
        close_stale && report.complete && report.last_stage == LastStage::Promote && subject != "cleanup";
    gone.then(|| "No stream ships this kernel any more.".to_owned())
}
