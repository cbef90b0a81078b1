//! `report`: what became of a run, for people.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic as _, Result};

use super::upstream::{UpstreamArgs, github_token};
use super::{Outcome, recording};
use crate::io::github::{GithubError, Issues, Pace};
use crate::io::{progress, records};
use crate::model::service::{
    Asked, Goal, Record, Results, Step, annotation, results, steps, summary, wanted,
};
use crate::output::{self, Format, Show};

/// Say what became of a run: summary, annotations and issues
///
/// Joins the records that the verbs of a run left with the plan. A target whose job left no record counts as failed. In
/// GitHub Actions the summary goes on the page of the run, and each trouble becomes an annotation. With --issues there
/// is exactly one issue for each class of trouble and target: opened, updated, closed and opened again by itself.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if nothing failed (what is held has not), 3 if something did.

Examples:
  zfs-kmods report --records records
  zfs-kmods report --records records --until boot-test
  GITHUB_TOKEN=… zfs-kmods report --records records --issues --repository OWNER/zfs-kmods")]
pub struct ReportArgs {
    /// Directory of the records, as written with --record
    #[arg(long, value_name = "DIR")]
    records: PathBuf,

    /// Verb with which the run is complete
    #[arg(long, value_enum, env = "ZFS_KMODS_UNTIL", default_value = "promote")]
    until: Goal,

    /// Keep an issue for each class of trouble and target (GITHUB_TOKEN with issues: write)
    #[arg(long, env = "ZFS_KMODS_ISSUES")]
    issues: bool,

    /// The run asked for all there is: close the issues of targets that are not in its plan
    #[arg(long, env = "ZFS_KMODS_EVERYTHING")]
    everything: bool,

    /// Repository of the issues
    #[arg(long, value_name = "OWNER/NAME", env = "GITHUB_REPOSITORY")]
    repository: Option<String>,

    /// The least time between two changes at GitHub, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000, hide_short_help = true)]
    change_interval: u64,
}

/// Gather, decide, do, show.
pub async fn run(args: ReportArgs, upstream: &UpstreamArgs, format: Format) -> Result<Outcome> {
    if args.issues && args.repository.is_none() {
        return Err(miette::miette!(
            help = "name it with --repository OWNER/NAME",
            "issues are kept in a repository, and none is named"
        ));
    }
    let records = records::read(&args.records)?;
    let results = results(args.until, recording::channel().is_some(), &records);
    let issues = if args.issues {
        // That GitHub does not let us is no failure of the run: the summary says it.
        keep_issues(&args, upstream, &results).await.map_err(|error| {
            let help = miette::Diagnostic::help(&error).map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{error}{help}")
        })
    } else {
        Ok(Vec::new())
    };
    if let Some(file) = variable("GITHUB_STEP_SUMMARY") {
        records::append(file.as_ref(), &summary(&results, &asked(args.until, &records), &issues))
            .into_diagnostic()?;
    }
    if variable("GITHUB_ACTIONS").is_some() {
        for trouble in results.all() {
            progress::note(&annotation(trouble));
        }
    }
    match &issues {
        Ok(steps) => steps.iter().for_each(|step| progress::note(&step.to_string())),
        Err(reason) => progress::note(&format!("no issue was touched: {reason}")),
    }
    output::show(format, &results).into_diagnostic()?;
    Ok(if results.is_good() { Outcome::Done } else { Outcome::Refused })
}

/// Looks at the issues, and makes them what they should be.
async fn keep_issues(
    args: &ReportArgs,
    upstream: &UpstreamArgs,
    results: &Results,
) -> std::result::Result<Vec<Step>, GithubError> {
    let pace =
        Pace { between_changes: std::time::Duration::from_millis(args.change_interval), ..Pace::default() };
    let repository = args.repository.as_deref().unwrap_or_default();
    let issues = Issues::new(&upstream.github_api(), github_token(), repository, pace)?;
    let wanted = wanted(results, run_url().as_deref());
    let steps = steps(results, &wanted, &issues.found().await?, args.everything);
    for step in &steps {
        issues.carry_out(step).await?;
    }
    progress::note(&format!("asked GitHub: {} requests for {} issues", issues.requests(), wanted.len()));
    Ok(steps)
}

fn asked(goal: Goal, records: &[Record]) -> Asked {
    let verb = if goal == Goal::Cleanup { "cleanup" } else { "plan" };
    let record = records.iter().find(|record| record.verb == verb);
    Asked {
        event: variable("GITHUB_EVENT_NAME"),
        actor: variable("GITHUB_ACTOR"),
        branch: variable("GITHUB_REF_NAME"),
        command: record.map(|record| format!("zfs-kmods {}", record.arguments.join(" "))),
    }
}

/// The page of this run (the variables are GitHub's own).
fn run_url() -> Option<String> {
    let (server, repository) = (variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?);
    Some(format!("{server}/{repository}/actions/runs/{}", variable("GITHUB_RUN_ID")?))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Show for Results {
    fn table(&self) -> String {
        let rows = self.targets.iter().map(|result| {
            let troubles: Vec<_> = result.troubles.iter().map(|trouble| trouble.class.title()).collect();
            let end = if !troubles.is_empty() {
                troubles.join(", ")
            } else if result.promoted {
                "promoted".to_owned()
            } else {
                result.boot_test.clone().unwrap_or_default()
            };
            [result.planned.tag.clone(), result.planned.decision.clone(), end]
        });
        let table = output::columns(["TARGET", "DECISION", "END"], rows);
        let troubles: Vec<_> = self
            .all()
            .map(|trouble| {
                let message = trouble.message.replace('\n', "\n  ");
                format!("\n{}: {}\n  {message}\n", trouble.target, trouble.class.title())
            })
            .collect();
        format!("{table}{}", troubles.concat())
    }
}
