//! Finds the inputs that an image was built from.

use std::path::{Path, PathBuf};

use miette::{Result, miette};

use super::image_rpms::ImageRpms;
use super::layout::{Layout, LayoutError};
use super::registry::Registry;
use super::store::ImageStore;
use super::{atomic_file, evidence};
use crate::model::builder_policy::InputsOrigin;
use crate::model::evidence::verify::{TrustPolicy, proven_inputs};
use crate::model::image::{DigestRef, ImageLocation, ImageRef, TagOrDigest};
use crate::model::inputs::BuildInputs;
use crate::model::oci::Manifest;
use crate::model::verify::CheckStatus;
use crate::model::{Digest, Target, compose};

/// Bytes. Our inputs have about 1 KiB.
const MAX_SIZE: u64 = 1 << 20;

/// How far the inputs of an image are trusted. Fails if nothing may be built from them.
pub fn origin(image: &ImageRef, verified: bool, trust_inputs: bool) -> Result<InputsOrigin> {
    match &image.store {
        _ if verified => Ok(InputsOrigin::Verified),
        // The user's own files, like an inputs file.
        ImageLocation::Layout(_) => Ok(InputsOrigin::Local),
        ImageLocation::Registry(_) if trust_inputs => Ok(InputsOrigin::Unverified),
        ImageLocation::Registry(_) => Err(miette!(
            help = "`reproduce` verifies the provenance with --public-key or --identity-repo; --trust-inputs builds \
                    without that, and then the image's publisher chooses what is compiled on this machine",
            "the inputs of {image} are not verified, so nothing is built from them"
        )),
    }
}

/// Finds an image and reads its inputs.
///
/// The image's label holds the digest of the inputs. A registry provides them by that digest, a directory as the file
/// that `build` wrote. With a trust policy, they are read from the signed provenance, and all required evidence must be
/// valid.
pub async fn of(
    images: &ImageStore,
    name: &ImageRef,
    trust: Option<&TrustPolicy>,
) -> Result<(DigestRef, BuildInputs)> {
    let contents = ImageRpms::open(images, name).await?;
    let image = contents.image();
    let no_label = || {
        miette!(help = "zfs-kmods labels every image that it builds", "{image} has no label with its inputs")
    };
    let label = contents.labels().get(compose::INPUTS).and_then(|label| label.parse().ok());
    let label: Digest = label.ok_or_else(no_label)?;
    let mut inputs = match (images, trust) {
        (ImageStore::Registry(registry), None) => attached(registry, image, &label).await?,
        (ImageStore::Registry(registry), Some(trust)) => {
            let attached = evidence::stored_evidence(registry, &image.digest).await;
            proven_inputs(&image.digest, &attached, trust).map_err(|outcome| {
                let unknown = matches!(outcome, CheckStatus::Unknown(_));
                miette!(
                    help = "`zfs-kmods verify` runs every check; without a trust flag the label's digest decides",
                    "the provenance of {image} is {}: {}",
                    if unknown { "unknown" } else { "not valid" },
                    outcome.reason().unwrap_or_default()
                )
            })?
        }
        (ImageStore::Layout(layout), None) => {
            let target = compose::target(contents.labels()).ok_or_else(no_label)?;
            read(&file(layout.directory(), &target))?
        }
        (ImageStore::Layout(_), Some(_)) => {
            return Err(miette!(
                help = "leave the trust flag out, or name the published image",
                "{image} is in a directory, and directories store no evidence"
            ));
        }
    };
    if inputs.digest() != label {
        return Err(miette!(
            help = "an image is built only from its own inputs",
            "the inputs found have the digest {}, but {image} was built from {label}",
            inputs.digest()
        ));
    }
    inputs.source_repository = contents.labels().get(compose::SOURCE).cloned();
    Ok((image.clone(), inputs))
}

pub fn file(directory: &Path, target: &Target) -> PathBuf {
    directory.join(format!("{}.inputs.json", target.tag()))
}

/// The image with the target's tag in a directory, if it was built from these inputs.
pub fn image_of(directory: &Path, inputs: &BuildInputs) -> std::result::Result<Option<Digest>, LayoutError> {
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

pub fn read(path: &Path) -> Result<BuildInputs> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let reason = miette!(
            help = "`build` writes this file beside the image; a published image carries its inputs",
            "{error}"
        );
        reason.wrap_err(format!("cannot read the inputs in {}", path.display()))
    })?;
    parse(&text, &path.display())
}

pub fn standard_input() -> std::io::Result<String> {
    std::io::read_to_string(std::io::stdin().lock())
}

/// Reads the inputs by the digest on the image's label.
async fn attached(registry: &Registry, image: &DigestRef, label: &Digest) -> Result<BuildInputs> {
    let bytes = registry.small_blob(label, MAX_SIZE).await?.ok_or_else(|| {
        miette!(
            help = "publish the image again, or copy it with its referrers (`cosign copy`, `oras copy --recursive`)",
            "the inputs {label} of {image} are not in its repository"
        )
    })?;
    parse(&String::from_utf8_lossy(&bytes), &format!("the inputs of {image}"))
}

fn parse(text: &str, place: &dyn std::fmt::Display) -> Result<BuildInputs> {
    BuildInputs::parse(text).map_err(|error| {
        miette!(help = "`plan --format json` and every build write such a file", "{place}: {error}")
    })
}
