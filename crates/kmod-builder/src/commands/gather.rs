//! What the planning verbs ask upstream, concurrently wherever one question does not wait for another's answer.

use futures_util::future::join_all;
use kmod_compat::{
    Arch, CompatMatrix, FedoraVersion, KernelRelease, UnlistedReleasePolicy, Verdict, ZfsVersion,
};
use kmod_query::{KernelUnknown, QueryError, Stream, Upstream, ZfsRelease};
use miette::{Diagnostic, Report};

use crate::io::podman::{Podman, PodmanError};
use crate::io::progress::{ProgressOutput, ProgressSection};
use crate::io::published_images::{PublishedImages, UnknownImage};
use crate::model::containerfile::TEMPLATE;
use crate::model::inputs::{BaseImage, BuildInputs, KernelDevel, PartialInputs, Tarball};
use crate::model::plan::{self, Decision, Entry, Plan, Seen, UnresolvedSource, Wanted};
use crate::model::{Compression, Digest, Target};

/// A bootable image with the kernel in it, from whichever question.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Found {
    /// The stream or the image's name as it was given.
    pub place: String,
    /// The release of Fedora that it is made of, where that is known.
    pub fedora: Option<FedoraVersion>,
    /// The kernel.
    pub kernel: KernelRelease,
    /// The image.
    pub base: BaseImage,
    /// Which document or label named the kernel.
    pub kernel_source: String,
}

impl From<Found> for Seen {
    fn from(found: Found) -> Self {
        Self { place: found.place, kernel: found.kernel, base: found.base }
    }
}

/// The newest release of a stream.
pub async fn stream(upstream: &Upstream, stream: Stream, arch: Arch) -> Result<Found, GatherError> {
    let release = match upstream.coreos(stream, arch).await {
        Err(QueryError::KernelUnknown(unknown)) => {
            let kernel = kernel_in(&unknown).await?;
            unknown.release(kernel).ok_or(GatherError::OtherArch)?
        }
        release => release?,
    };
    Ok(Found {
        place: stream.to_string(),
        fedora: Some(release.fedora),
        kernel: release.kernel,
        base: BaseImage { image: release.image, version: Some(release.version.to_string()) },
        kernel_source: release.kernel_source.to_string(),
    })
}

/// An image that was named.
pub async fn image(upstream: &Upstream, reference: &str, arch: Arch) -> Result<Found, GatherError> {
    let source = match upstream.image(reference, arch).await?.into_source() {
        Err(QueryError::KernelUnknown(unknown)) => {
            let kernel = kernel_in(&unknown).await?;
            unknown.source_image(kernel).ok_or(GatherError::OtherArch)?
        }
        source => source?,
    };
    Ok(Found {
        place: reference.to_owned(),
        fedora: source.fedora,
        kernel: source.kernel,
        base: BaseImage { image: source.image, version: source.version },
        kernel_source: source.kernel_source.to_string(),
    })
}

/// The last resort: ask the image's own package database, which means to pull the image.
async fn kernel_in(unknown: &KernelUnknown) -> Result<KernelRelease, GatherError> {
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
        _ => Err(GatherError::NoKernel { image: unknown.image.to_string(), answer }),
    }
}

/// A release of OpenZFS: the one that was named, or the newest of the line that the matrix follows.
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

/// Whether the release may be built for the kernel, with the release's own word where the matrix asks for it.
pub async fn verdict(
    upstream: &Upstream,
    matrix: &CompatMatrix,
    zfs: ZfsVersion,
    kernel: &KernelRelease,
) -> Result<Verdict, GatherError> {
    let has_row = matrix.release(zfs).is_some();
    if has_row || matrix.policy().unknown_release == UnlistedReleasePolicy::Hold {
        return Ok(matrix.verdict(zfs, kernel));
    }
    let meta = upstream.openzfs.fetch_meta(zfs).await?;
    matrix.verdict_with_meta(&meta, kernel).map_err(|conflict| GatherError::Meta(conflict.to_string()))
}

/// What determines a build and needs no further question.
pub fn known(
    matrix: &CompatMatrix,
    zfs: &ZfsRelease,
    kernel: &KernelRelease,
    fedora: Option<FedoraVersion>,
    compression: Compression,
    base: Option<BaseImage>,
) -> Result<PartialInputs, GatherError> {
    Ok(PartialInputs {
        template: Digest::of(TEMPLATE.as_bytes()),
        target: Target { zfs: zfs.version, kernel: kernel.clone() },
        tarball: tarball(matrix, zfs)?,
        fedora: kernel.fedora().or(fedora).ok_or_else(|| GatherError::NoFedora(kernel.clone()))?,
        // No file of a release is newer than its publication, and it is the same for every kernel.
        source_date_epoch: zfs.published_at.as_second(),
        compression,
        base,
    })
}

/// Everything that a build depends on, found and pinned.
pub async fn pins(upstream: &Upstream, known: PartialInputs) -> Result<BuildInputs, GatherError> {
    let (headers, builder_image) = futures_util::future::try_join(
        upstream.kernel_devel(&known.target.kernel, known.fedora),
        upstream.builder_image(known.fedora),
    )
    .await?;
    let kernel_devel = KernelDevel { nevra: headers.nevra, url: headers.url };
    Ok(BuildInputs::new(known, kernel_devel, builder_image))
}

/// The tarball with a digest that somebody vouches for: the matrix, or at least GitHub. Both must agree.
fn tarball(matrix: &CompatMatrix, zfs: &ZfsRelease) -> Result<Tarball, GatherError> {
    let known =
        matrix.release(zfs.version).and_then(|row| row.sha256()).map(|sha256| sha256.as_str().to_owned());
    let said = zfs.tarball_digest.clone();
    let sha256 = match (known, said) {
        (Some(known), Some(said)) if known != said => {
            return Err(GatherError::OtherTarball { zfs: zfs.version, known, said });
        }
        (Some(sha256), _) | (None, Some(sha256)) => sha256,
        (None, None) => return Err(GatherError::NoChecksum(zfs.version)),
    };
    let digest = format!("sha256:{sha256}").parse().map_err(|_| GatherError::NoChecksum(zfs.version))?;
    Ok(Tarball { url: zfs.tarball_url.clone(), digest })
}

/// Decides about every target, concurrently. What cannot be found out about one does not stop the others.
pub async fn plan(
    upstream: &Upstream,
    matrix: &CompatMatrix,
    zfs: &ZfsRelease,
    wanted: Vec<Wanted>,
    unknown: Vec<UnresolvedSource>,
    published: Option<&PublishedImages>,
    force: bool,
) -> Plan {
    let entries = wanted.into_iter().map(|wanted| async move {
        let decision = match decide(upstream, matrix, zfs, &wanted, published, force).await {
            Ok(decision) => decision,
            Err(error) => Decision::Unknown { reason: sentence(&error) },
        };
        let places = wanted.seen.into_iter().map(|seen| seen.place).collect();
        Entry { target: wanted.target, places, decision }
    });
    Plan::new(join_all(entries).await, unknown)
}

async fn decide(
    upstream: &Upstream,
    matrix: &CompatMatrix,
    zfs: &ZfsRelease,
    wanted: &Wanted,
    published: Option<&PublishedImages>,
    force: bool,
) -> Result<Decision, GatherError> {
    let kernel = &wanted.target.kernel;
    match verdict(upstream, matrix, zfs.version, kernel).await? {
        Verdict::Incompatible(held) => Ok(Decision::Held(held)),
        Verdict::Compatible => {
            let base = wanted.seen.first().map(|seen| seen.base.clone());
            let known = known(matrix, zfs, kernel, None, Compression::default(), base)?;
            let reason = match published {
                None => "no repository was given to compare with (--image)".to_owned(),
                // Most days end here, so nothing is asked that only a build needs.
                Some(published) => {
                    match plan::needed(&known, published.existing(&wanted.target).await?, force) {
                        Ok(digest) => return Ok(Decision::UpToDate(digest)),
                        Err(reason) => reason,
                    }
                }
            };
            Ok(Decision::Build { inputs: Box::new(pins(upstream, known).await?), reason })
        }
    }
}

/// An error and what to do about it, as text for a table or a JSON member.
pub fn sentence(error: &(dyn Diagnostic + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    match error.help() {
        Some(help) => format!("{text}\nhelp: {help}"),
        None => text,
    }
}

/// The compiled-in matrix, or the one in a file.
pub fn matrix(file: Option<&std::path::Path>) -> Result<CompatMatrix, Report> {
    match file {
        None => Ok(CompatMatrix::embedded()?),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                miette::miette!(
                    help = "name a file like compat/zfs.toml",
                    "cannot read {}: {error}",
                    path.display()
                )
            })?;
            Ok(CompatMatrix::parse(&path.display().to_string(), &text)?)
        }
    }
}

/// Something upstream could not be found out.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum GatherError {
    /// A question that upstream did not answer.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Query(#[from] QueryError),
    /// A registry that did not answer.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Published(#[from] UnknownImage),
    /// The last resort for a kernel failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Podman(#[from] PodmanError),
    /// Its package database has no kernel, or several.
    #[error("{image} does not have exactly one kernel; its package database says: {answer}")]
    #[diagnostic(help("name the kernel with --kernel"))]
    NoKernel {
        /// The image.
        image: String,
        /// What `rpm -q kernel-core` printed.
        answer: String,
    },
    /// Its package database names a kernel for another architecture.
    #[error("the image has a kernel for another architecture than was asked for")]
    #[diagnostic(help("name the image's own architecture with --arch"))]
    OtherArch,
    /// The kernel release does not say which Fedora it is for.
    #[error("`{0}` does not name a release of Fedora, and nothing else does")]
    #[diagnostic(help("name a kernel with `.fcNN` in its release, as Fedora's have"))]
    NoFedora(KernelRelease),
    /// Nobody vouches for the tarball's content.
    #[error("no checksum is known for the tarball of OpenZFS {0}")]
    #[diagnostic(help("add `sha256` to the release's row in compat/zfs.toml"))]
    NoChecksum(ZfsVersion),
    /// The tarball was replaced, or the matrix is wrong.
    #[error("the tarball of OpenZFS {zfs} should have the SHA-256 {known}, but the release now has {said}")]
    #[diagnostic(help(
        "a released tarball never changes: find out why before you change `sha256` in compat/zfs.toml"
    ))]
    OtherTarball {
        /// The release.
        zfs: ZfsVersion,
        /// What the matrix says.
        known: String,
        /// What GitHub says.
        said: String,
    },
    /// The release contradicts the matrix.
    #[error("{0}")]
    Meta(String),
}
