//! Fedora CoreOS: the newest release of a stream, its image by digest, and the kernel in it.
//!
//! Nothing is pulled. The stream's release index names the version and the image; the metadata of that
//! build names the kernel. What is fetched, below the base URL
//! (<https://builds.coreos.fedoraproject.org>):
//!
//! | document | from it |
//! |---|---|
//! | `prod/streams/STREAM/releases.json` | version, `oci-images[].digest-ref` (since Fedora 42) |
//! | `prod/streams/STREAM/builds/VERSION/ARCH/commitmeta.json` | `ostree.linux`, else the package list |
//! | `…/manifest-lock.generated.ARCH.json` | only if the former does not tell: `packages.kernel.evra` |
//! | the image's configuration | only if neither tells: the label `ostree.linux`, gone since Fedora 43 |

mod kernel;
mod version;

use kmod_compat::{Arch, FedoraVersion, KernelRelease};

use crate::document::{self, Node};
use crate::endpoints::join;
use crate::image::{Credentials, Registry};
use crate::{Asked, Endpoints, FormatError, Http, PinnedImage, QueryError};

pub(crate) use kernel::fedora_of;
pub use kernel::{KernelSource, KernelUnknown, parse_commit_meta, parse_lockfile};
pub use version::{CoreOsVersion, ParseCoreOsVersionError, ParseStreamError, Stream};

/// A release of Fedora CoreOS for one architecture, with everything that a build depends on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CoreOsRelease {
    /// The stream in which it was released.
    pub stream: Stream,
    /// Its version, such as `43.20260301.3.1`.
    pub version: CoreOsVersion,
    /// The architecture.
    pub arch: Arch,
    /// The release of Fedora that it is made of.
    pub fedora: FedoraVersion,
    /// Its image, by digest.
    pub image: PinnedImage,
    /// The kernel in it.
    pub kernel: KernelRelease,
    /// Which document told the kernel.
    pub kernel_source: KernelSource,
}

/// An entry of a stream's release index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The version.
    pub version: CoreOsVersion,
    /// The image per architecture, as far as there are any: releases before Fedora 42 have none.
    pub images: Vec<(Arch, PinnedImage)>,
}

impl Release {
    /// The image for an architecture.
    pub fn image(&self, arch: Arch) -> Option<&PinnedImage> {
        self.images.iter().find(|(of, _)| *of == arch).map(|(_, image)| image)
    }
}

/// A stream's release index, as fetched.
#[derive(Clone, Debug)]
pub struct ReleaseIndex {
    /// The stream.
    pub stream: Stream,
    /// Every release, in upstream's order: the oldest first.
    pub releases: Vec<Release>,
    asked: Asked,
}

impl ReleaseIndex {
    /// The newest release, by version, that has an image for the architecture.
    ///
    /// The newest one of all may lack it: an architecture can be missing from a release.
    pub fn newest(&self, arch: Arch) -> Result<(&Release, &PinnedImage), QueryError> {
        let with_image = self.releases.iter().filter_map(|release| Some((release, release.image(arch)?)));
        with_image
            .max_by(|(one, _), (other, _)| one.version.cmp(&other.version))
            .ok_or_else(|| QueryError::NoImage { asked: self.asked.clone(), arch })
    }
}

/// Reads a release index (`releases.json`). Architectures that are not built for are left out.
pub fn parse_releases(text: &str) -> Result<Vec<Release>, FormatError> {
    let document = document::parse(text)?;
    let release = |entry: Node<'_>| {
        let version = entry.required("version")?.parsed()?;
        let images = match entry.optional("oci-images") {
            Some(images) => images.items()?.filter_map(|image| parse_image(&image).transpose()).collect(),
            None => Ok(Vec::new()),
        };
        Ok(Release { version, images: images? })
    };
    Node::root(&document).required("releases")?.items()?.map(release).collect()
}

fn parse_image(image: &Node<'_>) -> Result<Option<(Arch, PinnedImage)>, FormatError> {
    // s390x and ppc64le exist upstream and are not built for.
    let Ok(arch) = image.required("architecture")?.text()?.parse() else { return Ok(None) };
    Ok(Some((arch, image.required("digest-ref")?.parsed()?)))
}

/// Fetches the release index of a stream.
pub async fn fetch_index(
    http: &Http,
    endpoints: &Endpoints,
    stream: Stream,
) -> Result<ReleaseIndex, QueryError> {
    let url = join(&endpoints.coreos, &format!("prod/streams/{stream}/releases.json"));
    let asked = Asked::new(&url, format!("the release index of Fedora CoreOS {stream}"));
    let answer = http.get(&url, &asked).await?;
    let mut releases = parse_releases(answer.json(&asked)?).map_err(|error| error.at(&asked))?;
    if let Some(repository) = endpoints.other_coreos_image() {
        for (_, image) in releases.iter_mut().flat_map(|release| &mut release.images) {
            let moved = image.moved_to(repository);
            *image = moved.map_err(|_| QueryError::InvalidReference {
                reference: repository.to_owned(),
                reason: "it is no name of an image repository".to_owned(),
            })?;
        }
    }
    Ok(ReleaseIndex { stream, releases, asked })
}

/// The newest release of a stream and its kernel.
///
/// [`QueryError::KernelUnknown`] if no document names the kernel; the image itself can be asked then.
pub async fn fetch(
    http: &Http,
    endpoints: &Endpoints,
    stream: Stream,
    arch: Arch,
) -> Result<CoreOsRelease, QueryError> {
    let index = fetch_index(http, endpoints, stream).await?;
    fetch_newest(http, endpoints, &index, arch).await
}

/// Like [`fetch`], with an index that is at hand: one index serves every architecture.
pub async fn fetch_newest(
    http: &Http,
    endpoints: &Endpoints,
    index: &ReleaseIndex,
    arch: Arch,
) -> Result<CoreOsRelease, QueryError> {
    let (release, image) = index.newest(arch)?;
    let (stream, version) = (index.stream, release.version);
    let folder = join(&endpoints.coreos, &format!("prod/streams/{stream}/builds/{version}/{arch}"));
    let mut tried = Vec::new();
    let Some((kernel, kernel_source)) = detect_kernel(http, &folder, image, arch, &mut tried).await? else {
        let unknown = KernelUnknown::new(image.clone(), arch, tried).of(stream, version);
        return Err(QueryError::KernelUnknown(Box::new(unknown)));
    };
    let (fedora, image) = (version.fedora(), image.clone());
    Ok(CoreOsRelease { stream, version, arch, fedora, image, kernel, kernel_source })
}

/// Each way is taken only if the one before leads to nothing. A failure to ask is no such answer:
/// otherwise a server in trouble would silently change how kernels are found.
async fn detect_kernel(
    http: &Http,
    folder: &str,
    image: &PinnedImage,
    arch: Arch,
    tried: &mut Vec<Asked>,
) -> Result<Option<(KernelRelease, KernelSource)>, QueryError> {
    let url = format!("{folder}/commitmeta.json");
    let asked = Asked::new(&url, "the metadata of the build, with `ostree.linux`");
    let found = kernel_in(http, &url, &asked, |text| parse_commit_meta(text, arch)).await?;
    if found.is_some() {
        return Ok(found);
    }
    tried.push(asked);

    let url = format!("{folder}/manifest-lock.generated.{arch}.json");
    let asked = Asked::new(&url, "the package lock of the build, with `packages.kernel`");
    if let Some(kernel) = kernel_in(http, &url, &asked, |text| parse_lockfile(text, arch)).await? {
        return Ok(Some((kernel, KernelSource::Lockfile)));
    }
    tried.push(asked);

    let reference = image.to_string();
    match Registry::new(http, Credentials::default()).resolve(&reference, arch).await {
        Ok(resolved) => {
            if let Some(kernel) = resolved.kernel()? {
                return Ok(Some((kernel, KernelSource::ImageLabel)));
            }
        }
        // Old versions are deleted from the registry; the caller learns it from `tried`.
        Err(QueryError::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    tried.push(Asked::new(&reference, "the image's label `ostree.linux`"));
    Ok(None)
}

/// The documents of a build are settled: a build that is mended gets another version.
async fn kernel_in<T>(
    http: &Http,
    url: &str,
    asked: &Asked,
    parse: impl Fn(&str) -> Result<Option<T>, FormatError>,
) -> Result<Option<T>, QueryError> {
    let read = |answer: crate::http::Answer| parse(answer.json(asked)?).map_err(|error| error.at(asked));
    let missing = |error: QueryError| if error.is_missing_object() { Ok(None) } else { Err(error) };
    let settled = match http.get_settled(url, asked).await {
        Ok(answer) => read(answer),
        Err(error) => return missing(error),
    };
    match settled {
        Ok(found) => Ok(found),
        // What was kept may be what a server in trouble said: asked once more.
        Err(_) => match http.get(url, asked).await {
            Ok(answer) => read(answer),
            Err(error) => missing(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = include_str!("../tests/fixtures/coreos-releases.json");

    fn index(text: &str) -> ReleaseIndex {
        let releases = parse_releases(text).unwrap();
        ReleaseIndex { stream: Stream::Stable, releases, asked: Asked::new("http://x", "x") }
    }

    #[test]
    fn the_newest_is_found_by_version_among_those_with_an_image() {
        let index = index(INDEX);
        assert_eq!(index.releases.len(), 5);
        let (release, image) = index.newest(Arch::X86_64).unwrap();
        assert_eq!(release.version.to_string(), "43.20260301.3.1");
        assert!(image.to_string().starts_with("quay.io/fedora/fedora-coreos@sha256:1111"));
        let (release, _) = index.newest(Arch::Aarch64).unwrap();
        assert_eq!(release.version.to_string(), "43.20260215.3.0", "the newest has no image for aarch64");
    }

    #[test]
    fn an_index_without_images_is_an_error_of_its_own() {
        let index = index(r#"{"releases": [{"version": "41.20241001.3.0"}]}"#);
        assert!(matches!(index.newest(Arch::X86_64), Err(QueryError::NoImage { .. })));
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        assert_eq!(parse_releases(text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_wrong_with_an_index_is_said() {
        check_error("{}", "the field `releases` is missing");
        check_error(r#"{"releases": {}}"#, "the field `releases` is unusable: expected a list");
        check_error(r#"{"releases": [{}]}"#, "the field `releases[0].version` is missing");
        check_error(
            r#"{"releases": [{"version": "43.20260301.3.1", "oci-images": [{"architecture": "x86_64"}]}]}"#,
            "the field `releases[0].oci-images[0].digest-ref` is missing",
        );
        check_error(
            r#"{"releases": [{"version": "43"}]}"#,
            "the field `releases[0].version` is unusable: `43` is not a version of Fedora CoreOS (expected e.g. `43.20260301.3.1`)",
        );
        check_error(&INDEX[..200], "the JSON is cut off at line 7, column 3");
    }
}
