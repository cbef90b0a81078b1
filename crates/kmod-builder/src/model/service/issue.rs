use std::collections::BTreeMap;
use std::fmt;

use super::{Class, Results, Trouble};

/// The label of every issue that is kept here.
pub const LABEL: &str = "zfs-kmods";
/// How much of a message stands in an issue, in characters.
const LONGEST: usize = 6000;

/// What an issue is about: the hidden first line of its body. There is one issue for each, ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker {
    /// The kind of trouble.
    pub class: Class,
    /// The target.
    pub target: String,
}

impl Marker {
    /// The marker of an issue, if it has one. Only the first line counts: below it stand words of others.
    pub fn of(body: &str) -> Option<Self> {
        let line = body.lines().next()?.trim();
        let (class, target) = line.strip_prefix("<!-- zfs-kmods ")?.strip_suffix(" -->")?.split_once(' ')?;
        Some(Self { class: Class::from_word(class)?, target: target.to_owned() })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<!-- zfs-kmods {} {} -->", self.class.word(), self.target)
    }
}

/// An issue that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number; older issues have smaller ones.
    pub number: u64,
    /// What it is about.
    pub marker: Marker,
    /// Whether it is open.
    pub open: bool,
    /// Its text.
    pub body: String,
}

/// An issue that should be open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it is about.
    pub marker: Marker,
    /// Its title.
    pub title: String,
    /// Its text, which begins with the marker.
    pub body: String,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Open a new issue.
    Open(Wanted),
    /// Write its text anew.
    Update(u64, Wanted),
    /// Open a closed one again: the same trouble has come back.
    Reopen(u64, Wanted),
    /// Close it, with these words.
    Close(u64, String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(wanted) => write!(f, "open an issue: {}", wanted.title),
            Self::Update(number, wanted) => write!(f, "update issue #{number}: {}", wanted.title),
            Self::Reopen(number, wanted) => write!(f, "open issue #{number} again: {}", wanted.title),
            Self::Close(number, why) => write!(f, "close issue #{number}: {why}"),
        }
    }
}

/// The issues that should be open after a run: one for each class and target.
pub fn wanted(results: &Results, run: Option<&str>) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for trouble in results.all() {
        let marker = Marker { class: trouble.class, target: trouble.target.clone() };
        if all.iter().all(|wanted| wanted.marker != marker) {
            let title = format!("{}: {}", trouble.target, trouble.class.title());
            all.push(Wanted { body: body(&marker, trouble, run), title, marker });
        }
    }
    all
}

fn body(marker: &Marker, trouble: &Trouble, run: Option<&str>) -> String {
    let message: String = trouble.message.chars().take(LONGEST).collect();
    // A fence that the message cannot close; inside it nobody is mentioned and nothing is a link.
    let fence = "`".repeat(longest_run(&message).max(2) + 1);
    let advice = trouble.help.as_deref().unwrap_or(trouble.class.advice());
    // A held target says the same every day, and an issue whose text stays is not touched.
    let seen = match run {
        Some(run) if trouble.class.is_failure() => format!("\nLast seen in {run}.\n"),
        _ => String::new(),
    };
    let general = if trouble.help.is_some() && trouble.class.is_failure() {
        format!("\n{}\n", trouble.class.advice())
    } else {
        String::new()
    };
    format!(
        "{marker}\n**{}** for `{}`.\n\n{fence}text\n{message}\n{fence}\n\n{advice}\n{general}{seen}\n\
         This issue is kept by the scheduled run: it is updated, closed and opened again by itself.\n",
        trouble.class.title(),
        trouble.target,
    )
}

fn longest_run(text: &str) -> usize {
    text.split(|letter| letter != '`').map(str::len).max().unwrap_or_default()
}

/// What is to be done so that there is exactly one open issue for each trouble, and none for what has passed.
///
/// `everything` says that the run asked for all targets there are, so that what is not in its plan is wanted no more.
pub fn steps(results: &Results, wanted: &[Wanted], found: &[Found], everything: bool) -> Vec<Step> {
    let mut all = duplicates(found);
    let doubled: Vec<u64> = all.iter().filter_map(closed).collect();
    for wanted in wanted {
        let same = || found.iter().filter(|issue| issue.marker == wanted.marker);
        let open = same().filter(|issue| issue.open).min_by_key(|issue| issue.number);
        let before = same().filter(|issue| !issue.open).max_by_key(|issue| issue.number);
        match (open, before) {
            // GitHub gives line ends of its own to what people edit.
            (Some(issue), _) if same_text(&issue.body, &wanted.body) => {}
            (Some(issue), _) => all.push(Step::Update(issue.number, wanted.clone())),
            (None, Some(issue)) => all.push(Step::Reopen(issue.number, wanted.clone())),
            (None, None) => all.push(Step::Open(wanted.clone())),
        }
    }
    let passed = found.iter().filter(|issue| {
        issue.open
            && !doubled.contains(&issue.number)
            && wanted.iter().all(|wanted| wanted.marker != issue.marker)
    });
    all.extend(passed.filter_map(|issue| {
        Some(Step::Close(issue.number, why_passed(results, &issue.marker, everything)?))
    }));
    all
}

/// Of several open issues about the same, all but the oldest go: every reporter comes to the same answer.
pub fn duplicates(found: &[Found]) -> Vec<Step> {
    let mut oldest: BTreeMap<&Marker, u64> = BTreeMap::new();
    for issue in found.iter().filter(|issue| issue.open) {
        let number = oldest.entry(&issue.marker).or_insert(issue.number);
        *number = issue.number.min(*number);
    }
    let younger = found.iter().filter(|issue| issue.open && oldest[&issue.marker] != issue.number);
    younger
        .map(|issue| Step::Close(issue.number, format!("This is the same as #{}.", oldest[&issue.marker])))
        .collect()
}

fn closed(step: &Step) -> Option<u64> {
    match step {
        Step::Close(number, _) => Some(*number),
        _ => None,
    }
}

fn same_text(one: &str, other: &str) -> bool {
    one.replace("\r\n", "\n").trim_end() == other.replace("\r\n", "\n").trim_end()
}

/// Why trouble is over, if this run shows it; a run that did not come that far shows nothing.
fn why_passed(results: &Results, marker: &Marker, everything: bool) -> Option<String> {
    let target = &marker.target;
    if let Some(result) = results.targets.iter().find(|result| result.planned.tag == *target) {
        return match result.troubles.first() {
            None if result.planned.decision == "up-to-date" => {
                Some("The image is there and up to date.".to_owned())
            }
            None => Some("It went well.".to_owned()),
            Some(trouble) if stage(marker.class)? < stage(trouble.class)? => {
                Some(format!("It came further this time; now {}.", trouble.class.title()))
            }
            Some(_) => None,
        };
    }
    let own = if results.goal == super::Goal::Cleanup { "cleanup" } else { "plan" };
    if target == own {
        return results.complete.then(|| "It went well.".to_owned());
    }
    let gone = everything && results.complete && results.goal == super::Goal::Promote && target != "cleanup";
    gone.then(|| "No stream asks for this any more.".to_owned())
}

/// How far a target must have come to have this trouble; nothing for what can happen anywhere.
const fn stage(class: Class) -> Option<u8> {
    match class {
        Class::Held => Some(0),
        Class::HeadersGone => Some(1),
        Class::Build => Some(2),
        Class::Contract => Some(3),
        Class::Boot => Some(4),
        Class::Upstream | Class::Registry | Class::Permission | Class::Lost | Class::Other => None,
    }
}
