//! How images are named: a store, and a tag or a digest in it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Digest;

/// A tag as OCI allows it: up to 128 of `[A-Za-z0-9_.-]`, not beginning with `.` or `-`
/// (OCI distribution specification, "Pulling manifests").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

impl Tag {
    /// The tag's text.
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
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseImageRefError::new(text, "the tag has a character that no tag may have"))
        }
    }
}

impl TryFrom<String> for Tag {
    type Error = ParseImageRefError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0
    }
}

/// A repository in a registry: `ghcr.io/owner/zfs-kmods`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    host: String,
    path: String,
}

impl Repository {
    /// Host and, where named, port: `ghcr.io`, `127.0.0.1:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What follows the host: `owner/zfs-kmods`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the host is this machine, the only case in which plain HTTP is spoken.
    pub fn is_loopback(&self) -> bool {
        let name = match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &self.host,
        };
        name == "localhost"
            || name
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
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
        let (host, path) = text.split_once('/').ok_or_else(|| fail("a repository is `host/name`"))?;
        // Short names would be guessed by each client differently; a host is recognised as the reference clients do.
        if !(host.contains(['.', ':']) || host == "localhost") {
            return Err(fail("it must begin with the registry's host, such as `ghcr.io/`"));
        }
        let host_ok = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
        let path_ok = path.split('/').all(|part| {
            let word = |byte: Option<u8>| {
                byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            };
            word(part.bytes().next())
                && word(part.bytes().last())
                && part.bytes().all(|byte| word(Some(byte)) || b"._-".contains(&byte))
        });
        match (host_ok, path_ok) {
            (true, true) => Ok(Self { host: host.to_owned(), path: path.to_owned() }),
            (false, _) => Err(fail("the host has a character that no host may have")),
            (_, false) => {
                Err(fail("a repository's name is of lower-case letters, digits, `.`, `_`, `-` and `/`"))
            }
        }
    }
}

/// Where images are kept: an OCI image layout directory, or a repository in a registry.
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
            Some(_) => Err(ParseImageRefError::new(text, "a store is named without a tag or digest")),
        }
    }
}

/// Which image of a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagOrDigest {
    /// Whatever the tag points to at the moment.
    Tag(Tag),
    /// Exactly this image.
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

/// An image as a person names it: `oci:DIR[:TAG|@DIGEST]` or `docker://host/name[:TAG|@DIGEST]`.
///
/// Without a tag or digest, a layout means its only image; a registry refuses (no `latest` is guessed).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    /// Where the image is.
    pub store: ImageLocation,
    /// Which one it is.
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
        let (is_layout, rest) = match (text.strip_prefix("oci:"), text.strip_prefix("docker://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(fail("it begins with neither `oci:` nor `docker://`")),
        };
        let (name, tag_or_digest) = if let Some((name, digest)) = rest.split_once('@') {
            let digest = digest.parse().map_err(|_| fail("what follows `@` is not a sha256 digest"))?;
            (name, Some(TagOrDigest::Digest(digest)))
        } else if let Some((name, tag)) = rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            (
                name,
                Some(TagOrDigest::Tag(
                    tag.parse().map_err(|_| fail("what follows the last `:` is not a tag"))?,
                )),
            )
        } else {
            (rest, None)
        };
        if name.is_empty() {
            return Err(fail("nothing names the store"));
        }
        let store = if is_layout {
            ImageLocation::Layout(name.into())
        } else {
            ImageLocation::Registry(name.parse()?)
        };
        Ok(Self { store, tag_or_digest })
    }
}

/// One exact image: what attesting, promoting and deleting act on, never a tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestRef {
    /// Where the image is.
    pub store: ImageLocation,
    /// The digest of its manifest.
    pub digest: Digest,
}

impl fmt::Display for DigestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.store, self.digest)
    }
}

impl FromStr for DigestRef {
    type Err = ParseDigestRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ImageRef { store, tag_or_digest } = text.parse()?;
        match tag_or_digest {
            Some(TagOrDigest::Digest(digest)) => Ok(Self { store, digest }),
            _ => Err(ParseDigestRefError::ByTag { text: text.to_owned(), store }),
        }
    }
}

impl Serialize for DigestRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text names no exact image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestRefError {
    /// It names none at all.
    #[error(transparent)]
    NoImage(#[from] ParseImageRefError),
    /// It names one by something that may point elsewhere a moment later.
    #[error(
        "`{text}` names an image by tag, and tags move: say {store}@DIGEST (`zfs-kmods attestations {text}` shows the \
         digest in its last line)"
    )]
    ByTag {
        /// What was given.
        text: String,
        /// The store in it.
        store: ImageLocation,
    },
}

/// The text names no image, store, repository or tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` does not name an image: {reason} (expected `oci:DIR[:TAG]` or `docker://host/name[:TAG|@DIGEST]`)"
)]
pub struct ParseImageRefError {
    text: String,
    reason: &'static str,
}

impl ParseImageRefError {
    fn new(text: &str, reason: &'static str) -> Self {
        Self { text: text.to_owned(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_being_written_and_read() {
        let digest = Digest::of(b"");
        for text in [
            "oci:./images".to_owned(),
            "oci:images:zfs-2.4.3_kernel-6.12.1-200.fc43.x86_64".to_owned(),
            format!("oci:/var/images@{digest}"),
            "docker://ghcr.io/owner/zfs-kmods:stable".to_owned(),
            "docker://127.0.0.1:5000/zfs-kmods".to_owned(),
            format!("docker://ghcr.io/owner/zfs-kmods@{digest}"),
        ] {
            assert_eq!(text.parse::<ImageRef>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn exact_images_are_named_by_digest() {
        let text = format!("docker://ghcr.io/owner/zfs-kmods@{}", Digest::of(b""));
        assert_eq!(text.parse::<DigestRef>().unwrap().to_string(), text);
        let by_tag = "docker://ghcr.io/owner/zfs-kmods:stable".parse::<DigestRef>();
        assert!(matches!(by_tag, Err(ParseDigestRefError::ByTag { .. })), "{by_tag:?}");
        assert!("docker://ghcr.io/owner/zfs-kmods".parse::<DigestRef>().is_err());
        assert!(matches!("zfs-kmods".parse::<DigestRef>(), Err(ParseDigestRefError::NoImage(_))));
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for text in [
            "",
            "images",
            "oci:",
            "docker://",
            "docker://zfs-kmods",
            "docker://ghcr.io/Owner/x",
            "oci:d:.x",
            "oci:d@sha256:0",
        ] {
            assert!(text.parse::<ImageRef>().is_err(), "{text}");
        }
        assert!("oci:images:tag".parse::<ImageLocation>().is_err());
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let loopback = |text: &str| text.parse::<Repository>().unwrap().is_loopback();
        assert!(loopback("127.0.0.1:5000/x") && loopback("localhost:5000/x") && loopback("[::1]:5000/x"));
        assert!(
            !loopback("ghcr.io/x") && !loopback("127.0.0.1.example.org/x") && !loopback("10.0.0.1:5000/x")
        );
    }
}
