//! Upstream lookups for planning: kernel sources, OpenZFS releases, and the packages and images of a build.

use kmod_compat::{
    Arch, CompatMatrix, FedoraVersion, KernelRelease, UnlistedReleasePolicy, Verdict, ZfsVersion,
};
use kmod_query::coreos::SkippedEntries;
use kmod_query::{KernelUnknown, QueryError, Stream, Upstream, ZfsRelease};
use miette::Diagnostic;

use super::podman::{Podman, PodmanError};
use super::progress::{self, ProgressOutput, ProgressSection};
use crate::model::inputs::{BuildInputs, KernelDevel, PartialInputs, SourceImageRef};
use crate::model::plan::ObservedKernel;

#[derive(Clone, Debug)]
pub struct ResolvedSource {
    /// The stream or image name as given.
    pub source: String,
    /// The Fedora release it is based on, if known.
    pub fedora: Option<FedoraVersion>,
    pub kernel: KernelRelease,
    pub image: SourceImageRef,
    /// The document or label that names the kernel.
    pub kernel_source: String,
    /// Entries of the stream's release index that cannot be used.
    pub skipped: Vec<SkippedEntries>,
}

impl From<ResolvedSource> for ObservedKernel {
    fn from(found: ResolvedSource) -> Self {
        Self { source: found.source, kernel: found.kernel, image: found.image }
    }
}

pub async fn stream(upstream: &Upstream, stream: Stream, arch: Arch) -> Result<ResolvedSource, ResolveError> {
    let index = upstream.coreos_index(stream).await?;
    let release = match upstream.coreos_newest(&index, arch).await {
        Err(QueryError::KernelUnknown(unknown)) => {
            let kernel = kernel_by_podman(&unknown).await?;
            unknown.release(kernel).ok_or(ResolveError::OtherArch)?
        }
        release => release?,
    };
    Ok(ResolvedSource {
        source: stream.to_string(),
        fedora: Some(release.fedora),
        kernel: release.kernel,
        image: SourceImageRef { image: release.image, version: Some(release.version.to_string()) },
        kernel_source: release.kernel_source.to_string(),
        skipped: index.skipped,
    })
}

pub async fn image(upstream: &Upstream, reference: &str, arch: Arch) -> Result<ResolvedSource, ResolveError> {
    let source = match upstream.image(reference, arch).await?.into_source() {
        Err(QueryError::KernelUnknown(unknown)) => {
            let kernel = kernel_by_podman(&unknown).await?;
            unknown.source_image(kernel).ok_or(ResolveError::OtherArch)?
        }
        source => source?,
    };
    Ok(ResolvedSource {
        source: reference.to_owned(),
        fedora: source.fedora,
        kernel: source.kernel,
        image: SourceImageRef { image: source.image, version: source.version },
        kernel_source: source.kernel_source.to_string(),
        skipped: Vec::new(),
    })
}

/// Last resort: queries the image's package database, which requires pulling the image.
async fn kernel_by_podman(unknown: &KernelUnknown) -> Result<KernelRelease, ResolveError> {
    const QUERY: &str = "rpm -q --queryformat '%{VERSION}-%{RELEASE}.%{ARCH}\\n' kernel-core";
    let section = ProgressSection::begin(
        ProgressOutput::detect(),
        format!("Asking {} itself for its kernel", unknown.image),
    );
    let podman = Podman::probe(&unknown.image, &section).await?;
    let answer = podman.output_of(&unknown.image, QUERY).await?;
    let mut kernels = answer.lines().map(str::trim).filter(|line| !line.is_empty());
    match (kernels.next().map(str::parse), kernels.next()) {
        (Some(Ok(kernel)), None) => Ok(kernel),
        _ => Err(ResolveError::NoKernel { image: unknown.image.to_string(), answer }),
    }
}

/// The named release, or the newest of the release line in the matrix.
pub async fn openzfs(
    upstream: &Upstream,
    matrix: &CompatMatrix,
    version: Option<ZfsVersion>,
) -> Result<ZfsRelease, QueryError> {
    match version {
        Some(version) => upstream.openzfs.fetch_version(version).await,
        None => upstream.openzfs.fetch_newest(matrix.policy().line).await,
    }
}

/// Whether the release supports the kernel; reads the release's `META` if the matrix requires it.
pub async fn verdict(
    upstream: &Upstream,
    matrix: &CompatMatrix,
    zfs: ZfsVersion,
    kernel: &KernelRelease,
) -> Result<Verdict, ResolveError> {
    let has_row = matrix.release(zfs).is_some();
    if has_row || matrix.policy().unknown_release == UnlistedReleasePolicy::Hold {
        return Ok(matrix.verdict(zfs, kernel));
    }
    let meta = upstream.openzfs.fetch_meta(zfs).await?;
    matrix.verdict_with_meta(&meta, kernel).map_err(|conflict| ResolveError::Meta(conflict.to_string()))
}

/// Resolves and pins everything that a build depends on.
pub async fn inputs(upstream: &Upstream, known: PartialInputs) -> Result<BuildInputs, ResolveError> {
    let (headers, builder_image) = futures_util::future::try_join(
        upstream.kernel_devel(&known.target.kernel, known.fedora),
        upstream.builder_image(known.fedora),
    )
    .await?;
    let kernel_devel = KernelDevel { nevra: headers.nevra, url: headers.url };
    Ok(BuildInputs::new(known, kernel_devel, builder_image))
}

/// Says which releases of a stream were passed over.
pub fn report_skipped(source: &str, skipped: &[SkippedEntries]) {
    if !skipped.is_empty() {
        let reasons: Vec<_> = skipped.iter().map(ToString::to_string).collect();
        progress::print_notice(&format!("skipped releases of {source}: {}", reasons.join(", ")));
    }
}

#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ResolveError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Podman(#[from] PodmanError),
    #[error("{image} does not have exactly one kernel; its package database says: {answer}")]
    #[diagnostic(help("name the kernel with --kernel"))]
    NoKernel { image: String, answer: String },
    #[error("the image has a kernel for another architecture than was asked for")]
    #[diagnostic(help("name the image's own architecture with --arch"))]
    OtherArch,
    #[error("{0}")]
    Meta(String),
}
