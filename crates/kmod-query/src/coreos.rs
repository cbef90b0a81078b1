//! Fedora CoreOS: the newest release of a stream, its image by digest, and the kernel in it.
//!
//! Nothing is pulled. Documents below the base URL (<https://builds.coreos.fedoraproject.org>):
//!
//! | document | members |
//! |---|---|
//! | `prod/streams/STREAM/releases.json` | version, `oci-images[].digest-ref` (since Fedora 42) |
//! | `prod/streams/STREAM/builds/VERSION/ARCH/commitmeta.json` | `ostree.linux`, else the package list |
//! | `…/manifest-lock.generated.ARCH.json` | as a fallback: `packages.kernel.evra` |
//! | the image's configuration | as the last fallback: the label `ostree.linux`, gone since Fedora 43 |

mod kernel;
mod releases;
mod version;

use kmod_compat::{Arch, FedoraVersion, KernelRelease};

use crate::endpoints::join;
use crate::image;
use crate::reference::Repository;
use crate::registry::Registries;
use crate::{Endpoints, FormatError, Http, PinnedImage, QueryError, RequestInfo};

pub(crate) use kernel::fedora_of;
pub use kernel::{KernelSource, KernelUnknown, parse_commit_meta, parse_lockfile};
pub use releases::{Release, Releases, SkippedEntries, SkippedEntryReason, parse_releases};
pub use version::{CoreOsVersion, ParseCoreOsVersionError, ParseStreamError, Stream};

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CoreOsRelease {
    pub stream: Stream,
    pub version: CoreOsVersion,
    pub arch: Arch,
    pub fedora: FedoraVersion,
    pub image: PinnedImage,
    pub kernel: KernelRelease,
    pub kernel_source: KernelSource,
}

#[derive(Clone, Debug)]
pub struct ReleaseIndex {
    pub stream: Stream,
    /// The oldest first; each has an image.
    pub releases: Vec<Release>,
    /// Entries of the document that are not in [`Self::releases`].
    pub skipped: Vec<SkippedEntries>,
    request: RequestInfo,
}

impl ReleaseIndex {
    /// The newest release with an image for the architecture; newer ones may lack it.
    pub fn newest(&self, arch: Arch) -> Result<(&Release, &PinnedImage), QueryError> {
        let with_image = self.releases.iter().filter_map(|release| Some((release, release.image(arch)?)));
        with_image
            .max_by(|(one, _), (other, _)| one.version.cmp(&other.version))
            .ok_or_else(|| QueryError::NoImage { request: self.request.clone(), arch })
    }
}

pub async fn fetch_index(
    http: &Http,
    endpoints: &Endpoints,
    stream: Stream,
) -> Result<ReleaseIndex, QueryError> {
    let url = join(&endpoints.coreos, &format!("prod/streams/{stream}/releases.json"));
    let request = RequestInfo::new(&url, format!("the release index of Fedora CoreOS {stream}"));
    let response = http.get(&url, &request).await?;
    let Releases { mut releases, skipped } =
        parse_releases(response.json(&request)?).map_err(|error| error.at(&request))?;
    if let Some(repository) = endpoints.other_coreos_image() {
        let repository: Repository = repository.parse()?;
        for (_, image) in releases.iter_mut().flat_map(|release| &mut release.images) {
            image.store.clone_from(&repository);
        }
    }
    Ok(ReleaseIndex { stream, releases, skipped, request })
}

/// [`QueryError::KernelUnknown`] if no document names the kernel; the image itself can still be inspected. One index
/// serves every architecture.
pub async fn fetch_newest(
    http: &Http,
    registries: &Registries,
    endpoints: &Endpoints,
    index: &ReleaseIndex,
    arch: Arch,
) -> Result<CoreOsRelease, QueryError> {
    let (release, image) = index.newest(arch)?;
    let (stream, version) = (index.stream, release.version);
    let folder = join(&endpoints.coreos, &format!("prod/streams/{stream}/builds/{version}/{arch}"));
    let mut tried = Vec::new();
    let Some((kernel, kernel_source)) =
        detect_kernel(http, registries, &folder, image, arch, &mut tried).await?
    else {
        let (image, release) = (image.clone(), Some((stream, version)));
        let unknown = KernelUnknown { image, arch, tried, release, version: None, created: None };
        return Err(QueryError::KernelUnknown(Box::new(unknown)));
    };
    let (fedora, image) = (version.fedora(), image.clone());
    Ok(CoreOsRelease { stream, version, arch, fedora, image, kernel, kernel_source })
}

/// Each document is read only if the previous one does not name the kernel. A failed request is an error: it must not
/// change which document is used.
async fn detect_kernel(
    http: &Http,
    registries: &Registries,
    folder: &str,
    image: &PinnedImage,
    arch: Arch,
    tried: &mut Vec<RequestInfo>,
) -> Result<Option<(KernelRelease, KernelSource)>, QueryError> {
    let url = format!("{folder}/commitmeta.json");
    let request = RequestInfo::new(&url, "the metadata of the build, with `ostree.linux`");
    let found = kernel_in(http, &url, &request, |text| parse_commit_meta(text, arch)).await?;
    if found.is_some() {
        return Ok(found);
    }
    tried.push(request);

    let url = format!("{folder}/manifest-lock.generated.{arch}.json");
    let request = RequestInfo::new(&url, "the package lock of the build, with `packages.kernel`");
    if let Some(kernel) = kernel_in(http, &url, &request, |text| parse_lockfile(text, arch)).await? {
        return Ok(Some((kernel, KernelSource::Lockfile)));
    }
    tried.push(request);

    match image::resolve(registries, &image.clone().into(), arch).await {
        Ok(resolved) => {
            if let Some(kernel) = resolved.kernel()? {
                return Ok(Some((kernel, KernelSource::ImageLabel)));
            }
        }
        // Old versions are deleted from the registry.
        Err(QueryError::Registry(error)) if error.status() == Some(404) => {}
        Err(error) => return Err(error),
    }
    tried.push(RequestInfo::new(&image.to_string(), "the image's label `ostree.linux`"));
    Ok(None)
}

/// A build's documents never change; a corrected build gets another version.
async fn kernel_in<T>(
    http: &Http,
    url: &str,
    request: &RequestInfo,
    parse: impl Fn(&str) -> Result<Option<T>, FormatError>,
) -> Result<Option<T>, QueryError> {
    let read = |response: crate::http::HttpResponse| {
        parse(response.json(request)?).map_err(|error| error.at(request))
    };
    let missing = |error: QueryError| if error.is_missing_object() { Ok(None) } else { Err(error) };
    let cached = match http.get_immutable(url, request).await {
        Ok(response) => read(response),
        Err(error) => return missing(error),
    };
    match cached {
        Ok(found) => Ok(found),
        // The cache may have an error page; request it again.
        Err(_) => match http.get(url, request).await {
            Ok(response) => read(response),
            Err(error) => missing(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(text: &str) -> ReleaseIndex {
        let Releases { releases, skipped } = parse_releases(text).unwrap();
        ReleaseIndex { stream: Stream::Stable, releases, skipped, request: RequestInfo::new("http://x", "x") }
    }

    #[test]
    fn the_newest_is_found_by_version_among_those_with_an_image() {
        let index = index(include_str!("../tests/fixtures/coreos-releases.json"));
        let (release, image) = index.newest(Arch::X86_64).unwrap();
        assert_eq!(release.version.to_string(), "43.20260301.3.1");
        assert!(image.to_string().starts_with("quay.io/fedora/fedora-coreos@sha256:1111"));
        let (release, _) = index.newest(Arch::Aarch64).unwrap();
        assert_eq!(release.version.to_string(), "43.20260215.3.0", "the newest has no image for aarch64");
    }

    #[test]
    fn an_index_without_images_for_an_architecture_has_its_own_error() {
        let digest = "1".repeat(64);
        let index = index(&format!(
            r#"{{"releases": [{{"version": "43.20260301.3.1", "oci-images": [
                {{"architecture": "x86_64", "digest-ref": "quay.io/fedora/fedora-coreos@sha256:{digest}"}}]}}]}}"#
        ));
        assert!(index.newest(Arch::X86_64).is_ok());
        assert!(matches!(index.newest(Arch::Aarch64), Err(QueryError::NoImage { .. })));
    }
}
