use serde::Serialize;
use serde_json::json;

use super::RecordedResult;
use crate::model::inputs::BuildInputs;
use crate::model::plan::{BuildDecision, Plan, PlannedTarget, TargetStep};
use crate::model::tags::Channel;

/// The outputs that each command writes to `GITHUB_OUTPUT`. Other commands write none.
pub const OUTPUTS: [(&str, &[&str]); 2] = [("plan", &["build", "matrix"]), ("build", &["digest", "image"])];

/// The runner label of each architecture.
pub const RUNNERS: [(&str, &str); 2] = [("x86_64", "ubuntu-24.04"), ("aarch64", "ubuntu-24.04-arm")];

/// The branch that publishes to users; `publish.yml` has the same name.
const MAIN: &str = "main";

/// The promotion channel of all targets: the branch's own channel, else the requested one. `None` promotes each target
/// to the streams in which its kernel was found.
pub fn promotion_channel(branch: Option<&str>, requested: Option<&str>) -> Option<String> {
    match branch.filter(|branch| *branch != MAIN) {
        Some(branch) => Some(Channel::name_of_branch(branch)),
        None => requested.filter(|channel| *channel != "auto").map(str::to_owned),
    }
}

/// The inputs of `target.yml`.
#[derive(Debug, Serialize)]
pub struct MatrixJob<'a> {
    pub tag: String,
    pub runner: &'static str,
    pub channel: Option<&'a str>,
    /// The channels that it is promoted to. `none` stands for its own tag alone.
    pub channels: Vec<String>,
    pub steps: Vec<TargetStep>,
    /// Of a job that builds.
    pub inputs: Option<&'a BuildInputs>,
    /// The digest of the image; empty in a job that builds.
    pub digest: String,
}

/// Outputs without a value are left out.
///
/// `channel` is the target of every promotion; without it, each target goes to the streams in which its kernel was
/// seen.
pub fn outputs(
    command: &str,
    results: &[RecordedResult],
    channel: Option<&str>,
) -> Vec<(&'static str, String)> {
    let last = results.last();
    match (command, last) {
        ("plan", _) => {
            let jobs = match last {
                Some(RecordedResult::Plan(plan)) => jobs(plan, channel),
                _ => Vec::new(),
            };
            vec![
                ("build", (!jobs.is_empty()).to_string()),
                ("matrix", json!({ "include": jobs }).to_string()),
            ]
        }
        ("build", Some(RecordedResult::Image { digest, reference, .. })) => {
            let image = reference.clone().map(|reference| ("image", reference));
            [("digest", digest.to_string())].into_iter().chain(image).collect()
        }
        _ => Vec::new(),
    }
}

/// The name of a branch in a plan is the one in tags. Commands are given the branch's own name, because the name in tags
/// could be that of another branch.
fn as_requested(planned: &str, requested: Option<&str>) -> String {
    let Some(branch) = requested.filter(|requested| requested.starts_with("beta-")) else {
        return planned.to_owned();
    };
    match planned.strip_prefix("zfs-").and_then(|rest| rest.split_once('_')) {
        Some((line, _)) => format!("zfs-{line}_{branch}"),
        None => branch.to_owned(),
    }
}

/// One job per target with steps. A kernel of two streams is built once and promoted to both.
pub fn jobs<'a>(plan: &'a Plan, channel: Option<&'a str>) -> Vec<MatrixJob<'a>> {
    let job = |planned: &'a PlannedTarget| {
        let steps = planned.decision.steps();
        let (inputs, digest) = match &planned.decision {
            BuildDecision::Build { inputs, .. } => (Some(&**inputs), String::new()),
            BuildDecision::Continue { image, .. } => (None, image.to_string()),
            _ => return None,
        };
        let (_, runner) = RUNNERS.into_iter().find(|(arch, _)| planned.target.arch().rpm() == *arch)?;
        let sources: Vec<_> = planned.sources.iter().map(String::as_str).collect();
        let channels = match &planned.channels {
            Some(none) if none.is_empty() => vec!["none".to_owned()],
            Some(channels) => channels.iter().map(|planned| as_requested(planned, channel)).collect(),
            None => {
                let channels = channel.map_or(sources.clone(), |channel| vec![channel]);
                channels.into_iter().map(str::to_owned).collect()
            }
        };
        Some(MatrixJob {
            tag: planned.target.tag().to_string(),
            runner,
            channel: channel.or_else(|| sources.first().copied()).or(Some("stable")),
            channels,
            steps,
            inputs,
            digest,
        })
    };
    plan.targets().iter().filter_map(job).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tags::LineChannel;

    #[test]
    fn a_branch_is_promoted_to_the_channel_that_was_planned() {
        for requested in ["beta-two-lines", "beta-feature/x", "beta-main", "beta-fix-zfs-2.3"] {
            let channel: Channel = requested.parse().unwrap();
            for line in [None, Some("2.3".parse().unwrap())] {
                let planned = LineChannel { channel: channel.clone(), line };
                let named = as_requested(&planned.to_string(), Some(requested));
                assert_eq!(named.parse::<LineChannel>().unwrap(), planned, "{named}");
            }
        }
        for stream in ["stable", "zfs-2.3_stable"] {
            assert_eq!(as_requested(stream, None), stream);
            assert_eq!(as_requested(stream, Some("stable")), stream);
        }
    }
}
