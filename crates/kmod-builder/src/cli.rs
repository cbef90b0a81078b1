//! The command line.

use clap::{Parser, Subcommand};
use miette::Result;

use crate::commands::args::config::ConfigArgs;
use crate::commands::args::record::RecordArgs;
use crate::commands::args::upstream::UpstreamArgs;
use crate::commands::command_record::RunningCommand;
use crate::commands::{self, CommandContext, CommandOutcome};
use crate::output::{Format, StandardOutput};

const EXIT_STATUS: &str = "Exit status:
  0  done, which includes \"nothing to do\" and \"unsupported\"
  1  failed
  2  the command line is wrong
  3  a check failed
  130, 143  interrupted by SIGINT (Ctrl-C) or SIGTERM

Images are named oci:DIR[:TAG] (a directory, OCI image layout) or docker://host/name[:TAG|@DIGEST].
Every flag that names an address can be set by the environment; `--help` shows the variables.";

/// OpenZFS kernel modules for Fedora CoreOS: planned, built, verified
///
/// Asks upstream which kernels Fedora CoreOS ships and which OpenZFS is released, builds the RPMs of OpenZFS for
/// exactly those kernels with podman, verifies that the modules will load, and keeps them as container images
/// tagged zfs-VERSION_kernel-RELEASE.
#[derive(Debug, Parser)]
#[command(name = "zfs-kmods", version, after_help = EXIT_STATUS, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: CliCommand,

    /// Form of the data on standard output
    #[arg(long, value_enum, default_value_t, global = true)]
    format: Format,

    /// More messages on standard error: -v what is done, -vv everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,

    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    upstream: UpstreamArgs,

    #[command(flatten)]
    record: RecordArgs,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    Versions(commands::versions::VersionsArgs),
    Check(commands::check::CheckArgs),
    Plan(commands::plan::PlanArgs),
    Build(Box<commands::build::BuildArgs>),
    Verify(commands::verify::VerifyArgs),
    Reproduce(Box<commands::reproduce::ReproduceArgs>),
    BootTest(Box<commands::boot_test::BootTestArgs>),
    ListRpms(commands::list_rpms::ListRpmsArgs),
    ExtractRpms(commands::extract_rpms::ExtractRpmsArgs),
    Publish(Box<commands::publish::PublishArgs>),
    Promote(commands::promote::PromoteArgs),
    Sign(commands::sign::SignArgs),
    Recall(commands::recall::RecallArgs),
    Attestations(commands::attestations::AttestationsArgs),
    Cleanup(Box<commands::cleanup::CleanupArgs>),
    Report(commands::report::ReportArgs),
    Workflow(commands::workflow::WorkflowArgs),
    Matrix(commands::matrix::MatrixArgs),
}

impl Cli {
    /// Which messages are logged, as a directive of `tracing_subscriber::EnvFilter`.
    pub const fn log_level(&self) -> &'static str {
        match self.verbose {
            0 => "warn",
            1 => "info,kmod_builder=debug,kmod_query=debug",
            _ => "debug",
        }
    }

    /// Runs the command and writes its record. `name` is the command's name on the command line.
    pub async fn run(self, name: &str) -> Result<CommandOutcome> {
        let Self { command, format, config, upstream, record, .. } = self;
        let running = RunningCommand::begin(record, name);
        let (config, config_file) = match config.read() {
            Ok(config) => config,
            Err(error) => {
                let result = Err(error.into());
                running.end(&result, Vec::new());
                return result;
            }
        };
        let output = StandardOutput::new(format);
        let context = CommandContext { upstream, config, config_file, output };
        let result = Box::pin(command.run(&context)).await;
        running.end(&result, context.output.into_results());
        result
    }
}

impl CliCommand {
    async fn run(self, context: &CommandContext) -> Result<CommandOutcome> {
        match self {
            Self::Versions(args) => commands::versions::run(args, context).await,
            Self::Check(args) => commands::check::run(args, context).await,
            Self::Plan(args) => commands::plan::run(args, context).await,
            Self::Build(args) => Box::pin(commands::build::run(*args, context)).await,
            Self::BootTest(args) => commands::boot_test::run(*args, context).await,
            Self::Verify(args) => commands::verify::run(args, context).await,
            Self::ListRpms(args) => commands::list_rpms::run(args, context).await,
            Self::ExtractRpms(args) => commands::extract_rpms::run(args, context).await,
            Self::Publish(args) => commands::publish::run(*args, context).await,
            Self::Promote(args) => commands::promote::run(args, context).await,
            Self::Sign(args) => commands::sign::run(args, context).await,
            Self::Recall(args) => commands::recall::run(args, context).await,
            Self::Reproduce(args) => commands::reproduce::run(*args, context).await,
            Self::Attestations(args) => commands::attestations::run(args, context).await,
            Self::Cleanup(args) => commands::cleanup::run(*args, context).await,
            Self::Report(args) => commands::report::run(args, context).await,
            Self::Workflow(args) => commands::workflow::run(args, context).await,
            Self::Matrix(args) => commands::matrix::run(args, context).await,
        }
    }
}
