//! The inputs that an image was built from, wherever the image is.

use std::path::{Path, PathBuf};

use super::evidence;
use super::image_rpms::{ImageRpms, ImageRpmsError};
use super::registry::{Registry, RegistryError};
use super::store::ImageStore;
use crate::model::evidence::verify::{TrustPolicy, proven_inputs};
use crate::model::image::{DigestRef, ImageRef};
use crate::model::inputs::{BuildInputs, ParseInputsError};
use crate::model::verify::CheckStatus;
use crate::model::{Digest, Target, compose};

/// Ours have about a kibibyte.
const LARGEST: u64 = 1 << 20;

/// Finds an image and reads what it was built from.
///
/// The inputs have the digest that the image states on a label, so that they are as true as the image is: whoever
/// made the image wrote the label. In a registry they are fetched by that digest, in a directory they are the file that
/// `build` wrote. With somebody to trust, they are read from the signed provenance instead, and everything that is
/// required of an image's evidence must hold.
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

/// Where a directory of images has the inputs of the image for a target.
pub fn file(directory: &Path, target: &Target) -> PathBuf {
    directory.join(format!("{}.inputs.json", target.tag()))
}

/// Reads inputs that `build` or `plan` wrote to a file.
pub fn read(path: &Path) -> Result<BuildInputs, InputsError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| InputsError::Io { path: path.to_owned(), error })?;
    let place = path.display().to_string();
    BuildInputs::parse(&text).map_err(|error| InputsError::Malformed { place, error })
}

/// All of standard input.
pub fn standard_input() -> std::io::Result<String> {
    std::io::read_to_string(std::io::stdin().lock())
}

/// Fetches the inputs by the digest on the image's label.
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

/// What an image was built from cannot be found out.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum InputsError {
    /// The image cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    ImageRpms(#[from] ImageRpmsError),
    /// The registry does not answer.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] RegistryError),
    /// The image is not ours.
    #[error("{0} has no label that says what it was built from")]
    #[diagnostic(help("zfs-kmods puts one on every image that it builds"))]
    NoLabel(DigestRef),
    /// The image was published without them, or copied alone.
    #[error("the inputs {label}, from which {image} was built, are not in its repository")]
    #[diagnostic(help(
        "`publish` attaches them: publish the image again, or copy it with what refers to it (`cosign copy`, \
         `oras copy --recursive`)"
    ))]
    NotAttached {
        /// The image.
        image: DigestRef,
        /// What its label says.
        label: Digest,
    },
    /// No inputs, or none that this program reads.
    #[error("{place}: {error}")]
    #[diagnostic(help("`plan --format json` and every build write such a file"))]
    Malformed {
        /// Where they are.
        place: String,
        /// What is wrong.
        error: ParseInputsError,
    },
    /// Somebody changed the one or the other.
    #[error("the inputs at hand have the digest {found}, but {image} says that it was built from {label}")]
    #[diagnostic(help("nothing is built from inputs that are not the image's own"))]
    Other {
        /// The image.
        image: DigestRef,
        /// What its label says.
        label: Digest,
        /// What the inputs have.
        found: Digest,
    },
    /// The provenance is not there or does not hold.
    #[error("the provenance of {image} {}: {reason}", if *unknown { "is not known" } else { "does not hold" })]
    #[diagnostic(help(
        "`zfs-kmods verify` makes every check; without a trust flag the label's digest decides"
    ))]
    Unproven {
        /// The image.
        image: DigestRef,
        /// Why.
        reason: String,
        /// Whether the registry did not say.
        unknown: bool,
    },
    /// Somebody is to be trusted where nobody signs.
    #[error("{0} is in a directory, in which images have no evidence")]
    #[diagnostic(help("leave the trust flag out, or name the image where it is published"))]
    NoEvidence(DigestRef),
    /// The file is not there.
    #[error("cannot read the inputs in {}", path.display())]
    #[diagnostic(help(
        "`build` writes this file beside the image; an image in a registry carries its inputs along"
    ))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
}
