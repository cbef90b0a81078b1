use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum as _};
use miette::{IntoDiagnostic as _, Result};

use super::args::upstream::UpstreamArgs;
use super::{CommandContext, CommandOutcome};
use crate::io::github::{GithubError, Issues, RateLimitPolicy};
use crate::io::{environment, progress, records};
use crate::model::ci_report::{
    CommandRecord, IssueAction, LastStage, RunReport, RunTrigger, annotation, desired_issues, issue_actions,
    summary,
};

/// Report the result of a run: summary, annotations and issues
///
/// Joins the records that the commands of a run left with the plan. A target whose job left no record counts as failed. In
/// GitHub Actions the summary goes on the page of the run, and each finding becomes an annotation. With --issues there
/// is exactly one issue for each kind of finding and target: opened, updated, closed and reopened automatically.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if nothing failed (an unsupported target has not), 3 if something did.

Examples:
  zfs-kmods report --records records
  zfs-kmods report --records records --last-stage boot-test
  GITHUB_TOKEN=… zfs-kmods report --records records --issues --repository OWNER/zfs-kmods"
)]
pub struct ReportArgs {
    /// Directory of the records, as written with --record
    #[arg(long, value_name = "DIR")]
    records: PathBuf,

    /// Command with which the run is complete [default: promote]
    #[arg(long, alias = "until", value_enum, env = "ZFS_KMODS_LAST_STAGE")]
    last_stage: Option<LastStage>,

    /// Keep an issue for each kind of finding and target (GITHUB_TOKEN with issues: write)
    #[arg(long, env = "ZFS_KMODS_ISSUES")]
    issues: bool,

    /// Close the issues of targets that are not in the plan: the run planned all targets
    #[arg(long, alias = "everything", env = "ZFS_KMODS_CLOSE_STALE_ISSUES")]
    close_stale_issues: bool,

    /// Repository of the issues
    #[arg(long, value_name = "OWNER/NAME", env = "GITHUB_REPOSITORY")]
    repository: Option<String>,

    /// The least time between two changes at GitHub, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000, hide_short_help = true)]
    change_interval: u64,
}

impl ReportArgs {
    /// Workflows before version 2 use other variable names.
    fn last_stage(&self) -> Result<LastStage> {
        match (self.last_stage, environment::variable("ZFS_KMODS_UNTIL")) {
            (Some(stage), _) => Ok(stage),
            (None, Some(text)) => {
                LastStage::from_str(&text, false).map_err(|error| miette::miette!("ZFS_KMODS_UNTIL: {error}"))
            }
            (None, None) => Ok(LastStage::default()),
        }
    }

    fn close_stale_issues(&self) -> bool {
        self.close_stale_issues || environment::flag("ZFS_KMODS_EVERYTHING")
    }
}

pub async fn run(args: ReportArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let CommandContext { upstream, output, .. } = context;
    if args.issues && args.repository.is_none() {
        return Err(miette::miette!(
            help = "name it with --repository OWNER/NAME",
            "--issues needs the repository in which the issues are kept"
        ));
    }
    let last_stage = args.last_stage()?;
    let records = records::read(&args.records)?;
    let report = RunReport::new(last_stage, environment::promotion_channel().is_some(), &records);
    let issues = if args.issues {
        // A rejection by GitHub appears in the summary and does not fail the run.
        update_issues(&args, upstream, &report).await.map_err(|error| {
            let help = miette::Diagnostic::help(&error).map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{error}{help}")
        })
    } else {
        Ok(Vec::new())
    };
    records::append_summary(&summary(&report, &trigger(last_stage, &records), &issues)).into_diagnostic()?;
    if environment::in_github_actions() {
        report.all().for_each(|finding| progress::print_notice(&annotation(finding)));
    }
    match &issues {
        Ok(actions) => actions.iter().for_each(|action| progress::print_notice(&action.to_string())),
        Err(reason) => progress::print_notice(&format!("no issue was changed: {reason}")),
    }
    output.show(&report)?;
    Ok(if report.is_good() { CommandOutcome::Done } else { CommandOutcome::Refused })
}

async fn update_issues(
    args: &ReportArgs,
    upstream: &UpstreamArgs,
    report: &RunReport,
) -> Result<Vec<IssueAction>, GithubError> {
    let between_changes = Duration::from_millis(args.change_interval);
    let policy = RateLimitPolicy { between_changes, ..RateLimitPolicy::default() };
    let repository = args.repository.as_deref().unwrap_or_default();
    let issues = Issues::new(&upstream.github_api(), environment::github_token(), repository, policy)?;
    let desired = desired_issues(report, environment::run_url().as_deref());
    let mut existing = issues.labelled().await?;
    let mut actions = issue_actions(report, &desired, &existing, args.close_stale_issues());
    // An issue that did not get its label must not be opened again every day.
    if existing.is_empty() || actions.iter().any(|action| matches!(action, IssueAction::Open(_))) {
        existing.extend(issues.unlabelled().await?);
        actions = issue_actions(report, &desired, &existing, args.close_stale_issues());
    }
    for action in &actions {
        issues.carry_out(action).await?;
    }
    let (requests, count) = (issues.requests(), desired.len());
    progress::print_notice(&format!("asked GitHub: {requests} requests for {count} issues"));
    Ok(actions)
}

fn trigger(last_stage: LastStage, records: &[CommandRecord]) -> RunTrigger {
    let command = if last_stage == LastStage::Cleanup { "cleanup" } else { "plan" };
    let record = records.iter().find(|record| record.command == command);
    RunTrigger {
        event: environment::variable("GITHUB_EVENT_NAME"),
        actor: environment::variable("GITHUB_ACTOR"),
        branch: environment::variable("GITHUB_REF_NAME"),
        command: record.map(|record| format!("zfs-kmods {}", record.arguments.join(" "))),
    }
}
