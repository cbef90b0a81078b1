//! Builds an image in its own directory from inputs, for `build` and `reproduce`.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use kmod_compat::{CompatMatrix, Verdict};
use miette::{Context as _, IntoDiagnostic as _, Result};

use super::compose::{self, ComposedImage};
use crate::io::layout::Layout;
use crate::io::podman::{Build, Podman, Reuse};
use crate::io::progress::{ProgressOutput, ProgressSection};
use crate::io::workspace::Workspace;
use crate::io::{download, rpm, tarball};
use crate::model::Digest;
use crate::model::containerfile::{self, KMOD_STAGE, USERLAND_STAGE};
use crate::model::inputs::BuildInputs;

#[derive(Clone, Debug)]
pub struct ImageBuildOptions<'a> {
    pub keep_containers: bool,
    /// Whether `cache` keeps compiled objects for reuse.
    pub compiler_cache: bool,
    /// Parallel compile jobs; `None` for one per processor.
    pub jobs: Option<NonZeroU16>,
    pub work_directory: PathBuf,
    pub reuse: Reuse,
    /// Downloads, logs and compiled objects.
    pub cache: &'a Path,
    /// Says whether the release may be built for the kernel.
    pub matrix: &'a CompatMatrix,
}

/// Dropping it removes the layout with the image.
pub struct ImageBuildResult {
    pub scratch: Layout,
    pub built: ComposedImage,
    _workspace: Workspace,
}

/// Downloads the pinned files, renders, runs podman and composes the image.
pub async fn build(inputs: &BuildInputs, options: &ImageBuildOptions<'_>) -> Result<ImageBuildResult> {
    containerfile::check_template(inputs)?;
    let output = ProgressOutput::detect();
    let workspace = Workspace::new(&options.work_directory)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot build in {}", options.work_directory.display()))?;

    let section = ProgressSection::begin(output, format!("Preparing {}", inputs.target()));
    prepare(inputs, &workspace, options, &section).await?;
    drop(section);

    compile(inputs, &workspace, options, output).await?;

    let section = ProgressSection::begin(output, "Composing the image");
    let scratch = Layout::create(&workspace.store())?;
    let (userland, kmod) = (workspace.userland(), workspace.kmod());
    let built = compose::compose(inputs, &userland, &kmod, inputs.compression, &scratch).await?;
    drop(section);
    Ok(ImageBuildResult { scratch, built, _workspace: workspace })
}

async fn prepare(
    inputs: &BuildInputs,
    workspace: &Workspace,
    options: &ImageBuildOptions<'_>,
    section: &ProgressSection,
) -> Result<()> {
    let cache = options.cache;
    let downloads = cache.join("downloads");
    for directory in [&downloads, &cache.join("logs"), &workspace.context()] {
        std::fs::create_dir_all(directory).into_diagnostic()?;
    }
    let tarball = downloads.join(format!("{}.tar.gz", inputs.tarball.digest.hex()));
    let headers = workspace.context().join(containerfile::kernel_devel_file(inputs));
    let fetch = async |what: &str, url: &str, path: &Path, digest: Option<&Digest>| {
        let fetched = download::file(url, path, digest, section).await;
        fetched.wrap_err_with(|| format!("the build is pinned to {what}, which is not available"))
    };
    let (archive, package) = (format!("{}.tar.gz", inputs.zfs.tag()), &inputs.kernel_devel.nevra);
    futures_util::future::try_join(
        fetch(&archive, &inputs.tarball.url, &tarball, Some(&inputs.tarball.digest)),
        fetch(package, &inputs.kernel_devel.url, &headers, None),
    )
    .await?;
    let meta = tarball::meta(&tarball, inputs.zfs)?;
    let mut matrix = options.matrix.clone();
    if let Some(declared) = inputs.declared_release() {
        matrix.declare(Ok(declared));
    }
    match matrix.verdict_with_meta(&meta, &inputs.kernel)? {
        Verdict::Compatible => {}
        Verdict::Incompatible(reason) => return Err(miette::miette!("{reason}")),
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

async fn compile(
    inputs: &BuildInputs,
    workspace: &Workspace,
    options: &ImageBuildOptions<'_>,
    output: ProgressOutput,
) -> Result<()> {
    let mut section = ProgressSection::begin(output, format!("Building {}", inputs.target()));
    let podman = Podman::probe(&inputs.builder_image, &section).await?;
    let cache = options.cache;
    let compiler_cache = options.compiler_cache.then(|| cache.join("ccache"));
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
            keep_containers: options.keep_containers,
            jobs: options.jobs,
            reuse: options.reuse,
        };
        podman.build(&inputs.builder_image, build, &mut section).await?;
    }
    Ok(())
}
