//! `build`: from inputs to a verified image in the store.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use kmod_compat::{Incompatibility, KernelRelease, Verdict, ZfsVersion};
use kmod_query::Upstream;
use miette::{IntoDiagnostic as _, Result};
use serde::Serialize;

use super::building::{self, BuildingArgs, Composed};
use super::place::PlaceArgs;
use super::publish::{self, PublishOptions};
use super::upstream::{self, UpstreamArgs};
use super::view::publish::PublishReport;
use super::{Outcome, gather, verify};
use crate::io::compose::ComposedImage;
use crate::io::inputs;
use crate::io::layout::Layout;
use crate::io::podman::Reuse;
use crate::io::progress::{self, ProgressOutput, ProgressSection};
use crate::io::store::ImageStore;
use crate::model::compose;
use crate::model::image::{DigestRef, ImageLocation, ImageRef, ParseImageRefError, TagOrDigest};
use crate::model::inputs::BuildInputs;
use crate::model::oci::Manifest;
use crate::model::verify::{CheckStatus, VerificationReport, VerifiedImage};
use crate::model::{Compression, Digest};
use crate::output::{self, Format, Show};

/// Build the RPMs for one kernel, verify them and keep the image
///
/// The image appears under its tag only after it was verified. A target that is held is not built, with the reason;
/// that is no failure.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  zfs-kmods build\n  zfs-kmods build --stream testing --to oci:/var/lib/zfs-kmods\n  zfs-kmods build --zfs 2.3.9 --kernel 6.17.8-300.fc43.x86_64 --test\n  zfs-kmods build --inputs images/zfs-2.4.4_kernel-6.17.8-300.fc43.x86_64.inputs.json\n  zfs-kmods build --inputs docker://ghcr.io/OWNER/zfs-kmods@sha256:DIGEST"
)]
pub struct BuildArgs {
    /// Build from exactly these inputs and ask nothing upstream: a file that an earlier build wrote
    /// or an image, which carries its own
    #[arg(long, value_name = "FILE|IMAGE", conflicts_with_all = ["zfs", "kernel", "stream", "base", "arch"])]
    inputs: Option<InputsSource>,

    /// Build from exactly these inputs: the JSON itself, as the jobs of a workflow get it from `plan`
    #[arg(long, value_name = "JSON", conflicts_with_all = ["inputs", "zfs", "kernel", "stream", "base", "arch"])]
    inputs_json: Option<String>,

    /// OpenZFS release [default: the newest of the line that is followed]
    #[arg(long, value_name = "VERSION")]
    zfs: Option<ZfsVersion>,

    /// Kernel, as `uname -r` prints it [default: that of --stream or --base]
    #[arg(long, value_name = "RELEASE", conflicts_with_all = ["stream", "base", "arch"])]
    kernel: Option<KernelRelease>,

    #[command(flatten)]
    place: PlaceArgs,

    /// Keep the image in this directory (OCI image layout)
    #[arg(long, value_name = "oci:DIR", default_value = "oci:./images")]
    to: ImageLocation,

    /// Build and verify, keep nothing
    #[arg(long, conflicts_with_all = ["to", "publish"])]
    test: bool,

    /// Publish the image in this repository, too, as `publish` does
    #[arg(long, value_name = "docker://HOST/NAME")]
    publish: Option<ImageLocation>,

    #[command(flatten)]
    how: PublishOptions,

    /// Build although the image is there already
    #[arg(long)]
    force: bool,

    /// Compression of the image's layers
    #[arg(long, value_enum, default_value_t, conflicts_with = "inputs")]
    compression: Compression,

    #[command(flatten)]
    building: BuildingArgs,
}

/// Where inputs are read from.
#[derive(Clone, Debug)]
enum InputsSource {
    File(PathBuf),
    Image(ImageRef),
}

impl FromStr for InputsSource {
    type Err = ParseImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_image = ["oci:", "docker://"].iter().any(|transport| text.starts_with(transport));
        if is_image { Ok(Self::Image(text.parse()?)) } else { Ok(Self::File(text.into())) }
    }
}

/// What came of it.
#[derive(Serialize)]
struct BuildReport {
    #[serde(flatten)]
    decision: Decision,
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<PublishReport>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "decision")]
enum Decision {
    Held {
        held: Incompatibility,
    },
    UpToDate {
        image: String,
        digest: Digest,
    },
    ComposedImage {
        image: Option<String>,
        digest: Digest,
        inputs: Option<PathBuf>,
        inputs_digest: Digest,
        seconds: u64,
    },
}

impl Show for BuildReport {
    fn table(&self) -> String {
        let built = match &self.decision {
            Decision::Held { held } => format!("{}: {held}\n", held.kind()),
            Decision::UpToDate { image, digest } => {
                format!(
                    "up to date: made from the same inputs, and verified again\nimage   {image}\ndigest  {digest}\n"
                )
            }
            Decision::ComposedImage { image, digest, inputs, seconds, .. } => {
                let place = match (image, inputs) {
                    (Some(image), Some(inputs)) => format!("image   {image}\ninputs  {}\n", inputs.display()),
                    _ => "image   not kept (--test)\n".to_owned(),
                };
                format!("built and verified in {seconds} s\ndigest  {digest}\n{place}")
            }
        };
        let published = self.published.as_ref().map(|report| format!("\n{}", report.table()));
        built + &published.unwrap_or_default()
    }
}

/// Gather, decide, do, show.
pub async fn run(args: BuildArgs, upstream: &UpstreamArgs, format: Format) -> Result<Outcome> {
    let ImageLocation::Layout(directory) = &args.to else {
        return Err(miette::miette!(
            help = "build into `oci:DIR` first",
            "`build` keeps images in a directory, and {} is a registry",
            args.to
        ));
    };
    if args.publish.is_some() {
        // Whoever cannot sign is told now, and not after the build.
        args.how.check_signer().await?;
    }
    let inputs = match decide(&args, upstream).await? {
        Ok(inputs) => inputs,
        Err(held) => {
            let report = BuildReport { decision: Decision::Held { held }, published: None };
            output::show(format, &report).into_diagnostic()?;
            return Ok(Outcome::Done);
        }
    };
    let kept = if args.test { None } else { Some(directory.as_path()) };
    if let Some(directory) = kept.filter(|_| !args.force)
        && let Some(decision) = up_to_date(&inputs, directory).await?
    {
        return publish_and_show(&args, &inputs, directory, decision, format).await;
    }
    match build(&inputs, kept, &args, &upstream.cache()).await? {
        Ok(decision) => publish_and_show(&args, &inputs, directory, decision, format).await,
        Err(report) => {
            output::show(format, &*report).into_diagnostic()?;
            progress::note("the image broke the RPM contract and was not kept");
            Ok(Outcome::Refused)
        }
    }
}

/// Publishes what was built, if that was asked for; shows both, also when publishing fails.
async fn publish_and_show(
    args: &BuildArgs,
    inputs: &BuildInputs,
    directory: &Path,
    decision: Decision,
    format: Format,
) -> Result<Outcome> {
    let mut report = BuildReport { decision, published: None };
    let mut failure = None;
    if let Some(to) = &args.publish {
        let tag_or_digest = Some(TagOrDigest::Tag(inputs.target().tag()));
        let from = ImageRef { store: ImageLocation::Layout(directory.to_owned()), tag_or_digest };
        match publish::publish(&from, None, to, &args.how).await {
            Ok(Ok(published)) => report.published = Some(published),
            Ok(Err(broken)) => {
                output::show(format, &*broken).into_diagnostic()?;
                return Ok(Outcome::Refused);
            }
            Err(error) => failure = Some(error),
        }
    }
    output::show(format, &report).into_diagnostic()?;
    failure.map_or(Ok(Outcome::Done), Err)
}

/// Whether the store has the image already: made from the same inputs, by its label, and good, by what is in it.
async fn up_to_date(inputs: &BuildInputs, directory: &Path) -> Result<Option<Decision>> {
    let name = ImageRef {
        store: ImageLocation::Layout(directory.to_owned()),
        tag_or_digest: Some(TagOrDigest::Tag(inputs.target().tag())),
    };
    if !directory.join("oci-layout").exists() {
        return Ok(None);
    }
    let images = ImageStore::open(&name.store).await?;
    let Some(stored) = images.manifest(&TagOrDigest::Tag(inputs.target().tag())).await? else {
        return Ok(None);
    };
    let manifest: Option<Manifest> = serde_json::from_slice(&stored.bytes).ok();
    let made_from = manifest.and_then(|manifest| manifest.annotations.get(compose::INPUTS).cloned());
    if made_from.as_deref() != Some(inputs.digest().as_str()) {
        return Ok(None);
    }
    let pinned = DigestRef { store: name.store.clone(), digest: stored.digest.clone() };
    match verify::contract(&pinned, Some(&inputs.target())).await?.verified() {
        Ok(_) => Ok(Some(Decision::UpToDate { image: name.to_string(), digest: stored.digest })),
        Err(report) => {
            let failed =
                report.checks().iter().filter(|answer| *answer.outcome() != CheckStatus::Passed).count();
            progress::note(&format!(
                "{name} is there, but {failed} checks of it do not pass: building it again"
            ));
            Ok(None)
        }
    }
}

/// The inputs to build from, or why nothing is built.
async fn decide(args: &BuildArgs, upstream: &UpstreamArgs) -> Result<Result<BuildInputs, Incompatibility>> {
    if let Some(text) = &args.inputs_json {
        let inputs = BuildInputs::parse(text).map_err(|error| {
            miette::miette!(help = "give one `inputs` of `plan --format json`", "--inputs-json: {error}")
        })?;
        return Ok(Ok(inputs));
    }
    match &args.inputs {
        Some(InputsSource::File(path)) => return Ok(Ok(inputs::read(path)?)),
        Some(InputsSource::Image(name)) => {
            let (_, inputs) = inputs::of(&ImageStore::open(&name.store).await?, name, None).await?;
            return Ok(Ok(inputs));
        }
        None => {}
    }
    let upstream = upstream.connect()?;
    let result = plan_one(args, &upstream).await;
    upstream::report_usage(&upstream);
    result
}

async fn plan_one(args: &BuildArgs, upstream: &Upstream) -> Result<Result<BuildInputs, Incompatibility>> {
    let matrix = gather::matrix(None)?;
    let found = async {
        match &args.kernel {
            Some(_) => Ok(None),
            None => args.place.find(upstream).await.map(Some),
        }
    };
    let (found, zfs) = futures_util::future::join(found, gather::openzfs(upstream, &matrix, args.zfs)).await;
    let (found, zfs) = (found?, zfs?);
    let kernel = match (&args.kernel, &found) {
        (Some(kernel), _) => kernel,
        (None, Some(found)) => &found.kernel,
        (None, None) => unreachable!("a kernel is named or found"),
    };
    match gather::verdict(upstream, &matrix, zfs.version, kernel).await? {
        Verdict::Incompatible(held) => Ok(Err(held)),
        Verdict::Compatible => {
            let fedora = found.as_ref().and_then(|found| found.fedora);
            let base = found.as_ref().map(|found| found.base.clone());
            let known = gather::known(&matrix, &zfs, kernel, fedora, args.compression, base)?;
            Ok(Ok(gather::pins(upstream, known).await?))
        }
    }
}

/// Builds and verifies; only then is the image given its tag. The inner error is the report of an image that broke the
/// contract.
async fn build(
    inputs: &BuildInputs,
    directory: Option<&Path>,
    args: &BuildArgs,
    cache: &Path,
) -> Result<Result<Decision, Box<VerificationReport>>> {
    let started = std::time::Instant::now();
    let Composed { scratch, built, .. } =
        &building::build(inputs, &args.building, Reuse::Layers, cache).await?;

    let section = ProgressSection::begin(ProgressOutput::detect(), "Verifying the image");
    let verified = match verify::contract(&built.pinned(), Some(&inputs.target())).await?.verified() {
        Ok(verified) => verified,
        Err(report) => return Ok(Err(report)),
    };
    drop(section);

    let kept = directory.map(|directory| keep(inputs, built, &verified, scratch, directory)).transpose()?;
    let (image, written) = kept.unzip();
    Ok(Ok(Decision::ComposedImage {
        image,
        digest: built.digest().clone(),
        inputs: written,
        inputs_digest: inputs.digest(),
        seconds: started.elapsed().as_secs(),
    }))
}

/// Puts a verified image under its tag, and its inputs beside it. Returns the names of both.
fn keep(
    inputs: &BuildInputs,
    built: &ComposedImage,
    verified: &VerifiedImage,
    scratch: &Layout,
    directory: &Path,
) -> Result<(String, PathBuf)> {
    let tag = verified.target().tag();
    let layout = Layout::create(directory)?;
    let written = inputs::file(directory, verified.target());
    write_whole(&written, &format!("{}\n", inputs.canonical_json())).into_diagnostic()?;
    layout.adopt(scratch, built.manifest(), Some(&tag))?;
    let name = ImageRef {
        store: ImageLocation::Layout(directory.to_owned()),
        tag_or_digest: Some(TagOrDigest::Tag(tag)),
    };
    Ok((name.to_string(), written))
}

/// Writes a file that appears under its name only when it is whole.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    // Inputs are no secret: they are attached to what is published.
    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
