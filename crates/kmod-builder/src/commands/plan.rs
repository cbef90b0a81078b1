use clap::Args;
use jiff::Timestamp;
use kmod_compat::{Arch, CompatMatrix, ZfsLine, ZfsVersion};
use kmod_query::{QueryError, Stream};
use miette::{IntoDiagnostic as _, Result};

use super::args::inputs::InputsSource;
use super::args::source::this_arch;
use super::args::trust::TrustArgs;
use super::args::upstream::{self, UpstreamArgs};
use super::{CommandContext, CommandOutcome, UsageError};
use crate::io::published_images::PublishedImages;
use crate::io::reconcile::{self, Planner, ReleaseChoice};
use crate::io::{environment, progress, resolve};
use crate::model::config::PublisherConfig;
use crate::model::image::ImageLocation;
use crate::model::inputs::{InputsPolicy, InputsUse, inputs_are_acceptable};
use crate::model::plan::{BuildDecision, NotBuilt, Plan, PlannedTarget};
use crate::model::reconcile::{Source, assign_channels};
use crate::model::tags::Channel;

/// Show which images should exist, what is missing, and why
///
/// For each stream and line of OpenZFS, the newest usable release is chosen. With `--repository`, the remaining steps
/// follow from what is published: build, boot-test, promote, withdraw. A proven image is never built again. Upstream is asked
/// for packages and images only where something is to be built; evidence that was read within a week is not read again,
/// only listed. The JSON holds the complete inputs of every build: give one to `build --inputs`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  zfs-kmods plan\n  zfs-kmods plan --streams stable,testing --arches x86_64,aarch64 --format json\n  zfs-kmods plan --repository docker://ghcr.io/OWNER/zfs-kmods --identity-repo OWNER/zfs-kmods"
)]
pub struct PlanArgs {
    /// Streams of Fedora CoreOS, separated by commas [default: the sources of the configuration, else
    /// stable,testing,next]
    #[arg(long, value_delimiter = ',', value_name = "STREAMS", value_parser = given::<Stream>)]
    streams: Vec<Option<Stream>>,

    /// Architectures, separated by commas [default: those of the configuration, else this machine's]
    #[arg(long, value_delimiter = ',', value_name = "ARCHES", value_parser = given::<Arch>)]
    arches: Vec<Option<Arch>>,

    /// OpenZFS release; `newest` of the line that is followed
    #[arg(long, value_name = "VERSION", default_value = "newest", value_parser = release)]
    zfs: ZfsSelection,

    /// Lines of OpenZFS, separated by commas; the first one has the channels without a line [default: those of the
    /// configuration, else the one in the compatibility matrix]
    #[arg(long, value_delimiter = ',', value_name = "LINES", conflicts_with = "zfs")]
    lines: Vec<ZfsLine>,

    /// Plan to build exactly these inputs and nothing else: a file, an image, or `-` for standard input. Upstream is asked
    /// only about a release without a row. Inputs that the compatibility matrix and the builder images do not allow are
    /// planned for a branch only
    #[arg(
        long,
        alias = "lock",
        value_name = "FILE|IMAGE|-",
        env = "ZFS_KMODS_INPUTS",
        hide_env_values = true
    )]
    inputs: Option<String>,

    /// Repository of published images: an image in it with valid evidence and the same inputs is up to date
    /// [default: that of the configuration]
    #[arg(long, alias = "image", value_name = "docker://HOST/NAME")]
    repository: Option<ImageLocation>,

    /// Build every supported target, whatever is published
    #[arg(long, env = "ZFS_KMODS_FORCE")]
    force: bool,

    /// Plan from the inputs of a published image although its provenance is not verified
    #[arg(long, requires = "inputs")]
    trust_inputs: bool,

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

/// Workflows pass an unset variable as an empty value, which counts as none.
fn given<T: std::str::FromStr>(text: &str) -> Result<Option<T>, T::Err> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

impl PlanArgs {
    /// Workflows pass an unset input as an empty variable, and before version 2 under its former name.
    fn inputs(&self) -> Option<String> {
        let given = self.inputs.clone().filter(|inputs| !inputs.trim().is_empty());
        given.or_else(|| environment::variable("ZFS_KMODS_LOCK").filter(|inputs| !inputs.trim().is_empty()))
    }

    fn release_choice(&self, config: &PublisherConfig, matrix: &CompatMatrix) -> ReleaseChoice {
        match self.zfs {
            ZfsSelection::Exactly(version) => ReleaseChoice::Exactly(version),
            ZfsSelection::Newest if !self.lines.is_empty() => ReleaseChoice::Lines(self.lines.clone()),
            ZfsSelection::Newest if !config.lines.is_empty() => ReleaseChoice::Lines(config.lines.clone()),
            ZfsSelection::Newest => ReleaseChoice::Lines(vec![matrix.policy().line]),
        }
    }

    fn sources(&self, config: &PublisherConfig) -> Result<Vec<Source>, UsageError> {
        let streams: Vec<Stream> = self.streams.iter().flatten().copied().collect();
        if streams.is_empty() {
            return Ok(config.sources());
        }
        config.sources_of(&streams).map_err(|foreign| UsageError::of(&foreign))
    }

    fn arches(&self, config: &PublisherConfig) -> Vec<Arch> {
        let arches: Vec<Arch> = self.arches.iter().flatten().copied().collect();
        match (arches.is_empty(), config.arches.is_empty()) {
            (false, _) => arches,
            (true, false) => config.arches.clone(),
            (true, true) => vec![this_arch()],
        }
    }
}

pub async fn run(args: PlanArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let CommandContext { upstream, config, output, .. } = context;
    if let Some(inputs) = args.inputs() {
        return plan_inputs(&inputs.parse().into_diagnostic()?, args.trust_inputs, context).await;
    }
    let (policy, cache) = (upstream.inputs_policy(config)?, upstream.cache()?);
    let upstream = upstream.connect()?;
    let now = Timestamp::now();
    let (sources, arches) = (args.sources(config)?, args.arches(config));
    let channel = requested_channel(config)?;
    let published = match args.repository.as_ref().or(config.repository.as_ref()) {
        Some(store) => {
            let trust = args.trust.policy_or_unverified(config).await?;
            Some(PublishedImages::open(store, trust, &cache, now).await?)
        }
        None => None,
    };
    let (mut sources, unresolved) = reconcile::observe_sources(&upstream, &sources, &arches).await;
    let choice = args.release_choice(config, &policy.matrix);
    let only_own_tags = matches!(choice, ReleaseChoice::Exactly(_));
    assign_channels(&mut sources, channel.as_ref(), only_own_tags);
    let planner = Planner {
        upstream: &upstream,
        cache: &cache,
        published: published.as_ref(),
        channel: channel.unwrap_or(Channel::Stream(Stream::Stable)),
        now,
        force: args.force,
    };
    let plan = planner.plan(&sources, &choice, policy, unresolved).await?;
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

fn requested_channel(config: &PublisherConfig) -> Result<Option<Channel>> {
    let channel = environment::promotion_channel().map(|channel| channel.parse::<Channel>());
    let channel = channel.transpose().into_diagnostic()?;
    if let Some(channel) = &channel {
        config.check_channel(channel).map_err(|unknown| UsageError::of(&unknown))?;
    }
    Ok(channel)
}

/// Plans the one target whose inputs are given. Inputs that are not acceptable are built on a branch only.
async fn plan_inputs(
    source: &InputsSource,
    trust_inputs: bool,
    context: &CommandContext,
) -> Result<CommandOutcome> {
    let CommandContext { upstream, config, output, .. } = context;
    source.origin(trust_inputs)?;
    let inputs = source.read().await?;
    let mut policy = upstream.inputs_policy(config)?;
    if inputs.declared.is_some() && policy.matrix.wants_declaration(inputs.zfs) {
        declare(inputs.zfs, &mut policy, upstream).await?;
    }
    let is_of_branch = requested_channel(config)?.is_some_and(|channel| channel.is_of_branch());
    let (target, reason) = (inputs.target(), "requested with --inputs".to_owned());
    let acceptable = inputs_are_acceptable(&inputs, &policy, InputsUse::Lock);
    let inputs = Box::new(inputs);
    let decision = match acceptable {
        Ok(()) => BuildDecision::Build { inputs, reason },
        Err(unacceptable) if is_of_branch => {
            BuildDecision::Build { inputs, reason: format!("{reason}, for this branch only: {unacceptable}") }
        }
        Err(unacceptable) => BuildDecision::NotBuilt(NotBuilt::unacceptable(&unacceptable)),
    };
    // An older target must not move a channel.
    let planned = PlannedTarget { target, sources: Vec::new(), channels: Some(Vec::new()), decision };
    output.show(&Plan::new(vec![planned], Vec::new(), Vec::new()))?;
    Ok(CommandOutcome::Done)
}

/// What inputs say about a release without a row is believed only if upstream still says it.
async fn declare(zfs: ZfsVersion, policy: &mut InputsPolicy, addresses: &UpstreamArgs) -> Result<()> {
    let (upstream, cache) = (addresses.connect()?, addresses.cache()?);
    let release = match upstream.openzfs.fetch_version(zfs).await {
        Err(QueryError::NotFound { .. } | QueryError::NoRelease { .. }) => return Ok(()),
        release => release?,
    };
    let InputsPolicy { release_keys, matrix, .. } = policy;
    resolve::declare(&upstream, release_keys, matrix, &release, &cache).await?;
    Ok(())
}
