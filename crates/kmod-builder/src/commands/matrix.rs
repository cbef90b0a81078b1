use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kmod_compat::{DeclaredRelease, Disagreement, ReleaseKeys, ZfsVersion};
use kmod_query::{Upstream, ZfsRelease};
use miette::Result;

use super::args::upstream;
use super::view::{MatrixSync, UncheckedRelease};
use super::{CommandContext, CommandOutcome};
use crate::io::compat_files::RowsFile;
use crate::io::statements;
use crate::model::config::PublisherConfig;

/// Look after the compatibility matrix, compat/zfs.toml
#[derive(Debug, Args)]
pub struct MatrixArgs {
    #[command(subcommand)]
    command: MatrixCommand,
}

#[derive(Debug, Subcommand)]
enum MatrixCommand {
    Sync(SyncArgs),
}

/// Add the releases of OpenZFS that have no row yet
///
/// A row is added if META at the tag, META in the tarball, the digest of the tarball at GitHub and the checksum that a
/// release manager signed agree; what disagrees is shown, and nothing is added for that release. A new line of releases
/// is shown only: which line is followed is decided by an edit of the file.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 done, 3 if statements disagree or --check found a missing row, 1 failed.

Examples:
  zfs-kmods matrix sync
  zfs-kmods matrix sync --write compat/zfs.toml
  zfs-kmods matrix sync --write zfs-kmods.toml
  zfs-kmods matrix sync --check"
)]
struct SyncArgs {
    /// Add the rows to this file, a matrix or zfs-kmods.toml; everything else in it stays as it is [default: show the
    /// missing rows of the matrix that is built in, with those of the configuration]
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    write: Option<PathBuf>,

    /// Fail if a row is missing, for CI
    #[arg(long)]
    check: bool,
}

pub async fn run(args: MatrixArgs, context: &CommandContext) -> Result<CommandOutcome> {
    match args.command {
        MatrixCommand::Sync(args) => sync(args, context).await,
    }
}

async fn sync(args: SyncArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let CommandContext { upstream: addresses, config, output, .. } = context;
    let file = args.write.as_deref().map(|path| rows_file(path, context));
    let matrix = match &file {
        Some(file) => file.read_matrix()?,
        None => config.matrix()?,
    };
    let (keys, cache, upstream) = (addresses.openzfs_keys(config)?, addresses.cache()?, addresses.connect()?);
    let releases = upstream.openzfs.fetch_all().await?;
    let versions: Vec<ZfsVersion> = releases.iter().map(|release| release.version).collect();
    let missing = matrix.missing(&versions);
    let mut report = MatrixSync::new(missing.new_lines, args.write.clone());
    for release in releases.iter().rev().filter(|release| missing.versions.contains(&release.version)) {
        match decide(&upstream, &keys, release, &cache).await {
            Ok(Ok(declared)) => report.rows.push(declared),
            Ok(Err(disagreement)) => report.disagreements.push(disagreement),
            Err(unchecked) => report.unchecked.push(unchecked),
        }
    }
    upstream::report_usage(&upstream);
    if let Some(file) = file.filter(|_| !report.rows.is_empty()) {
        file.add_rows(&report.rows)?;
    }
    output.show(&report)?;
    if !report.unchecked.is_empty() {
        return Err(miette::miette!(
            help = "the other releases stand as shown; run it again when upstream answers",
            "some releases could not be checked"
        ));
    }
    let refused = !report.disagreements.is_empty() || (args.check && !report.rows.is_empty());
    Ok(if refused { CommandOutcome::Refused } else { CommandOutcome::Done })
}

/// A configuration is told by its usual name, or because it is in use.
fn rows_file(path: &Path, context: &CommandContext) -> RowsFile {
    let is_used = context.config_file.as_deref() == Some(path);
    if is_used || path.file_name().is_some_and(|name| name == PublisherConfig::FILE) {
        RowsFile::Configuration(path.to_owned())
    } else {
        RowsFile::Matrix(path.to_owned())
    }
}

async fn decide(
    upstream: &Upstream,
    keys: &ReleaseKeys,
    release: &ZfsRelease,
    cache: &Path,
) -> Result<Result<DeclaredRelease, Disagreement>, UncheckedRelease> {
    match statements::read(upstream, keys, release, cache).await {
        Ok(statements) => Ok(statements.decide()),
        Err(error) => {
            Err(UncheckedRelease { version: release.version, reason: kmod_query::error_chain(&error) })
        }
    }
}
