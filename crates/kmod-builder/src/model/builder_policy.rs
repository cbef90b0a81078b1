//! Which images builds may run in.

use std::str::FromStr;

use super::image::{ImageLocation, ImageRef, ParseImageRefError, PinnedImage, Repository, TagOrDigest};

/// Fedora's own repositories.
const DEFAULT: [&str; 2] = ["quay.io/fedora/fedora", "registry.fedoraproject.org/fedora"];

/// A repository, or one image in it by digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedBuilder(ImageRef);

impl FromStr for AllowedBuilder {
    type Err = ParseImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A list with commas; empty for an empty text, because workflows pass unset inputs as empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedBuilders(pub Vec<AllowedBuilder>);

impl FromStr for AllowedBuilders {
    type Err = ParseImageRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl AllowedBuilder {
    fn allows(&self, image: &PinnedImage) -> bool {
        let is_repository =
            matches!(&self.0.store, ImageLocation::Registry(repository) if *repository == image.store);
        is_repository
            && match &self.0.tag_or_digest {
                Some(TagOrDigest::Digest(digest)) => *digest == image.digest,
                // A pinned image has no tag.
                Some(TagOrDigest::Tag(_)) | None => true,
            }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderPolicy {
    allowed: Vec<AllowedBuilder>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("the inputs name the builder image {image}, which is not on the list of allowed images")]
#[diagnostic(help(
    "a build runs this image: if you trust {repository}, add `--allow-builder {repository}`; the inputs of an image whose \
     provenance is verified (--public-key, --identity-repo) may name any"
))]
pub struct BuilderNotAllowed {
    image: String,
    repository: Repository,
}

impl BuilderPolicy {
    /// Fedora's repositories, the repository of the configured builder image, and those that the user names.
    pub fn new(configured: &str, named: impl IntoIterator<Item = AllowedBuilder>) -> Self {
        let defaults = DEFAULT.into_iter().chain([configured]);
        let known = defaults.filter_map(|name| name.replace("{fedora}", "0").parse().ok());
        Self { allowed: known.chain(named).collect() }
    }

    pub fn check(&self, image: &PinnedImage) -> Result<(), BuilderNotAllowed> {
        if self.allowed.iter().any(|allowed| allowed.allows(image)) {
            return Ok(());
        }
        Err(BuilderNotAllowed { image: image.to_string(), repository: image.store.clone() })
    }
}

/// How far the inputs of a build are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputsOrigin {
    /// Resolved by this program, or in a file or directory that the user named.
    Local,
    /// In the provenance of an image, which the user's trust policy accepts.
    Verified,
    /// Of an image whose provenance was not verified.
    Unverified,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    fn image(repository: &str) -> PinnedImage {
        format!("{repository}@{}", Digest::of(b"builder")).parse().unwrap()
    }

    #[test]
    fn only_fedora_and_what_the_user_named_is_allowed() {
        let policy = BuilderPolicy::new("mirror.example.org/fedora/fedora:{fedora}", []);
        for allowed in DEFAULT.into_iter().chain(["mirror.example.org/fedora/fedora"]) {
            assert_eq!(policy.check(&image(allowed)), Ok(()), "{allowed}");
        }
        for other in ["quay.io/fedora/fedora-coreos", "quay.io/evil/fedora", "evil.example.org/fedora/fedora"]
        {
            policy.check(&image(other)).unwrap_err();
            let named = BuilderPolicy::new("", [other.parse().unwrap()]);
            assert_eq!(named.check(&image(other)), Ok(()), "{other}");
        }
    }

    #[test]
    fn an_allowed_digest_allows_only_that_image() {
        let repository = "registry.example.org/fedora";
        let named =
            |digest: &Digest| BuilderPolicy::new("", [format!("{repository}@{digest}").parse().unwrap()]);
        assert_eq!(named(&Digest::of(b"builder")).check(&image(repository)), Ok(()));
        named(&Digest::of(b"another")).check(&image(repository)).unwrap_err();
    }
}
