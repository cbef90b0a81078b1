//! More evidence for an image that is in a registry already.

use std::collections::BTreeSet;

use crate::io::registry::{Progress, Registry, RegistryError};
use crate::model::Digest;
use crate::model::image::TagOrDigest;
use crate::model::manifest::ManifestWithBlobs;

/// Attaches referrers of this image, and waits until they are listed. May be repeated.
pub async fn attach(
    registry: &Registry,
    image: &Digest,
    made: &[ManifestWithBlobs],
) -> Result<(), AttachError> {
    let mut unfiled = Vec::new();
    for manifest_with_blobs in made {
        let progress = Progress::none();
        registry.send_blobs(manifest_with_blobs.blobs(), &progress).await?;
        let name = TagOrDigest::Digest(manifest_with_blobs.digest().clone());
        let written = registry.send_manifest(&name, manifest_with_blobs, &progress).await?;
        if written.filed_under.is_none() {
            unfiled.push(manifest_with_blobs.manifest().clone());
        }
    }
    if !unfiled.is_empty() {
        registry.file_referrers(image, &unfiled).await?;
    }
    let wanted = made.iter().map(|manifest_with_blobs| manifest_with_blobs.digest().clone()).collect();
    match unlisted(registry, image, &wanted).await?.pop_first() {
        None => Ok(()),
        Some(evidence) => Err(AttachError::Unlisted { image: image.clone(), evidence }),
    }
}

/// Which of these the registry does not list as referring to the image, however often it is asked.
pub(in crate::io) async fn unlisted(
    registry: &Registry,
    image: &Digest,
    wanted: &BTreeSet<Digest>,
) -> Result<BTreeSet<Digest>, RegistryError> {
    let mut missing = wanted.clone();
    registry
        .until(async || {
            let listed = registry.referrers(image).await?;
            let listed: BTreeSet<_> = listed.found.into_iter().map(|found| found.manifest.digest).collect();
            missing = wanted.difference(&listed).cloned().collect();
            Ok(missing.is_empty())
        })
        .await?;
    Ok(missing)
}

/// Evidence could not be attached.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AttachError {
    /// The registry failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] RegistryError),
    /// What was written is not listed.
    #[error("{evidence} was attached to {image}, but nothing lists it")]
    #[diagnostic(help("run it again: clients find evidence through that list only"))]
    Unlisted {
        /// The image.
        image: Digest,
        /// The evidence.
        evidence: Digest,
    },
}
