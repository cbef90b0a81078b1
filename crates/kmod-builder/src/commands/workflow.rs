use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use miette::Result;

use super::args::upstream::UpstreamArgs;
use super::view::Runs;
use super::{CommandContext, CommandOutcome};
use crate::io::github::{RateLimitPolicy, Workflow, WorkflowRun};
use crate::io::{environment, progress};
use crate::output::StandardOutput;

/// Start the publisher's workflow at GitHub, and see how its runs go
#[derive(Debug, Args)]
pub struct WorkflowArgs {
    #[command(subcommand)]
    command: WorkflowCommand,
}

#[derive(Debug, Subcommand)]
enum WorkflowCommand {
    Run(RunArgs),
    Status(StatusArgs),
}

#[derive(Debug, Args)]
struct WorkflowLocationArgs {
    /// Repository with the workflow
    #[arg(long, value_name = "OWNER/NAME", env = "GITHUB_REPOSITORY")]
    repository: String,

    /// File name of the workflow
    #[arg(long, value_name = "FILE", default_value = "publish.yml")]
    workflow: String,

    /// Look every so many milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 10_000, hide_short_help = true)]
    interval: u64,
}

/// Start the workflow
///
/// Inputs that are not given have the values that the workflow declares. GITHUB_TOKEN must be a token with
/// `actions: write`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  GITHUB_TOKEN=$(gh auth token) zfs-kmods workflow run --repository OWNER/zfs-kmods
  zfs-kmods workflow run --repository OWNER/zfs-kmods --input streams=testing --input force=true --watch
  zfs-kmods workflow run --repository OWNER/zfs-kmods --workflow cleanup.yml --input dry-run=true")]
struct RunArgs {
    /// Input of the workflow, such as streams=stable; can be repeated
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = input)]
    inputs: Vec<(String, String)>,

    /// Branch or tag with the workflow
    #[arg(long = "ref", value_name = "REF", default_value = "main")]
    reference: String,

    /// Wait until it ends; exit status 1 if it did not succeed
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    location: WorkflowLocationArgs,
}

/// List recent runs with state, duration and link
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  zfs-kmods workflow status --repository OWNER/zfs-kmods
  zfs-kmods workflow status --repository OWNER/zfs-kmods --watch")]
struct StatusArgs {
    /// How many runs
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
    count: u8,

    /// Wait until the newest one ends; exit status 1 if it did not succeed
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    location: WorkflowLocationArgs,
}

pub async fn run(args: WorkflowArgs, context: &CommandContext) -> Result<CommandOutcome> {
    match args.command {
        WorkflowCommand::Run(args) => start(args, context).await,
        WorkflowCommand::Status(args) => status(args, context).await,
    }
}

async fn start(args: RunArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let workflow = args.location.open(&context.upstream)?;
    let inputs = args.inputs.into_iter().collect::<BTreeMap<_, _>>();
    let run = workflow.start(&args.reference, &inputs, args.location.interval()).await?;
    show(&workflow, &args.location, vec![run], args.watch, &context.output).await
}

async fn status(args: StatusArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let workflow = args.location.open(&context.upstream)?;
    let runs = workflow.runs(args.count).await?;
    show(&workflow, &args.location, runs, args.watch, &context.output).await
}

/// Waits for the first run if requested, then shows all.
async fn show(
    workflow: &Workflow,
    location: &WorkflowLocationArgs,
    mut runs: Vec<WorkflowRun>,
    watch: bool,
    output: &StandardOutput,
) -> Result<CommandOutcome> {
    if watch && let Some(first) = runs.first_mut() {
        progress::print_notice(&format!("watching {}", first.html_url));
        let notice = |run: &WorkflowRun| {
            progress::print_notice(&format!("run {} is {}", run.run_number, run.state()));
        };
        workflow.wait(first, location.interval(), notice).await?;
    }
    let runs = Runs(runs);
    output.show(&runs)?;
    match runs.0.first() {
        Some(first) if watch && first.state() != "success" => Err(miette::miette!(
            help = format!("its page has the summary: {}", first.html_url),
            "run {} ended with {}",
            first.run_number,
            first.state()
        )),
        _ => Ok(CommandOutcome::Done),
    }
}

impl WorkflowLocationArgs {
    fn open(&self, upstream: &UpstreamArgs) -> Result<Workflow> {
        let (api, token, policy) =
            (upstream.github_api(), environment::github_token(), RateLimitPolicy::default());
        Ok(Workflow::new(&api, token, &self.repository, &self.workflow, policy)?)
    }

    const fn interval(&self) -> Duration {
        Duration::from_millis(self.interval)
    }
}

fn input(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("an input is NAME=VALUE, such as streams=stable")?;
    Ok((name.to_owned(), value.to_owned()))
}
