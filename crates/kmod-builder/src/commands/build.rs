use std::path::Path;
use std::time::Instant;

use clap::Args;
use jiff::Timestamp;
use kmod_compat::{KernelRelease, Verdict, ZfsVersion};
use kmod_query::Upstream;
use miette::{IntoDiagnostic as _, Result};

use super::args::image_build::ImageBuildArgs;
use super::args::inputs::InputsSource;
use super::args::source::SourceArgs;
use super::args::upstream::{self, UpstreamArgs};
use super::publish::{self, PublishOptions};
use super::view::{BuildReport, BuildResult, NamedImage};
use super::{CommandContext, CommandOutcome, verify};
use crate::io::evidence::statement_publisher::StatementPublisher;
use crate::io::failure;
use crate::io::image_build::{self, ImageBuildOptions};
use crate::io::layout::Layout;
use crate::io::podman::Reuse;
use crate::io::progress::{self, ProgressOutput, ProgressSection};
use crate::io::registry::Registry;
use crate::io::{inputs, resolve};
use crate::model::builder_policy::InputsOrigin;
use crate::model::ci_report::FindingKind;
use crate::model::config::PublisherConfig;
use crate::model::evidence::{EvidenceKind, lifecycle};
use crate::model::image::{DigestRef, ImageLocation, ImageRef, TagOrDigest};
use crate::model::inputs::{BuildInputs, PartialInputs};
use crate::model::plan::NotBuilt;
use crate::model::reconcile::FailedAttempt;
use crate::model::verify::{CheckResult, CheckStatus, VerificationReport};
use crate::model::{Compression, Target};
use crate::output::StandardOutput;

/// Build the RPMs for one kernel, verify them and keep the image
///
/// The image appears under its tag only after it was verified. An unsupported target is not built, and the reason is
/// shown; that is no failure.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  zfs-kmods build\n  zfs-kmods build --stream testing --to oci:/var/lib/zfs-kmods\n  zfs-kmods build --zfs 2.3.9 --kernel 6.17.8-300.fc43.x86_64 --discard\n  zfs-kmods build --inputs images/zfs-2.4.4_kernel-6.17.8-300.fc43.x86_64.inputs.json\n  zfs-kmods build --inputs docker://ghcr.io/OWNER/zfs-kmods@sha256:DIGEST"
)]
pub struct BuildArgs {
    /// Build from exactly these inputs and ask nothing upstream: a file that an earlier build wrote,
    /// an image, which carries its own, or `-` for standard input
    #[arg(long, alias = "inputs-json", value_name = "FILE|IMAGE|-", conflicts_with_all = ["zfs", "kernel", "stream", "source_image", "arch"])]
    inputs: Option<InputsSource>,

    /// OpenZFS release [default: the newest of the line that is followed]
    #[arg(long, value_name = "VERSION")]
    zfs: Option<ZfsVersion>,

    /// Kernel, as `uname -r` prints it [default: that of --stream or --source-image]
    #[arg(long, value_name = "RELEASE", conflicts_with_all = ["stream", "source_image", "arch"])]
    kernel: Option<KernelRelease>,

    #[command(flatten)]
    source: SourceArgs,

    /// Keep the image in this directory (OCI image layout)
    #[arg(long, value_name = "oci:DIR", default_value = "oci:./images")]
    to: ImageLocation,

    /// Build and verify, keep nothing
    #[arg(long, alias = "test", conflicts_with_all = ["to", "publish"])]
    discard: bool,

    /// Publish the image in this repository, too, as `publish` does
    #[arg(long, value_name = "docker://HOST/NAME")]
    publish: Option<ImageLocation>,

    #[command(flatten)]
    options: PublishOptions,

    /// Build although the image exists already
    #[arg(long)]
    force: bool,

    /// Compression of the image's layers
    #[arg(long, value_enum, default_value_t, conflicts_with = "inputs")]
    compression: Compression,

    #[command(flatten)]
    build: ImageBuildArgs,
}

impl BuildArgs {
    /// That may have a package which upstream deleted.
    async fn repository(&self) -> Result<Option<Registry>> {
        let inputs = match &self.inputs {
            Some(InputsSource::Image(name)) => Some(&name.store),
            _ => None,
        };
        image_build::repository(self.publish.as_ref().or(inputs)).await
    }
}

pub async fn run(args: BuildArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let CommandContext { upstream, config, output, .. } = context;
    let ImageLocation::Layout(directory) = &args.to else {
        return Err(miette::miette!(
            help = "build into `oci:DIR` first",
            "`build` keeps images in a directory, and {} is a registry",
            args.to
        ));
    };
    if args.publish.is_some() {
        // Fail before the build.
        args.options.check_signer().await?;
        args.options.check_channel(config)?;
    }
    let origin = match &args.inputs {
        Some(source) => source.origin(args.build.trust_inputs)?,
        None => InputsOrigin::Local,
    };
    let inputs = match resolve_inputs(&args, context).await? {
        Ok(inputs) => inputs,
        Err(NotBuilt { kind, reason, verdict }) => {
            output.show(&BuildReport::new(BuildResult::NotBuilt { kind, reason, verdict }))?;
            return Ok(CommandOutcome::Done);
        }
    };
    let mut policy = upstream.inputs_policy(config)?;
    // The provenance of inputs without a digest of the package could not state it.
    policy.packages.allow_unsigned &= inputs.kernel_devel.digest.is_some();
    let options = args.build.options(Reuse::Layers, upstream, policy, origin)?;
    options.check(&inputs)?;
    let downloads = upstream.cache()?.join("downloads");
    let kept = if args.discard { None } else { Some(directory.as_path()) };
    if let Some(directory) = kept.filter(|_| !args.force)
        && let Some(result) = up_to_date(&inputs, directory).await?
    {
        return Box::pin(publish_and_show(&args, inputs.target(), directory, &downloads, result, output))
            .await;
    }
    let options = ImageBuildOptions { repository: args.repository().await?, ..options };
    let built = build(&inputs, kept, &options).await;
    if let Some(reason) = failed_attempt(&built) {
        record_attempt(&args, &inputs, reason).await;
    }
    match built? {
        Ok(result) => {
            Box::pin(publish_and_show(&args, inputs.target(), directory, &downloads, result, output)).await
        }
        Err(report) => {
            output.show(&*report)?;
            progress::print_notice("the image broke the RPM contract and was not kept");
            Ok(CommandOutcome::Refused)
        }
    }
}

/// Why the inputs do not give an image. `None` if they do, or if it could not be found out here.
fn failed_attempt(built: &Result<Result<BuildResult, Box<VerificationReport>>>) -> Option<String> {
    match built {
        Ok(Ok(_)) => None,
        Ok(Err(report)) => {
            let failed = report.checks().iter().find(|check| *check.outcome() != CheckStatus::Passed);
            failed.map(|check| format!("the RPM contract is broken: {}", check.check))
        }
        Err(error) => {
            let failure = failure::failure(error);
            let first_line = failure.message.lines().next().unwrap_or_default().to_owned();
            (failure.kind == FindingKind::Build).then_some(first_line)
        }
    }
}

/// So that the same build is not repeated every day. The build's failure is reported even if this fails, too.
async fn record_attempt(args: &BuildArgs, inputs: &BuildInputs, reason: String) {
    let (Some(store), Some(signing)) = (&args.publish, args.options.signer_sources()) else { return };
    let recorded = async {
        let Some(statements) = StatementPublisher::find(store, &signing).await? else {
            return Ok(());
        };
        let now = Timestamp::now();
        let predicate = lifecycle::failed_builds(&[FailedAttempt { at: now, reason }]);
        let (identity, kind) = (inputs.partial_identity(), EvidenceKind::FailedBuilds);
        statements.attach_to_inputs(&identity, kind, &predicate, now).await.map(drop)
    };
    let recorded: Result<()> = recorded.await;
    if let Err(error) = recorded {
        progress::print_notice(&format!("the failed build could not be recorded in {store}: {error}"));
    }
}

fn name_in(directory: &Path, target: &Target) -> ImageRef {
    ImageRef {
        store: ImageLocation::Layout(directory.to_owned()),
        tag_or_digest: Some(TagOrDigest::Tag(target.tag())),
    }
}

/// Shows both results even if publishing fails.
async fn publish_and_show(
    args: &BuildArgs,
    target: Target,
    directory: &Path,
    downloads: &Path,
    result: BuildResult,
    output: &StandardOutput,
) -> Result<CommandOutcome> {
    let mut report = BuildReport::new(result);
    let mut failure = None;
    if let Some(to) = &args.publish {
        match publish::publish(&name_in(directory, &target), None, to, downloads, &args.options).await {
            Ok(Ok(published)) => report.published = Some(published),
            Ok(Err(broken)) => {
                output.show(&*broken)?;
                return Ok(CommandOutcome::Refused);
            }
            Err(error) => failure = Some(error),
        }
    }
    output.show(&report)?;
    failure.map_or(Ok(CommandOutcome::Done), Err)
}

/// The image in the directory, if its label names the same inputs and its content passes verification.
async fn up_to_date(inputs: &BuildInputs, directory: &Path) -> Result<Option<BuildResult>> {
    let Some(digest) = inputs::image_of(directory, inputs)? else { return Ok(None) };
    let (target, name) = (inputs.target(), name_in(directory, &inputs.target()));
    let pinned = DigestRef { store: name.store.clone(), digest: digest.clone() };
    match verify::contract(&pinned, Some(&target)).await?.verified() {
        Ok(_) => {
            let image = NamedImage { reference: Some(name.to_string()), digest };
            Ok(Some(BuildResult::UpToDate { target, image }))
        }
        Err(report) => {
            let failed = |check: &&CheckResult| *check.outcome() != CheckStatus::Passed;
            let failed = report.checks().iter().filter(failed).count();
            progress::print_notice(&format!(
                "{name} exists, but fails {failed} of its checks: building it again"
            ));
            Ok(None)
        }
    }
}

/// The inner error states why nothing is built.
async fn resolve_inputs(args: &BuildArgs, context: &CommandContext) -> Result<Result<BuildInputs, NotBuilt>> {
    if let Some(source) = &args.inputs {
        return Ok(Ok(source.read().await?));
    }
    let CommandContext { upstream: addresses, config, .. } = context;
    let upstream = addresses.connect()?;
    let result = plan_one(args, config, &upstream, addresses).await;
    upstream::report_usage(&upstream);
    result
}

async fn plan_one(
    args: &BuildArgs,
    config: &PublisherConfig,
    upstream: &Upstream,
    addresses: &UpstreamArgs,
) -> Result<Result<BuildInputs, NotBuilt>> {
    let (keys, packages, cache) =
        (addresses.openzfs_keys(config)?, addresses.kernel_packages()?, addresses.cache()?);
    let mut matrix = config.matrix()?;
    let source = async {
        if let Some(kernel) = &args.kernel {
            return Ok((kernel.clone(), None, None));
        }
        let source = args.source.resolve(upstream, config).await?;
        Ok((source.kernel, source.fedora, Some(source.image)))
    };
    let (source, zfs) =
        futures_util::future::join(source, resolve::openzfs(upstream, &matrix, args.zfs)).await;
    let ((kernel, fedora, image), zfs) = (source.map_err(|error: resolve::ResolveError| error)?, zfs?);
    let declared = resolve::declare(upstream, &keys, &mut matrix, &zfs, &cache).await?;
    match matrix.verdict(zfs.version, &kernel) {
        Verdict::Incompatible(reason) => Ok(Err((&reason).into())),
        Verdict::Compatible => {
            let known = PartialInputs::new(&matrix, &zfs, &kernel, fedora, args.compression, image)?;
            let known = PartialInputs { declared, ..known };
            Ok(Ok(resolve::inputs(upstream, known, &packages, &cache).await?))
        }
    }
}

/// Tags the image only after verification. The inner error is the report of an image that violates the contract.
async fn build(
    inputs: &BuildInputs,
    directory: Option<&Path>,
    options: &ImageBuildOptions,
) -> Result<Result<BuildResult, Box<VerificationReport>>> {
    let started = Instant::now();
    let image = image_build::build(inputs, options).await?;

    let section = ProgressSection::begin(ProgressOutput::detect(), "Verifying the image");
    let verified = match verify::contract(&image.built.pinned(), Some(&inputs.target())).await?.verified() {
        Ok(verified) => verified,
        Err(report) => return Ok(Err(report)),
    };
    drop(section);

    let inputs_file = directory.map(|directory| inputs::file(directory, verified.target()));
    if let (Some(directory), Some(file)) = (directory, &inputs_file) {
        inputs::write(file, inputs).into_diagnostic()?;
        let tag = verified.target().tag();
        Layout::create(directory)?.adopt(&image.scratch, image.built.manifest(), Some(&tag))?;
    }
    Ok(Ok(BuildResult::Built {
        target: inputs.target(),
        image: NamedImage {
            reference: directory.map(|directory| name_in(directory, verified.target()).to_string()),
            digest: image.built.digest().clone(),
        },
        inputs: inputs_file,
        inputs_digest: inputs.digest(),
        duration: started.elapsed(),
    }))
}
