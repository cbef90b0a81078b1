//! Publishes an image in a registry, in the order of [`Publication::steps`].

pub mod local;

use crate::model::Digest;
use crate::model::image::{DigestRef, ImageLocation, Tag, TagOrDigest};
use crate::model::manifest::{Blob, ManifestWithBlobs};
use crate::model::publish::{Publication, PublicationError, PublishStep, PublishedImage, RemoteState};
use crate::model::referrers::signatures_are_within;

use crate::io::evidence::attach;
use crate::io::registry::{Referrers, RegistryError, RegistryWriter, UploadProgress};

/// Bytes. Larger evidence is rejected.
const LARGEST_EVIDENCE: u64 = 64 << 20;

/// Reads the repository's state of this image: ten small requests for a complete image with four referrers.
///
/// The bundles of the returned referrers show which evidence can be kept.
pub async fn remote_state(
    registry: &RegistryWriter,
    image: &Digest,
    tag: &Tag,
    signature_tag: &Tag,
) -> Result<(RemoteState, Referrers), RegistryError> {
    let (tag_selector, signature_selector) =
        (TagOrDigest::Tag(tag.clone()), TagOrDigest::Tag(signature_tag.clone()));
    let (tag, referrers, signature) = tokio::try_join!(
        registry.resolve(&tag_selector),
        registry.referrers(image),
        registry.manifest(&signature_selector),
    )?;
    let has_image =
        tag.as_ref() == Some(image) || registry.resolve(&TagOrDigest::Digest(image.clone())).await?.is_some();
    let digests = referrers.found.iter().map(|found| found.manifest.digest.clone()).collect();
    Ok((RemoteState { tag, image: has_image, referrers: digests, signature }, referrers))
}

/// Runs the missing steps, the tag last.
///
/// Calls `on_step` before each step. After an interruption, the next run does the remaining steps; if none remain, no
/// request is made.
pub async fn publish(
    registry: &RegistryWriter,
    publication: &Publication,
    remote: &RemoteState,
    progress: &UploadProgress,
    mut on_step: impl FnMut(&PublishStep),
) -> Result<PublishedImage, PublishError> {
    let steps = publication.steps(remote)?;
    // Manifests that the registry does not list as referrers itself.
    let mut unindexed = Vec::new();
    for step in &steps {
        tracing::debug!(%step, "publishing");
        on_step(step);
        match step {
            PublishStep::UploadBlobs(digest) => {
                registry.send_blobs(manifest_with_blobs(publication, digest).blobs(), progress).await?;
            }
            PublishStep::PutManifest(digest) => {
                let manifest_with_blobs = manifest_with_blobs(publication, digest);
                let written = registry
                    .send_manifest(&TagOrDigest::Digest(digest.clone()), manifest_with_blobs, progress)
                    .await?;
                if manifest_with_blobs.subject().is_some() && written.oci_subject.is_none() {
                    unindexed.push(manifest_with_blobs.manifest().clone());
                }
            }
            PublishStep::UpdateReferrersIndex(image) if !unindexed.is_empty() => {
                registry.add_to_referrers_index(image, &unindexed).await?;
            }
            PublishStep::UpdateReferrersIndex(_) => {}
            PublishStep::AddSignature(tag) => {
                if let Some((_, ours)) = &publication.evidence().signature {
                    registry.add_signatures(tag, ours, progress).await?;
                }
            }
            PublishStep::ReadBack(_) => read_back(registry, publication, progress).await?,
            PublishStep::PutTag(tag) => put_tag(registry, publication, tag, progress).await?,
        }
    }
    let store = ImageLocation::Registry(registry.repository().clone());
    let pinned = DigestRef { store, digest: publication.image().digest().clone() };
    Ok(PublishedImage::new(pinned, publication.tag().clone(), steps.len()))
}

fn manifest_with_blobs<'a>(publication: &'a Publication, digest: &Digest) -> &'a ManifestWithBlobs {
    let made = publication.attachments().find(|manifest_with_blobs| manifest_with_blobs.digest() == digest);
    made.unwrap_or_else(|| publication.image())
}

/// Checks that clients can read the image and all its evidence.
///
/// Missing blobs are uploaded again: some registries lose blobs of manifests that they have accepted
/// (bbartling/open-fdd#260).
async fn read_back(
    registry: &RegistryWriter,
    publication: &Publication,
    progress: &UploadProgress,
) -> Result<(), PublishError> {
    let image = publication.image();
    registry.send_blobs(image.blobs(), progress).await?;
    if registry.manifest(&TagOrDigest::Digest(image.digest().clone())).await?.is_none() {
        return Err(incomplete(publication, "its manifest is missing".to_owned()));
    }
    let mut missing = attach::unlisted(registry, image.digest(), &publication.referrers()).await?;
    if let Some(digest) = missing.pop_first() {
        return Err(incomplete(publication, format!("its evidence {digest} is not listed")));
    }
    for manifest_with_blobs in publication.attachments() {
        read_blobs(registry, publication, manifest_with_blobs.blobs(), progress).await?;
    }
    let Some((tag, ours)) = &publication.evidence().signature else { return Ok(()) };
    let tag_or_digest = TagOrDigest::Tag(tag.clone());
    let there = registry
        .poll_until(async || {
            let stored = registry.manifest(&tag_or_digest).await?;
            Ok(stored.is_some_and(|stored| signatures_are_within(ours.manifest(), &stored)))
        })
        .await?;
    if !there {
        return Err(incomplete(publication, format!("its signature is missing at `{tag}`")));
    }
    // The first blob is our configuration; with signatures of others, the stored one differs.
    read_blobs(registry, publication, &ours.blobs()[1..], progress).await
}

async fn read_blobs(
    registry: &RegistryWriter,
    publication: &Publication,
    blobs: &[Blob],
    progress: &UploadProgress,
) -> Result<(), PublishError> {
    registry.send_blobs(blobs, progress).await?;
    for blob in blobs {
        if registry.small_blob(&blob.digest, LARGEST_EVIDENCE).await?.is_none() {
            return Err(incomplete(publication, format!("its evidence {} is missing", blob.digest)));
        }
    }
    Ok(())
}

/// Sets the tag if it is free or may be moved, and waits until it is visible.
async fn put_tag(
    registry: &RegistryWriter,
    publication: &Publication,
    tag: &Tag,
    progress: &UploadProgress,
) -> Result<(), PublishError> {
    let tag_or_digest = TagOrDigest::Tag(tag.clone());
    let image = publication.image();
    // Another publisher may have set it since the first check.
    publication.may_tag(registry.resolve(&tag_or_digest).await?.as_ref())?;
    registry.send_manifest(&tag_or_digest, image, progress).await?;
    let settled = registry
        .poll_until(async || Ok(registry.resolve(&tag_or_digest).await?.as_ref() == Some(image.digest())))
        .await?;
    if settled {
        return Ok(());
    }
    Err(incomplete(publication, format!("the tag `{tag}` was set, but still points to another image")))
}

fn incomplete(publication: &Publication, reason: String) -> PublishError {
    PublishError::Incomplete { image: publication.image().digest().clone(), reason }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PublishError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Refused(#[from] PublicationError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] RegistryError),
    #[error("{image} is not completely published: {reason}")]
    #[diagnostic(help("run it again: existing content is not uploaded again"))]
    Incomplete { image: Digest, reason: String },
}
