//! `build`: from inputs to a verified image in the store.

use std::path::{Path, PathBuf};

use clap::Args;
use kmod_compat::{Held, KernelRelease, Verdict, ZfsVersion};
use kmod_query::Upstream;
use miette::{Context as _, IntoDiagnostic as _, Result};
use serde::Serialize;

use super::place::PlaceArgs;
use super::publish::{self, HowArgs};
use super::upstream::{self, UpstreamArgs};
use super::{Outcome, gather, verify};
use crate::io::composing::{self, Built};
use crate::io::layout::Layout;
use crate::io::podman::{Build, Podman};
use crate::io::progress::{self, Section, Surface};
use crate::io::store::Images;
use crate::io::workspace::Workspace;
use crate::io::{download, rpm, tarball};
use crate::model::compose;
use crate::model::containerfile::{self, KMOD_STAGE, USERLAND_STAGE};
use crate::model::image::{ImageName, Pinned, Selector, Store};
use crate::model::inputs::BuildInputs;
use crate::model::oci::Manifest;
use crate::model::verification::{Outcome as Judgement, Report, Verified};
use crate::model::{Compression, Digest};
use crate::output::{self, Format, Show};

/// Build the RPMs for one kernel, verify them and keep the image
///
/// The image appears under its tag only after it was verified. A target that is held is not built, with the reason;
/// that is no failure.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(
    after_help = "Examples:\n  zfs-kmods build\n  zfs-kmods build --stream testing --to oci:/var/lib/zfs-kmods\n  zfs-kmods build --zfs 2.3.9 --kernel 6.17.8-300.fc43.x86_64 --test\n  zfs-kmods build --inputs images/zfs-2.4.4_kernel-6.17.8-300.fc43.x86_64.inputs.json"
)]
pub struct BuildArgs {
    /// Build from exactly these inputs and ask nothing upstream: a file that an earlier build wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["zfs", "kernel", "stream", "base", "arch"])]
    inputs: Option<PathBuf>,

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
    to: Store,

    /// Build and verify, keep nothing
    #[arg(long, conflicts_with_all = ["to", "publish"])]
    test: bool,

    /// Publish the image in this repository, too, as `publish` does
    #[arg(long, value_name = "docker://HOST/NAME")]
    publish: Option<Store>,

    #[command(flatten)]
    how: HowArgs,

    /// Build although the image is there already
    #[arg(long)]
    force: bool,

    /// Compression of the image's layers
    #[arg(long, value_enum, default_value_t, conflicts_with = "inputs")]
    compression: Compression,

    /// Leave podman's containers behind, to look into a failed build
    #[arg(long)]
    keep_containers: bool,

    /// Compile without the cache of compiled objects
    #[arg(long)]
    no_compiler_cache: bool,
}

/// What came of it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "decision")]
enum BuildReport {
    Held {
        held: Held,
    },
    UpToDate {
        image: String,
        digest: Digest,
    },
    Built {
        image: Option<String>,
        digest: Digest,
        inputs: Option<PathBuf>,
        inputs_digest: Digest,
        seconds: u64,
    },
}

impl Show for BuildReport {
    fn table(&self) -> String {
        match self {
            Self::Held { held } => format!("held: {held}\n"),
            Self::UpToDate { image, digest } => {
                format!(
                    "up to date: made from the same inputs, and verified again\nimage   {image}\ndigest  {digest}\n"
                )
            }
            Self::Built { image, digest, inputs, seconds, .. } => {
                let place = match (image, inputs) {
                    (Some(image), Some(inputs)) => format!("image   {image}\ninputs  {}\n", inputs.display()),
                    _ => "image   not kept (--test)\n".to_owned(),
                };
                format!("built and verified in {seconds} s\ndigest  {digest}\n{place}")
            }
        }
    }
}

/// Gather, decide, do, show.
pub async fn run(args: BuildArgs, upstream: &UpstreamArgs, format: Format) -> Result<Outcome> {
    let Store::Layout(directory) = &args.to else {
        return Err(miette::miette!(
            help = "build into `oci:DIR` first",
            "`build` keeps images in a directory, and {} is a registry",
            args.to
        ));
    };
    if args.publish.is_some() {
        // Whoever cannot sign is told now, and not after the build.
        args.how.signing_is_possible().await?;
    }
    let inputs = match decide(&args, upstream).await? {
        Ok(inputs) => inputs,
        Err(held) => {
            output::show(format, &BuildReport::Held { held }).into_diagnostic()?;
            return Ok(Outcome::Done);
        }
    };
    let kept = if args.test { None } else { Some(directory.as_path()) };
    if let Some(directory) = kept.filter(|_| !args.force)
        && let Some(report) = up_to_date(&inputs, directory).await?
    {
        output::show(format, &report).into_diagnostic()?;
        return published(&args, &inputs, directory, format).await;
    }
    match build(&inputs, kept, &args, &upstream.cache()).await? {
        Ok(report) => {
            output::show(format, &report).into_diagnostic()?;
            published(&args, &inputs, directory, format).await
        }
        Err(report) => {
            output::show(format, &*report).into_diagnostic()?;
            progress::note("the image broke the RPM contract and was not kept");
            Ok(Outcome::Refused)
        }
    }
}

/// Publishes what was built, if that was asked for.
async fn published(
    args: &BuildArgs,
    inputs: &BuildInputs,
    directory: &Path,
    format: Format,
) -> Result<Outcome> {
    let Some(to) = &args.publish else { return Ok(Outcome::Done) };
    let selector = Some(Selector::Tag(inputs.target().tag()));
    let from = ImageName { store: Store::Layout(directory.to_owned()), selector };
    publish::publish(&from, None, to, &args.how, format).await
}

/// Whether the store has the image already: made from the same inputs, by its label, and good, by what is in it.
async fn up_to_date(inputs: &BuildInputs, directory: &Path) -> Result<Option<BuildReport>> {
    let name = ImageName {
        store: Store::Layout(directory.to_owned()),
        selector: Some(Selector::Tag(inputs.target().tag())),
    };
    if !directory.join("oci-layout").exists() {
        return Ok(None);
    }
    let images = Images::open(&name.store).await?;
    let Some(stored) = images.manifest(&Selector::Tag(inputs.target().tag())).await? else { return Ok(None) };
    let manifest: Option<Manifest> = serde_json::from_slice(&stored.bytes).ok();
    let made_from = manifest.and_then(|manifest| manifest.annotations.get(compose::INPUTS).cloned());
    if made_from.as_deref() != Some(inputs.digest().as_str()) {
        return Ok(None);
    }
    let pinned = Pinned { store: name.store.clone(), digest: stored.digest.clone() };
    match verify::contract(&pinned, Some(&inputs.target())).await?.verified() {
        Ok(_) => Ok(Some(BuildReport::UpToDate { image: name.to_string(), digest: stored.digest })),
        Err(report) => {
            let failed =
                report.answers().iter().filter(|answer| *answer.outcome() != Judgement::Passed).count();
            progress::note(&format!(
                "{name} is there, but {failed} checks of it do not pass: building it again"
            ));
            Ok(None)
        }
    }
}

/// The inputs to build from, or why nothing is built.
async fn decide(args: &BuildArgs, upstream: &UpstreamArgs) -> Result<Result<BuildInputs, Held>> {
    if let Some(path) = &args.inputs {
        let text = std::fs::read_to_string(path)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot read the inputs in {}", path.display()))?;
        let inputs = BuildInputs::parse(&text).map_err(|error| {
            miette::miette!(
                help = "`plan --format json` and every build write such a file",
                "{}: {error}",
                path.display()
            )
        })?;
        return Ok(Ok(inputs));
    }
    let upstream = upstream.connect()?;
    let result = plan_one(args, &upstream).await;
    upstream::report_usage(&upstream);
    result
}

async fn plan_one(args: &BuildArgs, upstream: &Upstream) -> Result<Result<BuildInputs, Held>> {
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
        Verdict::Held(held) => Ok(Err(held)),
        Verdict::Compatible => {
            let fedora = found.as_ref().and_then(|found| found.fedora);
            let base = found.as_ref().map(|found| found.base.clone());
            let known = gather::known(&matrix, &zfs, kernel, fedora, args.compression, base)?;
            Ok(Ok(gather::pins(upstream, known).await?))
        }
    }
}

/// Fetches, renders, builds, composes, verifies; only then is the image given its tag. The inner error is the report
/// of an image that broke the contract.
async fn build(
    inputs: &BuildInputs,
    directory: Option<&Path>,
    args: &BuildArgs,
    cache: &Path,
) -> Result<Result<BuildReport, Box<Report>>> {
    let started = std::time::Instant::now();
    let surface = Surface::detect();
    let workspace = Workspace::new(cache).into_diagnostic()?;

    let section = Section::begin(surface, format!("Preparing {}", inputs.target()));
    prepare(inputs, &workspace, cache, &section).await?;
    drop(section);

    compile(inputs, &workspace, args, cache, surface).await?;

    let section = Section::begin(surface, "Composing and verifying the image");
    let scratch = Layout::create(&workspace.store())?;
    let (userland, kmod) = (workspace.userland(), workspace.kmod());
    let built = composing::compose(inputs, &userland, &kmod, inputs.compression, &scratch).await?;
    let verified = match verify::contract(&built.pinned(), Some(&inputs.target())).await?.verified() {
        Ok(verified) => verified,
        Err(report) => return Ok(Err(report)),
    };
    drop(section);

    let kept = directory.map(|directory| keep(inputs, &built, &verified, &scratch, directory)).transpose()?;
    let (image, written) = kept.unzip();
    Ok(Ok(BuildReport::Built {
        image,
        digest: built.digest().clone(),
        inputs: written,
        inputs_digest: inputs.digest(),
        seconds: started.elapsed().as_secs(),
    }))
}

/// Runs podman for both outputs.
async fn compile(
    inputs: &BuildInputs,
    workspace: &Workspace,
    args: &BuildArgs,
    cache: &Path,
    surface: Surface,
) -> Result<()> {
    let mut section = Section::begin(surface, format!("Building {}", inputs.target()));
    let podman = Podman::probe(&inputs.builder_image, &section).await?;
    let compiler_cache = (!args.no_compiler_cache).then(|| cache.join("ccache"));
    if let Some(directory) = &compiler_cache {
        std::fs::create_dir_all(directory).into_diagnostic()?;
    }
    for (stage, destination) in [(USERLAND_STAGE, workspace.userland()), (KMOD_STAGE, workspace.kmod())] {
        let build = Build {
            containerfile: &workspace.containerfile(),
            context: &workspace.context(),
            stage,
            destination: &destination,
            log: &cache.join("logs").join(format!("{}.{stage}.log", inputs.target().tag())),
            compiler_cache: compiler_cache.as_deref(),
            keep_containers: args.keep_containers,
        };
        podman.build(&inputs.builder_image, build, &mut section).await?;
    }
    Ok(())
}

/// Puts a verified image under its tag, and its inputs beside it. Returns the names of both.
fn keep(
    inputs: &BuildInputs,
    built: &Built,
    verified: &Verified,
    scratch: &Layout,
    directory: &Path,
) -> Result<(String, PathBuf)> {
    let tag = verified.target().tag();
    let layout = Layout::create(directory)?;
    let written = directory.join(format!("{tag}.inputs.json"));
    write_whole(&written, &format!("{}\n", inputs.canonical_json())).into_diagnostic()?;
    layout.adopt(scratch, built.manifest(), Some(&tag))?;
    let name = ImageName { store: Store::Layout(directory.to_owned()), selector: Some(Selector::Tag(tag)) };
    Ok((name.to_string(), written))
}

/// Fills the build context and checks what is in it.
async fn prepare(inputs: &BuildInputs, workspace: &Workspace, cache: &Path, section: &Section) -> Result<()> {
    let downloads = cache.join("downloads");
    for directory in [&downloads, &cache.join("logs"), &workspace.context()] {
        std::fs::create_dir_all(directory).into_diagnostic()?;
    }
    let tarball = downloads.join(format!("{}.tar.gz", inputs.tarball.digest.hex()));
    let headers = workspace.context().join(containerfile::kernel_devel_file(inputs));
    futures_util::future::try_join(
        download::file(&inputs.tarball.url, &tarball, Some(&inputs.tarball.digest), section),
        download::file(&inputs.kernel_devel.url, &headers, None, section),
    )
    .await?;
    let meta = tarball::meta(&tarball, inputs.zfs)?;
    match gather::matrix(None)?.verdict_with_meta(&meta, &inputs.kernel)? {
        Verdict::Compatible => {}
        Verdict::Held(held) => return Err(miette::miette!("{held}")),
    }
    let package = rpm::read(&headers)?;
    if package.nevra() != inputs.kernel_devel.nevra {
        return Err(miette::miette!(
            help = "upstream has another file under this name: plan again",
            "{} holds the package {}, not {}",
            inputs.kernel_devel.url,
            package.nevra(),
            inputs.kernel_devel.nevra
        ));
    }
    std::fs::copy(&tarball, workspace.context().join(containerfile::tarball_file(inputs)))
        .into_diagnostic()?;
    std::fs::write(workspace.containerfile(), containerfile::containerfile(inputs)?).into_diagnostic()?;
    Ok(())
}

/// Writes a file that appears under its name only when it is whole.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
