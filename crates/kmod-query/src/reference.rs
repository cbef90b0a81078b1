//! Image names: a repository or an OCI layout directory, with a tag or a digest.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::digest::Digest;
use crate::serde_as_text;

/// Up to 128 of `[A-Za-z0-9_.-]`, not beginning with `.` or `-` (OCI distribution specification, "Pulling
/// manifests").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Tag {
    type Err = ParseImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let valid = text.len() <= 128
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
        valid.then(|| Self(text.to_owned())).ok_or_else(|| ParseImageRefError::new(text, "invalid tag"))
    }
}

serde_as_text!(Tag);

/// `ghcr.io/owner/zfs-kmods`. The host is required; `docker.io` is never assumed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    host: String,
    path: String,
}

impl Repository {
    /// Host and optional port: `ghcr.io`, `127.0.0.1:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path after the host: `owner/zfs-kmods`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Plain HTTP is used for loopback hosts only.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether a URL's authority (`localhost:5000`, `[::1]`) is this machine.
pub fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl FromStr for Repository {
    type Err = ParseImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| ParseImageRefError::new(text, reason);
        let name = text.strip_prefix("docker://").unwrap_or(text);
        // Short names are ambiguous. A host is recognised as in the reference clients.
        let (host, path) = name
            .split_once('/')
            .filter(|(host, _)| host.contains(['.', ':']) || *host == "localhost")
            .ok_or_else(|| fail("the registry's host is missing"))?;
        if !is_host(host) {
            return Err(fail("invalid registry host"));
        }
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_component = |part: &str| {
            part.starts_with(|first: char| first.is_ascii() && alphanumeric(first as u8))
                && part.ends_with(|last: char| last.is_ascii() && alphanumeric(last as u8))
                && part.bytes().all(|byte| alphanumeric(byte) || b"._-".contains(&byte))
        };
        if !path.split('/').all(is_component) || name.len() > 255 {
            return Err(fail("invalid repository name"));
        }
        Ok(Self { host: host.to_owned(), path: path.to_owned() })
    }
}

serde_as_text!(Repository);

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_address = || {
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
    };
    port.is_none_or(|port| port.parse::<u16>().is_ok()) && (name.split('.').all(is_label) || is_address())
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageLocation {
    /// `oci:DIR` (OCI image specification, `image-layout.md`).
    Layout(PathBuf),
    /// `docker://host/name`.
    Registry(Repository),
}

impl fmt::Display for ImageLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(directory) => write!(f, "oci:{}", directory.display()),
            Self::Registry(repository) => write!(f, "docker://{repository}"),
        }
    }
}

impl FromStr for ImageLocation {
    type Err = ParseImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name: ImageRef = text.parse()?;
        match name.tag_or_digest {
            None => Ok(name.store),
            Some(_) => Err(ParseImageRefError::new(text, "a tag or digest is not allowed here")),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagOrDigest {
    Tag(Tag),
    Digest(Digest),
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// An image on the command line: `[docker://]host/name[:TAG|@DIGEST]` or `oci:DIR[:TAG|@DIGEST]`.
///
/// A digest takes precedence over a tag. Without either, a layout must have a single image; a registry has no default
/// tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    pub store: ImageLocation,
    pub tag_or_digest: Option<TagOrDigest>,
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)?;
        match &self.tag_or_digest {
            None => Ok(()),
            Some(TagOrDigest::Tag(tag)) => write!(f, ":{tag}"),
            Some(TagOrDigest::Digest(digest)) => write!(f, "@{digest}"),
        }
    }
}

impl FromStr for ImageRef {
    type Err = ParseImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| ParseImageRefError::new(text, reason);
        let layout = text.strip_prefix("oci:");
        let rest = layout.or(text.strip_prefix("docker://")).unwrap_or(text);
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => {
                (name, Some(digest.parse().map_err(|_| fail("what follows `@` is not a sha256 digest"))?))
            }
            None => (rest, None),
        };
        let (name, tag) = match name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            // `oci:DIR:TAG@DIGEST` is not supported; a directory may have `:` in its name.
            Some((name, tag)) if layout.is_none() || digest.is_none() => {
                (name, Some(tag.parse().map_err(|_| fail("what follows the last `:` is not a tag"))?))
            }
            _ => (name, None),
        };
        let store = match layout {
            Some(_) if name.is_empty() => return Err(fail("the directory is missing")),
            Some(_) => ImageLocation::Layout(name.into()),
            None => {
                ImageLocation::Registry(name.parse().map_err(|error: ParseImageRefError| fail(error.reason))?)
            }
        };
        Ok(Self { store, tag_or_digest: digest.map(TagOrDigest::Digest).or(tag.map(TagOrDigest::Tag)) })
    }
}

const NO_DIGEST: &str = "a digest is required, because tags move; `zfs-kmods attestations IMAGE` prints the digest in its last line";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestRef<Location = ImageLocation> {
    pub store: Location,
    pub digest: Digest,
}

/// `host/name@sha256:…`.
pub type PinnedImage = DigestRef<Repository>;

impl<Location: fmt::Display> fmt::Display for DigestRef<Location> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.store, self.digest)
    }
}

impl FromStr for DigestRef {
    type Err = ParseImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ImageRef { store, tag_or_digest } = text.parse()?;
        match tag_or_digest {
            Some(TagOrDigest::Digest(digest)) => Ok(Self { store, digest }),
            _ => Err(ParseImageRefError::new(text, NO_DIGEST)),
        }
    }
}

impl FromStr for PinnedImage {
    type Err = ParseImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<DigestRef>()? {
            DigestRef { store: ImageLocation::Registry(store), digest } => Ok(Self { store, digest }),
            DigestRef { store: ImageLocation::Layout(_), .. } => {
                Err(ParseImageRefError::new(text, "an image in a registry is required"))
            }
        }
    }
}

impl From<PinnedImage> for ImageRef {
    fn from(image: PinnedImage) -> Self {
        let tag_or_digest = Some(TagOrDigest::Digest(image.digest));
        Self { store: ImageLocation::Registry(image.store), tag_or_digest }
    }
}

serde_as_text!(DigestRef);
serde_as_text!(PinnedImage);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` does not name an image: {reason} (expected `host/name[:TAG|@DIGEST]`, with `docker://` before it or not, \
     or `oci:DIR[:TAG|@DIGEST]`)"
)]
pub struct ParseImageRefError {
    text: String,
    reason: &'static str,
}

impl ParseImageRefError {
    fn new(text: &str, reason: &'static str) -> Self {
        Self { text: text.to_owned(), reason }
    }

    pub(crate) fn incomplete(image: &ImageRef) -> Self {
        Self::new(&image.to_string(), "an image in a registry with a tag or digest is required")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_printed_as_they_are_parsed() {
        let digest = Digest::of(b"");
        for text in [
            "oci:./images".to_owned(),
            "oci:images:zfs-2.4.3_kernel-6.12.1-200.fc43.x86_64".to_owned(),
            format!("oci:/var/images@{digest}"),
            "docker://ghcr.io/owner/zfs-kmods:stable".to_owned(),
            "docker://127.0.0.1:5000/zfs-kmods".to_owned(),
            "docker://[::1]:5000/zfs-kmods:x".to_owned(),
            format!("docker://ghcr.io/owner/zfs-kmods@{digest}"),
        ] {
            let image: ImageRef = text.parse().unwrap();
            assert_eq!(image.to_string(), text);
            let bare = text.trim_start_matches("docker://");
            assert_eq!(bare.parse::<ImageRef>().unwrap(), image, "the transport may be left out");
        }
    }

    #[test]
    fn exact_images_are_named_by_digest() {
        let text = format!("docker://ghcr.io/owner/zfs-kmods@{}", Digest::of(b""));
        assert_eq!(text.parse::<DigestRef>().unwrap().to_string(), text);
        let by_tag = "docker://ghcr.io/owner/zfs-kmods:stable".parse::<DigestRef>();
        assert_eq!(by_tag.unwrap_err().reason, NO_DIGEST);
        assert!("docker://ghcr.io/owner/zfs-kmods".parse::<DigestRef>().is_err());
        assert_ne!("zfs-kmods".parse::<DigestRef>().unwrap_err().reason, NO_DIGEST);
    }

    #[test]
    fn a_pinned_image_is_in_a_registry_and_has_a_digest() {
        let digest = Digest::of(b"");
        let image: PinnedImage = format!("quay.io/fedora/fedora-coreos:stable@{digest}").parse().unwrap();
        assert_eq!(image.to_string(), format!("quay.io/fedora/fedora-coreos@{digest}"));
        for text in ["", "quay.io/x:stable", "quay.io/x@sha256:12", "x y", &format!("oci:images@{digest}")] {
            assert!(text.parse::<PinnedImage>().is_err(), "{text}");
        }
    }

    #[test]
    fn invalid_references_are_rejected() {
        for text in [
            "",
            "images",
            "./images",
            "../my.images/x",
            "dir/inputs.json",
            "fedora:43",
            "library/fedora",
            "oci:",
            "oci-archive:x/y",
            "docker://",
            "docker://zfs-kmods",
            "docker://ghcr.io/Owner/x",
            "ghcr.io:port/x",
            "ghcr.io/x y",
            "https://ghcr.io/x",
            "oci:d:.x",
            "oci:d@sha256:0",
        ] {
            assert!(text.parse::<ImageRef>().is_err(), "{text}");
        }
        assert!("oci:images:tag".parse::<ImageLocation>().is_err());
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for loopback in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"] {
            assert!(is_loopback(loopback), "{loopback}");
        }
        for other in
            ["quay.io", "localhost.example.org:5000", "10.0.0.1:5000", "127.0.0.1.example.org", "[::2]:1"]
        {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
