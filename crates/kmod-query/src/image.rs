//! Images in registries: what a name stands for right now, and what the image says of itself.
//!
//! Speaks the [OCI distribution protocol](https://github.com/opencontainers/distribution-spec). Only
//! manifests and configurations are read, never layers. Names and the token flow are oci-client's; the
//! requests go through [`Http`](crate::Http), because oci-client neither bounds bodies nor honours `Retry-After`, and
//! takes a failing token endpoint for an anonymous login.

mod registry;

use std::collections::BTreeMap;

use jiff::Timestamp;
use kmod_compat::{Arch, FedoraVersion, KernelRelease};
use oci_client::Reference;
use secrecy::SecretString;

use crate::coreos::{KernelSource, KernelUnknown};
use crate::document::{self, Node};
use crate::{Asked, FormatError, PinnedImage, QueryError};

pub use registry::Registry;
pub(crate) use registry::is_loopback;

/// Who asks a registry. Wherever it was found: files and environment are the caller's.
#[derive(Clone, Debug, Default)]
pub enum Credential {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A user with a password or an access token.
    Basic {
        /// The user.
        username: String,
        /// The password or token.
        password: SecretString,
    },
    /// A token that the registry itself issued.
    Bearer(SecretString),
}

/// Who asks which registry. A registry that is not in it is asked anonymously, so that no credential goes
/// anywhere but where it belongs.
#[derive(Clone, Debug, Default)]
pub struct Credentials(BTreeMap<String, Credential>);

impl Credentials {
    /// For a registry, by its name in references: `quay.io`, `localhost:5000`.
    #[must_use]
    pub fn with(mut self, registry: &str, credential: Credential) -> Self {
        self.0.insert(registry.to_owned(), credential);
        self
    }

    fn of(&self, reference: &Reference) -> &Credential {
        self.0.get(reference.registry()).unwrap_or(&Credential::Anonymous)
    }
}

/// An image for one architecture, as it is in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The image itself: of an index, the manifest for the architecture.
    pub image: PinnedImage,
    /// The architecture.
    pub arch: Arch,
    /// The labels of its configuration.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// An image to build for that was named by the user rather than by a stream.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BaseImage {
    /// The image, by digest.
    pub image: PinnedImage,
    /// The architecture.
    pub arch: Arch,
    /// The release of Fedora that it is made of, if kernel or version tell.
    pub fedora: Option<FedoraVersion>,
    /// The version that its labels name.
    pub version: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The kernel in it.
    pub kernel: KernelRelease,
    /// Where the kernel was found.
    pub kernel_source: KernelSource,
}

impl ResolvedImage {
    /// The kernel that the label `ostree.linux` names.
    ///
    /// Images of Fedora CoreOS have lost it with Fedora 43; uCore, Kinoite and others carry it.
    pub fn kernel(&self) -> Result<Option<KernelRelease>, QueryError> {
        let Some(text) = self.labels.get("ostree.linux") else { return Ok(None) };
        let invalid = |reason: String| QueryError::InvalidField {
            asked: Asked::new(&self.image.to_string(), "the image's labels"),
            field: "ostree.linux".to_owned(),
            reason,
        };
        let kernel: KernelRelease = text.parse().map_err(|error| invalid(format!("{error}")))?;
        if kernel.arch() == self.arch {
            Ok(Some(kernel))
        } else {
            Err(invalid(format!("`{kernel}` is not for {}", self.arch)))
        }
    }

    /// The version that the labels name, by the present or the former name of the label.
    pub fn version(&self) -> Option<&str> {
        let names = ["org.opencontainers.image.version", "version"];
        names.into_iter().find_map(|name| self.labels.get(name)).map(String::as_str)
    }

    /// This image as something to build for. [`QueryError::KernelUnknown`] if it does not name its kernel.
    pub fn into_base(self) -> Result<BaseImage, QueryError> {
        let kernel = self.kernel()?;
        let version = self.version().map(str::to_owned);
        let Self { image, arch, created, .. } = self;
        let Some(kernel) = kernel else {
            let tried = vec![Asked::new(&image.to_string(), "the image's label `ostree.linux`")];
            let unknown = KernelUnknown::new(image, arch, tried).labelled(version, created);
            return Err(QueryError::KernelUnknown(Box::new(unknown)));
        };
        let fedora = crate::coreos::fedora_of(&kernel, version.as_deref());
        Ok(BaseImage {
            image,
            arch,
            fedora,
            version,
            created,
            kernel,
            kernel_source: KernelSource::ImageLabel,
        })
    }
}

fn read<T>(
    body: &[u8],
    asked: &Asked,
    from: impl FnOnce(&Node<'_>) -> Result<T, FormatError>,
) -> Result<T, QueryError> {
    let text = String::from_utf8_lossy(body);
    document::parse(&text).and_then(|value| from(&Node::root(&value))).map_err(|error| error.at(asked))
}

/// What the bytes behind a reference are.
#[derive(Debug, PartialEq, Eq)]
enum Manifest {
    /// An image: the digest of its configuration.
    Image(String),
    /// A list of images for several platforms: the digest of the one for the architecture, if there is one.
    Index(Option<String>),
}

/// Reads a manifest or an index, in OCI's or in Docker's format: what matters is the same in both.
fn parse_manifest(root: &Node<'_>, arch: Arch) -> Result<Manifest, FormatError> {
    let Some(manifests) = root.optional("manifests") else {
        let config = root.required("config")?.required("digest")?.text()?;
        return Ok(Manifest::Image(config.to_owned()));
    };
    for entry in manifests.items()? {
        let Some(platform) = entry.optional("platform") else { continue };
        // Attestations stand in the same list, for the platform `unknown/unknown`.
        let word = |key| platform.optional(key).and_then(|word| word.text().ok());
        if word("os") == Some("linux") && word("architecture") == Some(arch.oci()) {
            return Ok(Manifest::Index(Some(entry.required("digest")?.text()?.to_owned())));
        }
    }
    Ok(Manifest::Index(None))
}

type Config = (String, BTreeMap<String, String>, Option<Timestamp>);

/// Reads an [image configuration](https://github.com/opencontainers/image-spec/blob/main/config.md).
fn parse_config(root: &Node<'_>) -> Result<Config, FormatError> {
    let arch = root.required("architecture")?.text()?.to_owned();
    let created = root.optional("created").map(|created| created.parsed()).transpose()?;
    let labels = match root.optional("config").and_then(|config| config.optional("Labels")) {
        Some(labels) => {
            let label = |(name, value): (&str, Node<'_>)| Ok((name.to_owned(), value.text()?.to_owned()));
            labels.members()?.map(label).collect::<Result<_, FormatError>>()?
        }
        None => BTreeMap::new(),
    };
    Ok((arch, labels, created))
}

#[cfg(test)]
mod tests;
