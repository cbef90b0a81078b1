//! Builds an image in its own directory from inputs, for `build` and `reproduce`.

use std::num::NonZeroU16;
use std::path::PathBuf;

use kmod_compat::Verdict;
use miette::{Context as _, IntoDiagnostic as _, Result};

use super::compose::{self, ComposedImage};
use crate::io::kernel_rpm::{self, KernelRpmError, KernelRpmRequest};
use crate::io::layout::Layout;
use crate::io::podman::{Build, Podman, Reuse};
use crate::io::progress::{ProgressOutput, ProgressSection};
use crate::io::registry::{self, Access, Registry};
use crate::io::workspace::Workspace;
use crate::io::{download, tarball};
use crate::model::builder_policy::InputsOrigin;
use crate::model::containerfile::{self, KMOD_STAGE, USERLAND_STAGE};
use crate::model::image::ImageLocation;
use crate::model::inputs::{BuildInputs, InputsPolicy, InputsUse, inputs_are_acceptable};
use crate::model::podman::Isolation;

#[derive(Clone, Debug)]
pub struct ImageBuildOptions {
    pub keep_containers: bool,
    /// Whether `cache` keeps compiled objects for reuse.
    pub compiler_cache: bool,
    /// Parallel compile jobs; `None` for one per processor.
    pub jobs: Option<NonZeroU16>,
    pub work_directory: PathBuf,
    pub reuse: Reuse,
    /// Downloads, logs and compiled objects.
    pub cache: PathBuf,
    pub isolation: Isolation,
    pub origin: InputsOrigin,
    pub policy: InputsPolicy,
    /// That may have a package which upstream deleted.
    pub repository: Option<Registry>,
}

/// Dropping it removes the layout with the image.
pub struct ImageBuildResult {
    pub scratch: Layout,
    pub built: ComposedImage,
    _workspace: Workspace,
}

impl ImageBuildOptions {
    pub fn check(&self, inputs: &BuildInputs) -> Result<()> {
        let purpose = match self.origin {
            InputsOrigin::Verified => InputsUse::VerifiedBuild,
            InputsOrigin::Local | InputsOrigin::Unverified => InputsUse::Build,
        };
        inputs_are_acceptable(inputs, &self.policy, purpose)
            .map_err(miette::Report::from)
            .wrap_err("nothing is built from these inputs")
    }
}

/// Downloads the pinned files, renders, runs podman and composes the image.
pub async fn build(inputs: &BuildInputs, options: &ImageBuildOptions) -> Result<ImageBuildResult> {
    options.check(inputs)?;
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

/// `None` for a directory.
pub async fn repository(store: Option<&ImageLocation>) -> Result<Option<Registry>> {
    let Some(ImageLocation::Registry(repository)) = store else { return Ok(None) };
    Ok(Some(registry::connect().open(repository, Access::Pull).await?))
}

async fn prepare(
    inputs: &BuildInputs,
    workspace: &Workspace,
    options: &ImageBuildOptions,
    section: &ProgressSection,
) -> Result<()> {
    let downloads = options.cache.join("downloads");
    for directory in [&downloads, &options.cache.join("logs"), &workspace.context()] {
        std::fs::create_dir_all(directory).into_diagnostic()?;
    }
    let tarball = downloads.join(format!("{}.tar.gz", inputs.tarball.digest.hex()));
    let devel = &inputs.kernel_devel;
    let in_context = workspace.context().join(containerfile::kernel_devel_file(inputs));
    let package = devel.digest.as_ref().map(|digest| kernel_rpm::cached(&downloads, digest));
    let package = package.as_ref().unwrap_or(&in_context);
    let request = KernelRpmRequest {
        url: &devel.url,
        nevra: &devel.nevra,
        fedora: inputs.kernel.fedora().unwrap_or(inputs.fedora),
        digest: devel.digest.as_ref(),
    };
    let lost = |what: &str| format!("the build is pinned to {what}, which is not available");
    let archive = async {
        let url = &inputs.tarball.url;
        let fetched = download::file(url, &tarball, Some(&inputs.tarball.digest), section).await;
        fetched.wrap_err_with(|| lost(&format!("{}.tar.gz", inputs.zfs.tag())))
    };
    let headers = async {
        let fetched = kernel_rpm::fetch(request, package, &options.policy.packages, section).await;
        let fetched = match (fetched, &options.repository) {
            (Err(KernelRpmError::Download(error)), Some(repository)) if error.is_gone() => {
                kernel_rpm::fetch_kept(request, package, &options.policy.packages, repository)
                    .await?
                    .ok_or(KernelRpmError::Download(error))
            }
            (fetched, _) => fetched,
        };
        match fetched {
            Err(KernelRpmError::Download(error)) => Err(error).wrap_err_with(|| lost(devel.nevra.as_str())),
            fetched => Ok(fetched?),
        }
    };
    let (_, headers) = futures_util::future::try_join(archive, headers).await?;
    if devel.digest.is_some() && headers.signer != devel.signer {
        return Err(miette::miette!(
            help = "the provenance would state another signer: plan again",
            "the inputs state another signer of {} than the package has",
            devel.nevra
        ));
    }
    if *package != in_context {
        std::fs::copy(package, &in_context).into_diagnostic()?;
    }
    let meta = tarball::meta(&tarball, inputs.zfs)?;
    let mut matrix = options.policy.matrix.clone();
    if let Some(declared) = inputs.declared_release() {
        matrix.declare(Ok(declared));
    }
    match matrix.verdict_with_meta(&meta, &inputs.kernel)? {
        Verdict::Compatible => {}
        Verdict::Incompatible(reason) => return Err(miette::miette!("{reason}")),
    }
    std::fs::copy(&tarball, workspace.context().join(containerfile::tarball_file(inputs)))
        .into_diagnostic()?;
    std::fs::write(workspace.containerfile(), containerfile::containerfile(inputs)?).into_diagnostic()?;
    Ok(())
}

async fn compile(
    inputs: &BuildInputs,
    workspace: &Workspace,
    options: &ImageBuildOptions,
    output: ProgressOutput,
) -> Result<()> {
    let mut section = ProgressSection::begin(output, format!("Building {}", inputs.target()));
    let podman = Podman::new(options.isolation);
    let cache = &options.cache;
    // A build can write into its cache whatever it likes, and later builds would use it.
    let compiler_cache = options.compiler_cache.then(|| match options.origin {
        InputsOrigin::Local | InputsOrigin::Verified => cache.join("ccache"),
        InputsOrigin::Unverified => cache.join("ccache-unverified").join(inputs.digest().hex()),
    });
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
