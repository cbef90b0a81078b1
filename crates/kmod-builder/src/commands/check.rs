use clap::Args;
use futures_util::future::try_join;
use kmod_compat::{KernelRelease, Verdict, ZfsVersion};
use miette::Result;

use super::args::source::SourceArgs;
use super::args::upstream;
use super::view::CheckReport;
use super::{CommandContext, CommandOutcome};
use crate::io::resolve;
use crate::model::Target;

/// Say whether an OpenZFS release may be built for a kernel, and why not
///
/// What is not given is asked upstream. Exit status 3 means that it may not.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  zfs-kmods check\n  zfs-kmods check --kernel \"$(uname -r)\"\n  zfs-kmods check --zfs 2.2.9 --kernel 6.17.8-300.fc43.x86_64"
)]
pub struct CheckArgs {
    /// OpenZFS release [default: the newest of the line that is followed]
    #[arg(long, value_name = "VERSION")]
    zfs: Option<ZfsVersion>,

    /// Kernel, as `uname -r` prints it [default: that of --stream or --source-image]
    #[arg(long, value_name = "RELEASE", conflicts_with_all = ["stream", "source_image", "arch"])]
    kernel: Option<KernelRelease>,

    #[command(flatten)]
    source: SourceArgs,
}

pub async fn run(args: CheckArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let CommandContext { upstream, config, output, .. } = context;
    let (keys, cache, upstream) = (upstream.openzfs_keys(config)?, upstream.cache()?, upstream.connect()?);
    let mut matrix = config.matrix()?;
    let kernel = async {
        match args.kernel {
            Some(kernel) => Ok::<_, miette::Report>(kernel),
            None => Ok(args.source.resolve(&upstream, config).await?.kernel),
        }
    };
    let zfs = async {
        match args.zfs {
            Some(version) => Ok(version),
            None => Ok(resolve::openzfs(&upstream, &matrix, None).await?.version),
        }
    };
    let (kernel, zfs) = try_join(kernel, zfs).await?;
    if matrix.wants_declaration(zfs) {
        let release = resolve::openzfs(&upstream, &matrix, Some(zfs)).await?;
        resolve::declare(&upstream, &keys, &mut matrix, &release, &cache).await?;
    }
    let verdict = matrix.verdict(zfs, &kernel);
    if upstream.http.stats().requests > 0 {
        upstream::report_usage(&upstream);
    }
    let compatible = verdict == Verdict::Compatible;
    output.show(&CheckReport::new(Target { zfs, kernel }, verdict))?;
    Ok(if compatible { CommandOutcome::Done } else { CommandOutcome::Refused })
}
