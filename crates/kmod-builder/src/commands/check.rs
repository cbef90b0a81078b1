//! `check`: may this OpenZFS be built for this kernel?

use clap::Args;
use futures_util::future::try_join;
use kmod_compat::{KernelRelease, Verdict, ZfsVersion};
use miette::{IntoDiagnostic as _, Result};
use serde::Serialize;

use super::place::PlaceArgs;
use super::upstream::{self, UpstreamArgs};
use super::{Outcome, gather};
use crate::output::{self, Format, Show};

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

    /// Kernel, as `uname -r` prints it [default: that of --stream or --base]
    #[arg(long, value_name = "RELEASE", conflicts_with_all = ["stream", "base", "arch"])]
    kernel: Option<KernelRelease>,

    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Serialize)]
struct Checked {
    zfs: ZfsVersion,
    kernel: KernelRelease,
    compatible: bool,
    verdict: Verdict,
}

impl Show for Checked {
    fn table(&self) -> String {
        match &self.verdict {
            Verdict::Compatible => {
                format!("compatible: OpenZFS {} may be built for {}\n", self.zfs, self.kernel)
            }
            Verdict::Incompatible(cause) => format!("{}: {cause}\n", cause.kind()),
        }
    }
}

/// Gather, decide, show.
pub async fn run(args: CheckArgs, upstream: &UpstreamArgs, format: Format) -> Result<Outcome> {
    let upstream = upstream.connect()?;
    let matrix = gather::matrix(None)?;
    let kernel = async {
        match args.kernel {
            Some(kernel) => Ok::<_, miette::Report>(kernel),
            None => Ok(args.place.find(&upstream).await?.kernel),
        }
    };
    let zfs = async {
        match args.zfs {
            // A released version needs no question: the matrix has the answer, or says that it has none.
            Some(version) => Ok(version),
            None => Ok(gather::openzfs(&upstream, &matrix, None).await?.version),
        }
    };
    let (kernel, zfs) = try_join(kernel, zfs).await?;
    let verdict = gather::verdict(&upstream, &matrix, zfs, &kernel).await?;
    if upstream.http.stats().requests > 0 {
        upstream::report_usage(&upstream);
    }
    let compatible = verdict == Verdict::Compatible;
    output::show(format, &Checked { zfs, kernel, compatible, verdict }).into_diagnostic()?;
    Ok(if compatible { Outcome::Done } else { Outcome::Refused })
}
