//! The words of the command line.

use clap::{Parser, Subcommand};
use miette::Result;

use crate::commands::upstream::UpstreamArgs;
use crate::commands::{self, Outcome};
use crate::output::Format;

const EXIT_STATUS: &str = "Exit status:
  0  done, which includes \"nothing to do\" and \"held\"
  1  failed
  2  the command line is wrong
  3  a check said no

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
    verb: Verb,

    /// Form of the data on standard output
    #[arg(long, value_enum, default_value_t, global = true)]
    format: Format,

    /// Say more on standard error: -v what is done, -vv everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,

    #[command(flatten)]
    upstream: UpstreamArgs,
}

#[derive(Debug, Subcommand)]
enum Verb {
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
    Attestations(commands::attestations::AttestationsArgs),
    Cleanup(Box<commands::cleanup::CleanupArgs>),
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

    /// Does what the words say.
    pub async fn run(self) -> Result<Outcome> {
        let Self { verb, format, upstream, .. } = self;
        match verb {
            Verb::Versions(args) => commands::versions::run(args, &upstream, format).await,
            Verb::Check(args) => commands::check::run(args, &upstream, format).await,
            Verb::Plan(args) => commands::plan::run(args, &upstream, format).await,
            Verb::Build(args) => commands::build::run(*args, &upstream, format).await,
            Verb::BootTest(args) => commands::boot_test::run(*args, &upstream, format).await,
            Verb::Verify(args) => commands::verify::run(args, format).await,
            Verb::Reproduce(args) => commands::reproduce::run(*args, &upstream, format).await,
            Verb::ListRpms(args) => commands::list_rpms::run(args, format).await,
            Verb::ExtractRpms(args) => commands::extract_rpms::run(args, format).await,
            Verb::Publish(args) => commands::publish::run(*args, format).await,
            Verb::Promote(args) => commands::promote::run(args, format).await,
            Verb::Attestations(args) => commands::attestations::run(args, format).await,
            Verb::Cleanup(args) => commands::cleanup::run(*args, &upstream, format).await,
        }
    }
}
