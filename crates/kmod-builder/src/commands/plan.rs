use std::collections::BTreeSet;

use clap::Args;
use futures_util::future::{join, join_all};
use kmod_compat::{Arch, CompatMatrix, Verdict, ZfsVersion};
use kmod_query::{Stream, Upstream, ZfsRelease};
use miette::{IntoDiagnostic as _, Report, Result};

use super::args::inputs::InputsSource;
use super::args::source::this_arch;
use super::args::trust::TrustArgs;
use super::args::upstream;
use super::{CommandContext, CommandOutcome};
use crate::io::published_images::PublishedImages;
use crate::io::{environment, progress, resolve};
use crate::model::Compression;
use crate::model::image::ImageLocation;
use crate::model::inputs::{Declaration, PartialInputs};
use crate::model::plan::{
    self, BuildDecision, DesiredImage, ObservedKernel, Plan, PlannedTarget, UnresolvedSource,
};
use crate::output::StandardOutput;

/// Show which images should exist, and whether and why each is built
///
/// The JSON holds the complete inputs of every build: give one to `build --inputs`. With `--repository`, what is published
/// is compared first, and upstream is asked for packages and images only where something is to be built; evidence that was
/// read within a week is not read again, only listed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  zfs-kmods plan\n  zfs-kmods plan --streams stable,testing --arches x86_64,aarch64 --format json\n  zfs-kmods plan --repository docker://ghcr.io/OWNER/zfs-kmods --identity-repo OWNER/zfs-kmods"
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
    zfs: ZfsSelection,

    /// Plan to build exactly these inputs and nothing else, and ask nothing upstream: a file, an image, or `-` for
    /// standard input
    #[arg(
        long,
        alias = "lock",
        value_name = "FILE|IMAGE|-",
        env = "ZFS_KMODS_INPUTS",
        hide_env_values = true
    )]
    inputs: Option<String>,

    /// Repository of published images: an image in it with valid evidence and the same inputs is up to date
    #[arg(long, alias = "image", value_name = "docker://HOST/NAME")]
    repository: Option<ImageLocation>,

    /// Build every supported target, whatever is published
    #[arg(long, env = "ZFS_KMODS_FORCE")]
    force: bool,

    #[command(flatten)]
    trust: TrustArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ZfsSelection {
    Newest,
    Exactly(ZfsVersion),
}

fn release(text: &str) -> Result<ZfsSelection, <ZfsVersion as std::str::FromStr>::Err> {
    if text == "newest" { Ok(ZfsSelection::Newest) } else { text.parse().map(ZfsSelection::Exactly) }
}

impl PlanArgs {
    /// Workflows pass an unset input as an empty variable, and before version 2 under its former name.
    fn inputs(&self) -> Option<String> {
        let given = self.inputs.clone().filter(|inputs| !inputs.trim().is_empty());
        given.or_else(|| environment::variable("ZFS_KMODS_LOCK").filter(|inputs| !inputs.trim().is_empty()))
    }
}

pub async fn run(args: PlanArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let CommandContext { upstream, output } = context;
    if let Some(inputs) = args.inputs() {
        return plan_inputs(&inputs.parse().into_diagnostic()?, output).await;
    }
    let (cache, keys, upstream) = (upstream.cache(), upstream.openzfs_keys()?, upstream.connect()?);
    let mut matrix = CompatMatrix::embedded()?;
    let arches = if args.arches.is_empty() { vec![this_arch()] } else { args.arches.clone() };
    let version = match args.zfs {
        ZfsSelection::Newest => None,
        ZfsSelection::Exactly(version) => Some(version),
    };
    let (streams, zfs) =
        join(observe(&upstream, &args.streams, &arches), resolve::openzfs(&upstream, &matrix, version)).await;
    let ((observed, unresolved), zfs) = (streams, zfs?);
    let published = match &args.repository {
        Some(store) => {
            Some(PublishedImages::open(store, args.trust.policy_or_unverified().await?, &cache).await?)
        }
        None => None,
    };
    let declared = resolve::declare(&upstream, &keys, &mut matrix, &zfs, &cache).await;
    let planner = Planner {
        declared: declared.map_err(|error| sentence(&error.into())),
        upstream: &upstream,
        matrix: &matrix,
        zfs: &zfs,
        published: published.as_ref(),
        force: args.force,
    };
    let targets =
        join_all(plan::targets(zfs.version, observed).into_iter().map(|desired| planner.plan(desired)));
    let plan = Plan::new(targets.await, unresolved);
    upstream::report_usage(&upstream);
    if let Some(published) = &published {
        let usage = published.stats();
        let kib = usage.bytes.div_ceil(1024);
        progress::print_notice(&format!("asked the registry: {} requests, {kib} KiB", usage.requests));
    }
    output.show(&plan)?;
    if plan.is_complete() {
        return Ok(CommandOutcome::Done);
    }
    Err(miette::miette!(
        help = "the other targets stand as shown; run it again when upstream answers",
        "some sources or targets could not be resolved"
    ))
}

/// Queries all streams concurrently; a failed stream does not stop the others.
async fn observe(
    upstream: &Upstream,
    streams: &[Stream],
    arches: &[Arch],
) -> (Vec<ObservedKernel>, Vec<UnresolvedSource>) {
    let sources = streams.iter().flat_map(|stream| arches.iter().map(move |arch| (*stream, *arch)));
    let answers = sources.map(|(stream, arch)| async move {
        let answer = resolve::stream(upstream, stream, arch).await;
        answer.map_err(|error| UnresolvedSource {
            source: format!("{stream} ({arch})"),
            reason: sentence(&error.into()),
        })
    });
    let (mut observed, mut unresolved) = (Vec::new(), Vec::new());
    let mut reported = BTreeSet::new();
    for answer in join_all(answers).await {
        match answer {
            Ok(source) => {
                if reported.insert(source.source.clone()) {
                    resolve::report_skipped(&source.source, &source.skipped);
                }
                observed.push(ObservedKernel::from(source));
            }
            Err(source) => unresolved.push(source),
        }
    }
    (observed, unresolved)
}

struct Planner<'a> {
    upstream: &'a Upstream,
    matrix: &'a CompatMatrix,
    zfs: &'a ZfsRelease,
    published: Option<&'a PublishedImages>,
    force: bool,
    /// For a release without a row. The error says why nothing is known about it.
    declared: Result<Option<Declaration>, String>,
}

impl Planner<'_> {
    /// A failed lookup does not stop the other targets.
    async fn plan(&self, desired: DesiredImage) -> PlannedTarget {
        let decision = self.decide(&desired).await;
        let decision = decision.unwrap_or_else(|error| BuildDecision::Unknown { reason: sentence(&error) });
        let sources = desired.observed.into_iter().map(|kernel| kernel.source).collect();
        PlannedTarget { target: desired.target, sources, decision }
    }

    async fn decide(&self, desired: &DesiredImage) -> Result<BuildDecision> {
        let kernel = &desired.target.kernel;
        let declared = self.declared.clone().map_err(Report::msg)?;
        match self.matrix.verdict(self.zfs.version, kernel) {
            Verdict::Incompatible(reason) => Ok(BuildDecision::NotBuilt((&reason).into())),
            Verdict::Compatible => {
                let image = desired.observed.first().map(|kernel| kernel.image.clone());
                let compression = Compression::default();
                let known = PartialInputs::new(self.matrix, self.zfs, kernel, None, compression, image)?;
                let known = PartialInputs { declared, ..known };
                let existing = match self.published {
                    Some(published) => Some(published.existing(&desired.target).await?),
                    None => None,
                };
                // Most runs end here: packages and images are looked up only for a build.
                match plan::needed(&known, existing, self.force) {
                    Ok(digest) => Ok(BuildDecision::UpToDate(digest)),
                    Err(reason) => {
                        let inputs = Box::new(resolve::inputs(self.upstream, known).await?);
                        Ok(BuildDecision::Build { inputs, reason })
                    }
                }
            }
        }
    }
}

/// The error, its causes and its help text.
fn sentence(error: &Report) -> String {
    let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
    let help = error.help().map(|help| format!("\nhelp: {help}"));
    causes.join(": ") + &help.unwrap_or_default()
}

/// Plans the one target whose inputs are given.
async fn plan_inputs(source: &InputsSource, output: &StandardOutput) -> Result<CommandOutcome> {
    let inputs = source.read().await?;
    let (target, sources) = (inputs.target(), vec![Stream::Stable.to_string()]);
    let reason = "requested with --inputs".to_owned();
    let decision = BuildDecision::Build { inputs: Box::new(inputs), reason };
    let planned = PlannedTarget { target, sources, decision };
    output.show(&Plan::new(vec![planned], Vec::new()))?;
    Ok(CommandOutcome::Done)
}
