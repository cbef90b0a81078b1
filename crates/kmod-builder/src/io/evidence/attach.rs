use std::collections::BTreeSet;

use crate::io::registry::{RegistryError, RegistryWriter, UploadProgress};
use crate::model::Digest;
use crate::model::image::TagOrDigest;
use crate::model::manifest::ManifestWithBlobs;

/// Waits until the referrers are listed. Idempotent.
pub async fn attach(
    registry: &RegistryWriter,
    image: &Digest,
    made: &[ManifestWithBlobs],
) -> miette::Result<()> {
    let mut unindexed = Vec::new();
    for manifest_with_blobs in made {
        let progress = UploadProgress::none();
        registry.send_blobs(manifest_with_blobs.blobs(), &progress).await?;
        let name = TagOrDigest::Digest(manifest_with_blobs.digest().clone());
        let written = registry.send_manifest(&name, manifest_with_blobs, &progress).await?;
        if written.oci_subject.is_none() {
            unindexed.push(manifest_with_blobs.manifest().clone());
        }
    }
    if !unindexed.is_empty() {
        registry.add_to_referrers_index(image, &unindexed).await?;
    }
    let wanted = made.iter().map(|manifest_with_blobs| manifest_with_blobs.digest().clone()).collect();
    match unlisted(registry, image, &wanted).await?.pop_first() {
        None => Ok(()),
        Some(evidence) => Err(miette::miette!(
            help = "run the command again: clients find evidence through the referrers list",
            "{evidence} was attached to {image}, but is not listed as a referrer"
        )),
    }
}

/// Those that the registry does not list as referrers after all retries.
pub(in crate::io) async fn unlisted(
    registry: &RegistryWriter,
    image: &Digest,
    wanted: &BTreeSet<Digest>,
) -> Result<BTreeSet<Digest>, RegistryError> {
    let mut missing = wanted.clone();
    registry
        .poll_until(async || {
            let listed = registry.referrers(image).await?;
            let listed: BTreeSet<_> = listed.found.into_iter().map(|found| found.manifest.digest).collect();
            missing = wanted.difference(&listed).cloned().collect();
            Ok(missing.is_empty())
        })
        .await?;
    Ok(missing)
}
