//! `plan`: which images should exist, and what is to be done about each.

use std::fmt::Write as _;

use clap::Args;
use futures_util::future::{join, join_all};
use kmod_compat::{Arch, ZfsVersion};
use kmod_query::Stream;
use miette::{IntoDiagnostic as _, Result};

use super::args::trust::TrustArgs;
use super::place::this_arch;
use super::upstream::{self, UpstreamArgs};
use super::{Outcome, gather};
use crate::io::progress;
use crate::io::published_images::PublishedImages;
use crate::model::image::ImageLocation;
use crate::model::inputs::BuildInputs;
use crate::model::plan::{Decision, Entry, Plan, Seen, UnresolvedSource, wanted};
use crate::output::{self, Format, Show};

/// Show which images should exist, and build, keep or hold each with its reason
///
/// The JSON holds the complete inputs of every build: give one to `build --inputs`. With `--image`, what is published is
/// compared first, and upstream is asked for packages and images only where something is to be built; evidence that was
/// read within a week is not read again, only listed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  zfs-kmods plan\n  zfs-kmods plan --streams stable,testing --arches x86_64,aarch64 --format json\n  zfs-kmods plan --image docker://ghcr.io/OWNER/zfs-kmods --identity-repo OWNER/zfs-kmods"
)]
pub struct PlanArgs {
    /// Streams of Fedora CoreOS, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "STREAMS", default_values_t = Stream::with_channel())]
    streams: Vec<Stream>,

    /// Architectures, separated by commas [default: this machine's]
    #[arg(long, value_delimiter = ',', value_name = "ARCHES")]
    arches: Vec<Arch>,

    /// OpenZFS release; `newest` of the line that is followed
    #[arg(long, value_name = "VERSION", default_value = "newest", value_parser = release)]
    zfs: Release,

    /// Plan to build exactly these inputs and nothing else: the JSON that `build` wrote; ask nothing upstream
    #[arg(long, value_name = "JSON", env = "ZFS_KMODS_LOCK", hide_env_values = true)]
    lock: Option<String>,

    /// Repository of published images: what is there, proven and made from the same inputs, is up to date
    #[arg(long, value_name = "docker://HOST/NAME")]
    image: Option<ImageLocation>,

    /// Build everything that is not held, whatever is published
    #[arg(long, env = "ZFS_KMODS_FORCE")]
    force: bool,

    #[command(flatten)]
    trust: TrustArgs,
}

/// Which release of OpenZFS is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    Newest,
    Exactly(ZfsVersion),
}

fn release(text: &str) -> Result<Release, <ZfsVersion as std::str::FromStr>::Err> {
    if text == "newest" { Ok(Release::Newest) } else { text.parse().map(Release::Exactly) }
}

/// Gather, decide, show.
pub async fn run(args: PlanArgs, upstream: &UpstreamArgs, format: Format) -> Result<Outcome> {
    // A workflow's input that was left empty is a variable that is empty.
    if let Some(lock) = args.lock.as_deref().filter(|lock| !lock.trim().is_empty()) {
        return locked(lock, format);
    }
    let (cache, upstream) = (upstream.cache(), upstream.connect()?);
    let matrix = gather::matrix(None)?;
    let arches = if args.arches.is_empty() { vec![this_arch()] } else { args.arches };
    let upstream_ref = &upstream;
    let streams = args.streams.iter().flat_map(|stream| {
        arches.iter().map(move |arch| async move {
            let place = format!("{stream} ({arch})");
            gather::stream(upstream_ref, *stream, *arch)
                .await
                .map_err(|error| UnresolvedSource { place, reason: gather::sentence(&error) })
        })
    });
    let version = match args.zfs {
        Release::Newest => None,
        Release::Exactly(version) => Some(version),
    };
    let (found, zfs) = join(join_all(streams), gather::openzfs(&upstream, &matrix, version)).await;
    let zfs = zfs?;
    let (mut seen, mut unknown) = (Vec::new(), Vec::new());
    for result in found {
        match result {
            Ok(found) => seen.push(Seen::from(found)),
            Err(blind) => unknown.push(blind),
        }
    }
    let published = match &args.image {
        Some(store) => {
            Some(PublishedImages::open(store, args.trust.policy_or_unverified().await?, &cache).await?)
        }
        None => None,
    };
    let wanted = wanted(zfs.version, seen);
    let plan = gather::plan(&upstream, &matrix, &zfs, wanted, unknown, published.as_ref(), args.force).await;
    upstream::report_usage(&upstream);
    if let Some(published) = &published {
        let usage = published.stats();
        let kib = usage.bytes.div_ceil(1024);
        progress::note(&format!("asked the registry: {} requests, {kib} KiB", usage.requests));
    }
    output::show(format, &plan).into_diagnostic()?;
    if plan.is_complete() {
        return Ok(Outcome::Done);
    }
    Err(miette::miette!(
        help = "the other targets stand as shown; run it again when upstream answers",
        "something could not be found out"
    ))
}

/// The plan of one target, whose inputs are given.
fn locked(lock: &str, format: Format) -> Result<Outcome> {
    let inputs = BuildInputs::parse(lock).map_err(|error| {
        miette::miette!(
            help = "`build` writes them to TAG.inputs.json",
            "these inputs cannot be built: {error}"
        )
    })?;
    let entry = Entry {
        target: inputs.target(),
        places: vec![Stream::Stable.to_string()],
        decision: Decision::Build { inputs: Box::new(inputs), reason: "asked for with --lock".to_owned() },
    };
    output::show(format, &Plan::new(vec![entry], Vec::new())).into_diagnostic()?;
    Ok(Outcome::Done)
}

impl Show for Plan {
    fn table(&self) -> String {
        let rows = self.targets().iter().map(|entry| {
            [
                entry.target.zfs.to_string(),
                entry.target.kernel.to_string(),
                entry.places.join(","),
                entry.decision.word().to_owned(),
            ]
        });
        let mut text = output::columns(["OPENZFS", "KERNEL", "SEEN IN", "DECISION"], rows);
        // Sentences are too long for a column.
        for entry in self.targets() {
            write!(text, "\n{}: {}\n  {}\n", entry.decision.word(), entry.target, entry.decision.reason())
                .expect("writing to a String cannot fail");
        }
        for blind in self.unknown() {
            write!(text, "\nunknown: {}\n  {}\n", blind.place, blind.reason.replace('\n', "\n  "))
                .expect("writing to a String cannot fail");
        }
        text
    }
}
