//! Resolves images by tag or digest: the manifest for an architecture, and the labels of its configuration.

use jiff::Timestamp;
use kmod_compat::{Arch, FedoraVersion, KernelRelease};

use crate::coreos::{KernelSource, KernelUnknown};
use crate::digest::Digest;
use crate::oci::{Annotations, Config, DOCKER_INDEX, INDEX, Index, Manifest, RawManifest};
use crate::reference::{ImageLocation, ImageRef, ParseImageRefError, PinnedImage, TagOrDigest};
use crate::registry::{Access, Registries, Registry, RegistryError, RegistryErrorKind, manifest_named};
use crate::{FormatError, QueryError, RequestInfo};

/// In bytes.
const MAX_CONFIG: u64 = 8 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// Of an index, the manifest for the architecture.
    pub image: PinnedImage,
    pub arch: Arch,
    pub labels: Annotations,
    pub created: Option<Timestamp>,
}

/// An image that the user named instead of a stream.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SourceImage {
    pub image: PinnedImage,
    pub arch: Arch,
    /// From the kernel or the version.
    pub fedora: Option<FedoraVersion>,
    /// From the image's labels.
    pub version: Option<String>,
    pub created: Option<Timestamp>,
    pub kernel: KernelRelease,
    pub kernel_source: KernelSource,
}

impl ResolvedImage {
    /// From the label `ostree.linux`, which Fedora CoreOS has not had since Fedora 43, but uCore, Kinoite and others
    /// have.
    pub fn kernel(&self) -> Result<Option<KernelRelease>, QueryError> {
        let Some(text) = self.labels.get("ostree.linux") else { return Ok(None) };
        let request = || RequestInfo::new(&self.image.to_string(), "the image's labels");
        let invalid =
            |reason| FormatError::Invalid { field: "ostree.linux".to_owned(), reason }.at(&request());
        let kernel: KernelRelease = text.parse().map_err(|error| invalid(format!("{error}")))?;
        if kernel.arch() == self.arch {
            Ok(Some(kernel))
        } else {
            Err(invalid(format!("`{kernel}` is not for {}", self.arch)))
        }
    }

    /// From the label's current or former name.
    pub fn version(&self) -> Option<&str> {
        let names = ["org.opencontainers.image.version", "version"];
        names.into_iter().find_map(|name| self.labels.get(name)).map(String::as_str)
    }

    /// [`QueryError::KernelUnknown`] if the image does not name its kernel.
    pub fn into_source(self) -> Result<SourceImage, QueryError> {
        let kernel = self.kernel()?;
        let version = self.version().map(str::to_owned);
        let Self { image, arch, created, .. } = self;
        let Some(kernel) = kernel else {
            let tried = vec![RequestInfo::new(&image.to_string(), "the image's label `ostree.linux`")];
            let unknown = KernelUnknown { image, arch, tried, release: None, version, created };
            return Err(QueryError::KernelUnknown(Box::new(unknown)));
        };
        let fedora = crate::coreos::fedora_of(&kernel, version.as_deref());
        let kernel_source = KernelSource::ImageLabel;
        Ok(SourceImage { image, arch, fedora, version, created, kernel, kernel_source })
    }
}

pub async fn resolve(
    registries: &Registries,
    image: &ImageRef,
    arch: Arch,
) -> Result<ResolvedImage, QueryError> {
    let (registry, tag_or_digest) = open(registries, image).await?;
    let mut raw = manifest(&registry, &tag_or_digest).await?;
    let request = || RequestInfo::new(&image.to_string(), "an image");
    let no_image = || QueryError::NoImage { request: request(), arch };
    if let Some(index) = parse_index(&raw) {
        let digest = for_arch(&index, arch).ok_or_else(no_image)?;
        raw = manifest(&registry, &TagOrDigest::Digest(digest)).await?;
    }
    let malformed = |what: &str, error: &dyn std::fmt::Display| {
        registry.error(format!("read the {what} of {image}"), RegistryErrorKind::Malformed(error.to_string()))
    };
    let parsed: Manifest =
        serde_json::from_slice(&raw.bytes).map_err(|error| malformed("manifest", &error))?;
    let config = registry.small_blob(&parsed.config.digest, MAX_CONFIG).await?;
    let config = config.ok_or_else(|| not_found(&registry, format!("read the configuration of {image}")))?;
    let config: Config =
        serde_json::from_slice(&config).map_err(|error| malformed("configuration", &error))?;
    if config.architecture != arch.oci() {
        return Err(no_image());
    }
    let created = config.created.as_deref().map(str::parse).transpose();
    let created = created.map_err(|error| malformed("creation date", &error))?;
    let image = PinnedImage { store: registry.repository().clone(), digest: raw.digest };
    Ok(ResolvedImage { image, arch, labels: config.config.labels, created })
}

/// The digest of the manifest or index. One `HEAD` request after the login.
pub async fn resolve_digest(registries: &Registries, image: &ImageRef) -> Result<PinnedImage, QueryError> {
    let (registry, tag_or_digest) = open(registries, image).await?;
    let digest = registry.resolve(&tag_or_digest).await?;
    let digest =
        digest.ok_or_else(|| not_found(&registry, format!("look for {}", manifest_named(&tag_or_digest))))?;
    Ok(PinnedImage { store: registry.repository().clone(), digest })
}

async fn open(registries: &Registries, image: &ImageRef) -> Result<(Registry, TagOrDigest), QueryError> {
    let (ImageLocation::Registry(repository), Some(tag_or_digest)) = (&image.store, &image.tag_or_digest)
    else {
        return Err(ParseImageRefError::incomplete(image).into());
    };
    Ok((registries.open(repository, Access::Pull).await?, tag_or_digest.clone()))
}

async fn manifest(registry: &Registry, tag_or_digest: &TagOrDigest) -> Result<RawManifest, RegistryError> {
    let manifest = registry.manifest(tag_or_digest).await?;
    manifest.ok_or_else(|| not_found(registry, format!("read {}", manifest_named(tag_or_digest))))
}

fn not_found(registry: &Registry, request: String) -> RegistryError {
    let kind = RegistryErrorKind::Answered { status: 404, oci_errors: Vec::new(), retry_after: None };
    registry.error(request, kind)
}

/// OCI or Docker format; `None` for a manifest.
fn parse_index(manifest: &RawManifest) -> Option<Index> {
    let index: Index = serde_json::from_slice(&manifest.bytes).ok()?;
    (!index.manifests.is_empty() || [INDEX, DOCKER_INDEX].contains(&manifest.media_type.as_str()))
        .then_some(index)
}

/// Attestations have the platform `unknown/unknown`.
fn for_arch(index: &Index, arch: Arch) -> Option<Digest> {
    let entry = index.manifests.iter().find(|entry| {
        let Some(platform) = entry.other.get("platform") else { return false };
        platform["os"] == "linux" && platform["architecture"] == arch.oci()
    });
    entry.map(|entry| entry.digest.clone())
}

#[cfg(test)]
mod tests;
