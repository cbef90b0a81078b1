//! Upstream lookups for planning: kernel sources, OpenZFS releases, and the packages and images of a build.

use std::path::Path;

use kmod_compat::{
    Arch, CompatMatrix, FedoraVersion, KernelRelease, MatrixPolicy, ReleaseKeys, UnlistedReleasePolicy,
    ZfsVersion,
};
use kmod_query::coreos::SkippedEntries;
use kmod_query::{KernelPackage, KernelUnknown, QueryError, Stream, Upstream, ZfsRelease};
use miette::Diagnostic;

use super::environment;
use super::kernel_rpm::{self, CheckedKernelRpm, KernelRpmError, KernelRpmRequest};
use super::podman::{Podman, PodmanError};
use super::progress::{self, ProgressOutput, ProgressSection};
use super::registry::RegistryErrorKind;
use super::statements::{self, StatementsError};
use crate::model::inputs::{BuildInputs, Declaration, KernelDevel, PartialInputs, SourceImageRef};
use crate::model::reconcile::{MissingInput, SourceState};
use crate::model::rpm_signature::KernelPackagePolicy;

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

impl From<ResolvedSource> for SourceState {
    fn from(found: ResolvedSource) -> Self {
        Self::Kernel { kernel: found.kernel, fedora: found.fedora, image: found.image }
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
    let _section = ProgressSection::begin(
        ProgressOutput::detect(),
        format!("Asking {} itself for its kernel", unknown.image),
    );
    let podman = Podman::new(environment::isolation());
    let answer = podman.output_of(&unknown.image, QUERY).await?;
    let mut kernels = answer.lines().map(str::trim).filter(|line| !line.is_empty());
    match (kernels.next().map(str::parse), kernels.next()) {
        (Some(Ok(kernel)), None) => Ok(kernel),
        _ => Err(ResolveError::NoKernel { image: unknown.image.to_string(), answer }),
    }
}

/// The named release, or the newest of the release line in the matrix that its policy accepts.
pub async fn openzfs(
    upstream: &Upstream,
    matrix: &CompatMatrix,
    version: Option<ZfsVersion>,
) -> Result<ZfsRelease, QueryError> {
    let MatrixPolicy { line, unknown_release } = matrix.policy();
    match (version, unknown_release) {
        (Some(version), _) => upstream.openzfs.fetch_version(version).await,
        (None, UnlistedReleasePolicy::Never) => {
            upstream.openzfs.fetch_newest_of(line, |version| matrix.release(version).is_some()).await
        }
        (None, _) => upstream.openzfs.fetch_newest(line).await,
    }
}

/// Adds a release without a row to the matrix if the policy allows it and upstream's statements about it agree.
pub async fn declare(
    upstream: &Upstream,
    keys: &ReleaseKeys,
    matrix: &mut CompatMatrix,
    zfs: &ZfsRelease,
    cache: &Path,
) -> Result<Option<Declaration>, ResolveError> {
    if !matrix.wants_declaration(zfs.version) {
        return Ok(None);
    }
    let declared = statements::read(upstream, keys, zfs, cache).await?.decide();
    let declaration = declared.as_ref().ok().map(Declaration::from);
    matrix.declare(declared);
    Ok(declaration)
}

/// Resolves and pins everything that a build depends on.
pub async fn inputs(
    upstream: &Upstream,
    known: PartialInputs,
    packages: &KernelPackagePolicy,
    cache: &Path,
) -> Result<BuildInputs, ResolveError> {
    let (headers, builder_image) = futures_util::future::try_join(
        upstream.kernel_package(KernelPackage::Devel, &known.target.kernel, known.fedora),
        upstream.builder_image(known.fedora),
    )
    .await?;
    let section = ProgressSection::begin(
        ProgressOutput::detect(),
        format!("Checking the kernel package for {}", known.target),
    );
    let request = KernelRpmRequest {
        url: &headers.url,
        nevra: &headers.nevra,
        fedora: known.target.kernel.fedora().unwrap_or(known.fedora),
        digest: None,
    };
    let checked = kernel_rpm::fetch_into(request, &cache.join("downloads"), packages, &section).await?;
    drop(section);
    let CheckedKernelRpm { digest, signer } = checked;
    let kernel_devel = KernelDevel { nevra: headers.nevra, url: headers.url, digest: Some(digest), signer };
    Ok(with_source(BuildInputs::new(known, kernel_devel, builder_image)))
}

/// With a kernel-devel package that is known already.
pub async fn inputs_with(
    upstream: &Upstream,
    known: PartialInputs,
    kernel_devel: KernelDevel,
) -> Result<BuildInputs, ResolveError> {
    let builder_image = upstream.builder_image(known.fedora).await?;
    Ok(with_source(BuildInputs::new(known, kernel_devel, builder_image)))
}

fn with_source(mut inputs: BuildInputs) -> BuildInputs {
    inputs.source_repository = environment::source_repository();
    inputs
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
    #[error(transparent)]
    #[diagnostic(transparent)]
    KernelRpm(#[from] KernelRpmError),
    #[error("{image} does not have exactly one kernel; its package database says: {answer}")]
    #[diagnostic(help("name the kernel with --kernel"))]
    NoKernel { image: String, answer: String },
    #[error("the image has a kernel for another architecture than was asked for")]
    #[diagnostic(help("name the image's own architecture with --arch"))]
    OtherArch,
    #[error(transparent)]
    #[diagnostic(transparent)]
    Statements(#[from] StatementsError),
}

impl ResolveError {
    /// The input of a build that upstream answered it does not have, or not yet.
    pub fn missing_input(&self) -> Option<MissingInput> {
        match self {
            Self::Query(QueryError::KernelRpmGone { .. }) => Some(MissingInput::KernelDevel),
            Self::KernelRpm(KernelRpmError::Download(error)) if error.is_gone() => {
                Some(MissingInput::KernelDevel)
            }
            Self::KernelRpm(KernelRpmError::Untrusted(package)) if package.lacks_key() => {
                Some(MissingInput::FedoraKey)
            }
            _ => self.is_gone().then_some(MissingInput::BuilderImage),
        }
    }

    /// What upstream has must not be built from, and waiting does not help.
    pub const fn is_untrusted(&self) -> bool {
        matches!(
            self,
            Self::KernelRpm(
                KernelRpmError::Untrusted(_)
                    | KernelRpmError::OtherPackage { .. }
                    | KernelRpmError::Signature { .. }
            )
        )
    }

    /// Upstream answered that it does not have the source any more.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Query(QueryError::NotFound { .. } | QueryError::NoImage { .. }) => true,
            Self::Query(QueryError::Registry(error)) => {
                matches!(error.kind(), RegistryErrorKind::Answered { status: 404, .. })
            }
            _ => false,
        }
    }
}
