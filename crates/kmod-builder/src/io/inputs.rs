//! Finds the inputs that an image was built from.

use std::path::{Path, PathBuf};

use super::image_rpms::{ImageRpms, ImageRpmsError};
use super::layout::{Layout, LayoutError};
use super::registry::{Registry, RegistryError};
use super::store::ImageStore;
use super::{atomic_file, evidence};
use crate::model::evidence::verify::{TrustPolicy, proven_inputs};
use crate::model::image::{DigestRef, ImageRef, TagOrDigest};
use crate::model::inputs::{BuildInputs, ParseInputsError};
use crate::model::oci::Manifest;
use crate::model::verify::CheckStatus;
use crate::model::{Digest, Target, compose};

/// Bytes. Our inputs have about 1 KiB.
const LARGEST: u64 = 1 << 20;

/// Finds an image and reads its inputs.
///
/// The image's label holds the digest of the inputs. A registry provides them by that digest, a directory as the file
/// that `build` wrote. With a trust policy, they are read from the signed provenance, and all required evidence must be
/// valid.
pub async fn of(
    images: &ImageStore,
    name: &ImageRef,
    trust: Option<&TrustPolicy>,
) -> Result<(DigestRef, BuildInputs), InputsError> {
    let contents = ImageRpms::open(images, name).await?;
    let image = contents.image();
    let label: Option<Digest> = contents.labels().get(compose::INPUTS).and_then(|label| label.parse().ok());
    let label = label.ok_or_else(|| InputsError::NoLabel(image.clone()))?;
    let inputs = match (images, trust) {
        (ImageStore::Registry(registry), None) => attached(registry, image, &label).await?,
        (ImageStore::Registry(registry), Some(trust)) => {
            let attached = evidence::stored_evidence(registry, &image.digest).await;
            proven_inputs(&image.digest, &attached, trust).map_err(|outcome| InputsError::Unproven {
                image: image.clone(),
                reason: outcome.reason().unwrap_or_default().to_owned(),
                unknown: matches!(outcome, CheckStatus::Unknown(_)),
            })?
        }
        (ImageStore::Layout(layout), None) => {
            let target = compose::target(contents.labels());
            let target = target.ok_or_else(|| InputsError::NoLabel(image.clone()))?;
            read(&file(layout.directory(), &target))?
        }
        (ImageStore::Layout(_), Some(_)) => return Err(InputsError::NoEvidence(image.clone())),
    };
    if inputs.digest() != label {
        let (image, found) = (image.clone(), inputs.digest());
        return Err(InputsError::Other { image, label, found });
    }
    Ok((image.clone(), inputs))
}

/// The inputs file of a target's image in a directory.
pub fn file(directory: &Path, target: &Target) -> PathBuf {
    directory.join(format!("{}.inputs.json", target.tag()))
}

/// The image with the target's tag in a directory, if it was built from these inputs.
pub fn image_of(directory: &Path, inputs: &BuildInputs) -> Result<Option<Digest>, LayoutError> {
    if !directory.join("oci-layout").exists() {
        return Ok(None);
    }
    let stored = Layout::open(directory)?.manifest(&TagOrDigest::Tag(inputs.target().tag()))?;
    Ok(stored
        .filter(|(_, bytes)| {
            let manifest = Manifest::parse(bytes).ok();
            let label = manifest.and_then(|manifest| manifest.annotations.get(compose::INPUTS).cloned());
            label.as_deref() == Some(inputs.digest().as_str())
        })
        .map(|(digest, _)| digest))
}

/// Writes the file beside the image.
pub fn write(path: &Path, inputs: &BuildInputs) -> std::io::Result<()> {
    atomic_file::write(path, format!("{}\n", inputs.canonical_json()))
}

pub fn read(path: &Path) -> Result<BuildInputs, InputsError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| InputsError::Io { path: path.to_owned(), error })?;
    let place = path.display().to_string();
    BuildInputs::parse(&text).map_err(|error| InputsError::Malformed { place, error })
}

pub fn standard_input() -> std::io::Result<String> {
    std::io::read_to_string(std::io::stdin().lock())
}

/// Reads the inputs by the digest on the image's label.
async fn attached(
    registry: &Registry,
    image: &DigestRef,
    label: &Digest,
) -> Result<BuildInputs, InputsError> {
    let Some(bytes) = registry.small_blob(label, LARGEST).await? else {
        return Err(InputsError::NotAttached { image: image.clone(), label: label.clone() });
    };
    BuildInputs::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|error| InputsError::Malformed { place: format!("the inputs of {image}"), error })
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum InputsError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    ImageRpms(#[from] ImageRpmsError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] RegistryError),
    #[error("{0} has no label that says what it was built from")]
    #[diagnostic(help("zfs-kmods puts one on every image that it builds"))]
    NoLabel(DigestRef),
    #[error("the inputs {label}, from which {image} was built, are not in its repository")]
    #[diagnostic(help(
        "`publish` attaches them: publish the image again, or copy it with what refers to it (`cosign copy`, \
         `oras copy --recursive`)"
    ))]
    NotAttached {
        image: DigestRef,
        /// The digest on the image's label.
        label: Digest,
    },
    #[error("{place}: {error}")]
    #[diagnostic(help("`plan --format json` and every build write such a file"))]
    Malformed {
        /// A file, or "the inputs of" an image.
        place: String,
        error: ParseInputsError,
    },
    #[error("the inputs at hand have the digest {found}, but {image} says that it was built from {label}")]
    #[diagnostic(help("nothing is built from inputs that are not the image's own"))]
    Other {
        image: DigestRef,
        /// The digest on the image's label.
        label: Digest,
        found: Digest,
    },
    #[error("the provenance of {image} {}: {reason}", if *unknown { "is not known" } else { "does not hold" })]
    #[diagnostic(help(
        "`zfs-kmods verify` makes every check; without a trust flag the label's digest decides"
    ))]
    Unproven {
        image: DigestRef,
        reason: String,
        /// True if the registry could not be read.
        unknown: bool,
    },
    #[error("{0} is in a directory, in which images have no evidence")]
    #[diagnostic(help("leave the trust flag out, or name the image where it is published"))]
    NoEvidence(DigestRef),
    #[error("cannot read the inputs in {}", path.display())]
    #[diagnostic(help(
        "`build` writes this file beside the image; an image in a registry carries its inputs along"
    ))]
    Io {
        path: PathBuf,
        #[source]
        error: std::io::Error,
    },
}
