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
        let fail = || ParsePinnedImageError(text.to_owned());
        let reference: Reference = text.parse().map_err(|_| fail())?;
        let digest = reference.digest().filter(|digest| is_sha256(digest)).ok_or_else(fail)?;
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        Ok(Self { repository, digest: digest.to_owned() })
    }
}

serde_as_text!(PinnedImage);

pub(crate) fn is_sha256(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(is_sha256_hex)
}

pub(crate) fn is_sha256_hex(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

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
