//! From inputs to an image in a directory of its own: what `build` and `reproduce` have in common.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use clap::Args;
use kmod_compat::Verdict;
use miette::{Context as _, IntoDiagnostic as _, Result};

use super::gather;
use crate::io::compose::{self, ComposedImage};
use crate::io::layout::Layout;
use crate::io::podman::{Build, Podman, Reuse};
use crate::io::progress::{ProgressOutput, ProgressSection};
use crate::io::workspace::Workspace;
use crate::io::{download, rpm, tarball};
use crate::model::Digest;
use crate::model::containerfile::{self, KMOD_STAGE, USERLAND_STAGE};
use crate::model::inputs::BuildInputs;

/// How to build. None of it is an input: whatever is chosen here, the image is the same.
#[derive(Clone, Debug, Args)]
pub struct BuildingArgs {
    /// Leave podman's containers behind, to look into a failed build
    #[arg(long)]
    keep_containers: bool,

    /// Compile without the cache of compiled objects
    #[arg(long)]
    no_compiler_cache: bool,

    /// How many jobs compile at the same time [default: as many as there are processors]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroU16>,

    /// Build below this directory and leave nothing there [default: the cache directory]
    #[arg(long, value_name = "DIR")]
    work_directory: Option<PathBuf>,
}

/// An image that was built, in a layout that goes with this value.
pub struct Composed {
    /// Where it is.
    pub scratch: Layout,
    /// Which it is.
    pub built: ComposedImage,
    _workspace: Workspace,
}

/// Fetches what is pinned, renders, runs podman and composes the image.
pub async fn build(
    inputs: &BuildInputs,
    args: &BuildingArgs,
    reuse: Reuse,
    cache: &Path,
) -> Result<Composed> {
    containerfile::check_template(inputs)?;
    let surface = ProgressOutput::detect();
    let parent = args.work_directory.clone().unwrap_or_else(|| cache.join("builds"));
    let workspace = Workspace::new(&parent)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot build in {}", parent.display()))?;

    let section = ProgressSection::begin(surface, format!("Preparing {}", inputs.target()));
    prepare(inputs, &workspace, cache, &section).await?;
    drop(section);

    compile(inputs, &workspace, args, reuse, cache, surface).await?;

    let section = ProgressSection::begin(surface, "Composing the image");
    let scratch = Layout::create(&workspace.store())?;
    let (userland, kmod) = (workspace.userland(), workspace.kmod());
    let built = compose::compose(inputs, &userland, &kmod, inputs.compression, &scratch).await?;
    drop(section);
    Ok(Composed { scratch, built, _workspace: workspace })
}

/// Fills the build context and checks what is in it.
async fn prepare(
    inputs: &BuildInputs,
    workspace: &Workspace,
    cache: &Path,
    section: &ProgressSection,
) -> Result<()> {
    let downloads = cache.join("downloads");
    for directory in [&downloads, &cache.join("logs"), &workspace.context()] {
        std::fs::create_dir_all(directory).into_diagnostic()?;
    }
    let tarball = downloads.join(format!("{}.tar.gz", inputs.tarball.digest.hex()));
    let headers = workspace.context().join(containerfile::kernel_devel_file(inputs));
    let fetch = async |what: &str, url: &str, path: &Path, digest: Option<&Digest>| {
        let fetched = download::file(url, path, digest, section).await;
        fetched.wrap_err_with(|| format!("the build is pinned to {what}, which cannot be had"))
    };
    let (archive, package) = (format!("{}.tar.gz", inputs.zfs.tag()), &inputs.kernel_devel.nevra);
    futures_util::future::try_join(
        fetch(&archive, &inputs.tarball.url, &tarball, Some(&inputs.tarball.digest)),
        fetch(package, &inputs.kernel_devel.url, &headers, None),
    )
    .await?;
    let meta = tarball::meta(&tarball, inputs.zfs)?;
    match gather::matrix(None)?.verdict_with_meta(&meta, &inputs.kernel)? {
        Verdict::Compatible => {}
        Verdict::Incompatible(held) => return Err(miette::miette!("{held}")),
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

/// Runs podman for both outputs.
async fn compile(
    inputs: &BuildInputs,
    workspace: &Workspace,
    args: &BuildingArgs,
    reuse: Reuse,
    cache: &Path,
    surface: ProgressOutput,
) -> Result<()> {
    let mut section = ProgressSection::begin(surface, format!("Building {}", inputs.target()));
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
            jobs: args.jobs,
            reuse,
        };
        podman.build(&inputs.builder_image, build, &mut section).await?;
    }
    Ok(())
}
