use std::fmt;
use std::str::FromStr;

use oci_client::Reference;

use crate::serde_as_text;

/// An image named by its digest, so that it cannot become another one: `repository@sha256:<64 hex digits>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PinnedImage {
    repository: String,
    digest: String,
}

impl PinnedImage {
    /// Registry and repository, without tag or digest.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `sha256:` and 64 hex digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The same content in another repository.
    pub(crate) fn moved_to(&self, repository: &str) -> Result<Self, ParsePinnedImageError> {
        format!("{repository}@{}", self.digest).parse()
    }

    pub(crate) fn new(reference: &Reference, digest: &str) -> Result<Self, ParsePinnedImageError> {
        format!("{}/{}@{digest}", reference.registry(), reference.repository()).parse()
    }
}

impl fmt::Display for PinnedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

/// The text is no reference with a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` does not name an image by its digest (expected e.g. `quay.io/fedora/fedora-coreos@sha256:<64 hex digits>`)"
)]
pub struct ParsePinnedImageError(String);

impl FromStr for PinnedImage {
    type Err = ParsePinnedImageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(image) = in_full(text) {
            return Ok(image);
        }
        let fail = || ParsePinnedImageError(text.to_owned());
        let reference: Reference = text.parse().map_err(|_| fail())?;
        let digest = reference.digest().filter(|digest| is_sha256(digest)).ok_or_else(fail)?;
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        Ok(Self { repository, digest: digest.to_owned() })
    }
}

serde_as_text!(PinnedImage);

/// Reads a name as Fedora and this program write it: host, path and digest in full, nothing unusual in any of them.
///
/// The library compiles a regular expression before it reads its first reference, which takes longer than all else
/// that a run with nothing to do computes. What is not plainly in this form is left to it.
fn in_full(text: &str) -> Option<PinnedImage> {
    let (repository, digest) = text.split_once('@')?;
    let (host, path) = repository.split_once('/')?;
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let words = |text: &str, separators: &[char]| {
        text.split(separators).all(|word| {
            !word.is_empty() && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
        })
    };
    let plain = (name.contains('.') || host.contains(':'))
        && words(name, &['.', '-'])
        && port.len() <= 5
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && !port.is_empty()
        && path.split('/').all(|part| words(part, &['.', '-']))
        // Longer ones are refused by the library.
        && repository.len() <= 255
        // Docker Hub's names have other forms in full.
        && !name.ends_with("docker.io")
        && is_sha256(digest);
    plain.then(|| PinnedImage { repository: repository.to_owned(), digest: digest.to_owned() })
}

pub(crate) fn is_sha256(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(is_sha256_hex)
}

pub(crate) fn is_sha256_hex(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The short way never reads anything else than the library does.
        #[test]
        fn the_library_agrees(
            host in "[a-z0-9.:-]{1,12}|docker.io|index.docker.io|quay.io|localhost",
            path in "[a-z0-9._/-]{1,20}",
            digest in "(0a){32}|(0A){32}|(0a){31}",
        ) {
            let text = format!("{host}/{path}@sha256:{digest}");
            if let Some(image) = in_full(&text) {
                let reference: Reference = text.parse().unwrap();
                prop_assert_eq!(image.repository(), format!("{}/{}", reference.registry(), reference.repository()));
                prop_assert_eq!(Some(image.digest()), reference.digest());
            }
        }
    }

    #[test]
    fn what_is_written_in_full_takes_the_short_way() {
        for repository in
            ["quay.io/fedora/fedora-coreos", "127.0.0.1:5855/fedora/fedora", "ghcr.io/owner/zfs-kmods"]
        {
            assert!(in_full(&format!("{repository}@sha256:{}", "0a".repeat(32))).is_some(), "{repository}");
        }
    }

    #[test]
    fn only_a_digest_pins() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let image: PinnedImage = format!("quay.io/fedora/fedora-coreos:stable@{digest}").parse().unwrap();
        assert_eq!(image.to_string(), format!("quay.io/fedora/fedora-coreos@{digest}"));
        assert_eq!(
            image.moved_to("127.0.0.1:5000/x").unwrap().to_string(),
            format!("127.0.0.1:5000/x@{digest}")
        );
        for text in ["", "quay.io/fedora/fedora-coreos:stable", "quay.io/x@sha256:12", "x y"] {
            assert!(text.parse::<PinnedImage>().is_err(), "{text}");
        }
    }
}
