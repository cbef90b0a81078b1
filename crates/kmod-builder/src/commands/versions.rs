use clap::Args;
use futures_util::future::join;
use miette::Result;

use super::args::source::SourceArgs;
use super::args::upstream;
use super::view::{Versions, VersionsField};
use super::{CommandContext, CommandOutcome};
use crate::io::resolve;

/// Show the kernel of a stream or image, and the newest OpenZFS of the line that is followed
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  zfs-kmods versions\n  zfs-kmods versions --source-image quay.io/fedora/fedora-kinoite:43\n  kernel=$(zfs-kmods versions --field kernel)"
)]
pub struct VersionsArgs {
    #[command(flatten)]
    source: SourceArgs,

    /// Print this value only, for use in a shell
    #[arg(long, value_enum)]
    field: Option<VersionsField>,
}

pub async fn run(args: VersionsArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let CommandContext { upstream, config, output, .. } = context;
    let upstream = upstream.connect()?;
    let matrix = config.matrix()?;
    // Concurrent, but a query for the kernel alone does not wait for GitHub.
    let (source, zfs) = match args.field {
        Some(VersionsField::Zfs) => {
            let zfs = resolve::openzfs(&upstream, &matrix, None).await?;
            output.text(&format!("{}\n", zfs.version))?;
            return Ok(CommandOutcome::Done);
        }
        _ => join(args.source.resolve(&upstream, config), resolve::openzfs(&upstream, &matrix, None)).await,
    };
    upstream::report_usage(&upstream);
    let source = source?;
    resolve::report_skipped(&source.source, &source.skipped);
    let versions = Versions::new(source, zfs?.version);
    match args.field {
        None => output.show(&versions)?,
        Some(field) => {
            let help = "leave --field out to see what is known";
            let unknown =
                || miette::miette!(help = help, "{} does not say which release it is", versions.source);
            let value = versions.field(field).ok_or_else(unknown)?;
            output.text(&format!("{value}\n"))?;
        }
    }
    Ok(CommandOutcome::Done)
}
