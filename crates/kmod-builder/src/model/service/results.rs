use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Class, Ending, Failure, Record};

/// The verb with which a run is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// What passes its boot test is promoted.
    #[default]
    Promote,
    /// What is built is tested, and stays a candidate.
    BootTest,
    /// The store is cleaned up.
    Cleanup,
}

impl Goal {
    /// The verbs that every target that is built goes through.
    const fn verbs(self) -> &'static [&'static str] {
        match self {
            Self::Promote => &["build", "boot-test", "promote"],
            Self::BootTest => &["build", "boot-test"],
            Self::Cleanup => &[],
        }
    }
}

/// A target as `plan` has shown it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Planned {
    /// The tag that names it.
    pub tag: String,
    /// Where its kernel was seen.
    pub streams: Vec<String>,
    /// `build`, `up-to-date`, `held` or `unknown`.
    pub decision: String,
    /// Why.
    pub reason: String,
    /// The image that is there already.
    #[serde(default)]
    pub image: Option<String>,
}

/// All that `plan` has shown.
#[derive(Deserialize)]
struct Plan {
    targets: Vec<Planned>,
    unknown: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    place: String,
    reason: String,
}

/// Something that did not go well, or the news that a target is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The kind.
    pub class: Class,
    /// The target's tag; a verb or a place where it is about all of them.
    pub target: String,
    /// What happened.
    pub message: String,
    /// What to do, where that is known better than by its class.
    pub help: Option<String>,
}

impl Trouble {
    fn new(class: Class, target: &str, message: impl Into<String>) -> Self {
        Self { class, target: target.to_owned(), message: message.into(), help: None }
    }

    fn of(record: &Record, failure: &Failure, target: &str) -> Self {
        let Failure { class, message, help } = failure.clone();
        let message = format!("{}: {message}", record.verb);
        Self { class, target: target.to_owned(), message, help }
    }
}

/// What became of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Result {
    /// What was planned.
    #[serde(flatten)]
    pub planned: Planned,
    /// What went wrong.
    pub troubles: Vec<Trouble>,
    /// The published image.
    pub digest: Option<String>,
    /// Whether it has signed evidence; nothing if it was not published in this run.
    pub signed: Option<bool>,
    /// The word of the boot test: `passed`, `failed` or `not-tested`.
    pub boot_test: Option<String>,
    /// Whether it was promoted in this run.
    pub promoted: bool,
    /// What each verb took.
    pub times: Vec<(String, Duration)>,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Results {
    /// How far it was to go.
    pub goal: Goal,
    /// Each planned target once.
    pub targets: Vec<Result>,
    /// Trouble that is of no single target.
    pub troubles: Vec<Trouble>,
    /// Whether everything that the run was asked for is in the plan, and `plan` itself ended well.
    pub complete: bool,
}

impl Results {
    /// All trouble and news: first what concerns everything, then by target.
    pub fn all(&self) -> impl Iterator<Item = &Trouble> {
        self.troubles.iter().chain(self.targets.iter().flat_map(|result| &result.troubles))
    }

    /// Whether nothing failed; what is held has not.
    pub fn is_good(&self) -> bool {
        !self.all().any(|trouble| trouble.class.is_failure())
    }
}

/// Joins the plan with the records of the jobs.
///
/// `one_channel` says that everything was to be promoted to a single channel; else each target goes to every stream in
/// which its kernel was seen, and a promotion that left no record is missed.
pub fn results(goal: Goal, one_channel: bool, records: &[Record]) -> Results {
    if goal == Goal::Cleanup {
        let troubles = alone("cleanup", records).into_iter().collect::<Vec<_>>();
        let complete = troubles.is_empty();
        return Results { goal, targets: Vec::new(), troubles, complete };
    }
    let plan = records.iter().find(|record| record.verb == "plan");
    let shown: Option<Plan> =
        plan.and_then(|record| record.shown.last()).and_then(|plan| Plan::deserialize(plan).ok());
    let Some(shown) = shown else {
        let lost = || Trouble::new(Class::Lost, "plan", "`plan` has left no plan");
        let troubles = vec![alone("plan", records).unwrap_or_else(lost)];
        return Results { goal, targets: Vec::new(), troubles, complete: false };
    };
    let blind = shown.unknown.iter().map(|place| Trouble::new(Class::Upstream, &place.place, &*place.reason));
    let mut troubles: Vec<_> = blind.collect();
    let unknown = shown.targets.iter().any(|target| target.decision == "unknown");
    // What could not be found out is told place by place; then `plan` only says so again.
    if troubles.is_empty() && !unknown {
        troubles.extend(alone("plan", records));
    }
    let complete = troubles.is_empty() && !unknown;
    let targets =
        shown.targets.into_iter().map(|planned| result(goal, one_channel, planned, records)).collect();
    Results { goal, targets, troubles, complete }
}

/// The trouble of a verb that is for no single target.
fn alone(verb: &str, records: &[Record]) -> Option<Trouble> {
    let Some(record) = records.iter().find(|record| record.verb == verb) else {
        return Some(Trouble::new(Class::Lost, verb, format!("`{verb}` has left no record")));
    };
    record.failure.as_ref().map(|failure| Trouble::of(record, failure, verb))
}

fn result(goal: Goal, one_channel: bool, planned: Planned, records: &[Record]) -> Result {
    let mut own: Vec<_> =
        records.iter().filter(|record| record.target.as_deref() == Some(&*planned.tag)).collect();
    // As they came, not as their files are called.
    own.sort_by_key(|record| record.began);
    let text = |verb: &str, pointers: &[&str]| {
        let record = own.iter().find(|record| record.verb == verb)?;
        pointers.iter().find_map(|at| record.shown_at(at)?.as_str().map(str::to_owned))
    };
    let published = own.iter().find(|record| record.verb == "build");
    let signed = published.and_then(|record| {
        ["/published/signed", "/signed"].iter().find_map(|at| record.shown_at(at)?.as_bool())
    });
    let troubles = match planned.decision.as_str() {
        "up-to-date" => Vec::new(),
        "held" => vec![Trouble::new(Class::Held, &planned.tag, &*planned.reason)],
        "build" => {
            let promotions = if one_channel { 1 } else { planned.streams.len().max(1) };
            troubles(goal, &planned.tag, promotions, &own)
        }
        _ => vec![Trouble::new(Class::Upstream, &planned.tag, &*planned.reason)],
    };
    let times = own.iter().map(|record| {
        let time = record.ended.duration_since(record.began);
        (record.verb.clone(), Duration::try_from(time).unwrap_or_default())
    });
    Result {
        digest: text("build", &["/published/digest", "/digest"]).or_else(|| planned.image.clone()),
        signed,
        boot_test: text("boot-test", &["/result", "/test/result"]),
        promoted: promoted(&own),
        times: times.collect(),
        troubles,
        planned,
    }
}

/// Promoted at all, and nowhere refused.
fn promoted(own: &[&Record]) -> bool {
    let mut promotions = own.iter().filter(|record| record.verb == "promote").peekable();
    promotions.peek().is_some() && promotions.all(|record| record.ending == Ending::Done)
}

/// What failed of the first of its verbs that did; or, if none did and one is missing, that its job was lost.
fn troubles(goal: Goal, tag: &str, promotions: usize, own: &[&Record]) -> Vec<Trouble> {
    for verb in goal.verbs() {
        let left: Vec<_> = own.iter().filter(|record| record.verb == *verb).collect();
        let failed: Vec<_> = left
            .iter()
            .filter_map(|record| Some(Trouble::of(record, record.failure.as_ref()?, tag)))
            .collect();
        if !failed.is_empty() {
            return failed;
        }
        let expected = if *verb == "promote" { promotions } else { 1 };
        if left.len() < expected {
            let lost = match left.len() {
                0 => format!("`{verb}` has left no record"),
                some => format!("`{verb}` has left {some} of {expected} records"),
            };
            return vec![Trouble::new(Class::Lost, tag, lost)];
        }
    }
    Vec::new()
}
