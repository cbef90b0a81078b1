//! Publishing an image in a registry, step by step; the order is [`Publication::steps`]'s.

use crate::model::Digest;
use crate::model::image::{DigestRef, ImageLocation, Tag, TagOrDigest};
use crate::model::manifest::{Blob, ManifestWithBlobs};
use crate::model::publish::{Publication, PublicationError, PublishStep, PublishedImage, RemoteState};
use crate::model::referrers::signatures_are_within;

use super::evidence::attach;
use super::registry::{Progress, Referrers, Registry, RegistryError};

/// Evidence is small: bundles of provenance and SBOMs. What is longer is not read whole.
const LARGEST_EVIDENCE: u64 = 64 << 20;

/// Reads what the repository has of this image. Ten small requests if it has everything with four referrers.
///
/// The referrers are returned with it: their bundles show which evidence can be kept and which must be made.
pub async fn remote_state(
    registry: &Registry,
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

/// Publishes an image: does the steps that are missing, the tag last.
///
/// `on_step` is told each step before it begins. Stopped anywhere, killed too, the next run does what is left; when
/// nothing is, no request is made.
pub async fn publish(
    registry: &Registry,
    publication: &Publication,
    remote: &RemoteState,
    progress: &Progress,
    mut on_step: impl FnMut(&PublishStep),
) -> Result<PublishedImage, PublishError> {
    let steps = publication.steps(remote)?;
    // Manifests that the registry has filed under their subject itself.
    let mut unfiled = Vec::new();
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
                if manifest_with_blobs.subject().is_some() && written.filed_under.is_none() {
                    unfiled.push(manifest_with_blobs.manifest().clone());
                }
            }
            PublishStep::UpdateReferrersIndex(image) if !unfiled.is_empty() => {
                registry.file_referrers(image, &unfiled).await?;
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

/// The parcel that a step is about.
fn manifest_with_blobs<'a>(publication: &'a Publication, digest: &Digest) -> &'a ManifestWithBlobs {
    let made = publication.attachments().find(|manifest_with_blobs| manifest_with_blobs.digest() == digest);
    made.unwrap_or_else(|| publication.image())
}

/// Makes sure that the image and all its evidence can be read by others now.
///
/// Blobs that are gone are sent again: registries lose some of those whose manifest they have accepted
/// (bbartling/open-fdd#260).
async fn read_back(
    registry: &Registry,
    publication: &Publication,
    progress: &Progress,
) -> Result<(), PublishError> {
    let image = publication.image();
    registry.send_blobs(image.blobs(), progress).await?;
    if registry.manifest(&TagOrDigest::Digest(image.digest().clone())).await?.is_none() {
        return Err(incomplete(publication, "its manifest is not there".to_owned()));
    }
    let mut missing = attach::unlisted(registry, image.digest(), &publication.referrers()).await?;
    if let Some(digest) = missing.pop_first() {
        return Err(incomplete(publication, format!("nothing lists its evidence {digest}")));
    }
    for manifest_with_blobs in publication.attachments() {
        read_blobs(registry, publication, manifest_with_blobs.blobs(), progress).await?;
    }
    let Some((tag, ours)) = &publication.evidence().signature else { return Ok(()) };
    let tag_or_digest = TagOrDigest::Tag(tag.clone());
    let there = registry
        .until(async || {
            let stored = registry.manifest(&tag_or_digest).await?;
            Ok(stored.is_some_and(|stored| signatures_are_within(ours.manifest(), &stored)))
        })
        .await?;
    if !there {
        return Err(incomplete(publication, format!("its signature is not at `{tag}`")));
    }
    // The first is our configuration, which is not the stored one where others have signed too.
    read_blobs(registry, publication, &ours.blobs()[1..], progress).await
}

/// Reads small blobs whole.
async fn read_blobs(
    registry: &Registry,
    publication: &Publication,
    blobs: &[Blob],
    progress: &Progress,
) -> Result<(), PublishError> {
    registry.send_blobs(blobs, progress).await?;
    for blob in blobs {
        if registry.small_blob(&blob.digest, LARGEST_EVIDENCE).await?.is_none() {
            return Err(incomplete(publication, format!("its evidence {} is not there", blob.digest)));
        }
    }
    Ok(())
}

/// Points the tag to the image, if it is still free or may be moved, and waits until it is seen there.
async fn put_tag(
    registry: &Registry,
    publication: &Publication,
    tag: &Tag,
    progress: &Progress,
) -> Result<(), PublishError> {
    let tag_or_digest = TagOrDigest::Tag(tag.clone());
    let image = publication.image();
    // Somebody else may have published meanwhile.
    publication.may_tag(registry.resolve(&tag_or_digest).await?.as_ref())?;
    registry.send_manifest(&tag_or_digest, image, progress).await?;
    let settled = registry
        .until(async || Ok(registry.resolve(&tag_or_digest).await?.as_ref() == Some(image.digest())))
        .await?;
    if settled {
        return Ok(());
    }
    Err(incomplete(publication, format!("the tag `{tag}` was put, but still points elsewhere")))
}

fn incomplete(publication: &Publication, reason: String) -> PublishError {
    PublishError::Incomplete { image: publication.image().digest().clone(), reason }
}

/// An image could not be published.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PublishError {
    /// It may not be.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Refused(#[from] PublicationError),
    /// The registry failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] RegistryError),
    /// What was written cannot be read back.
    #[error("{image} is not published whole: {reason}")]
    #[diagnostic(help("run it again: what is there is not sent a second time"))]
    Incomplete {
        /// The image.
        image: Digest,
        /// What is missing.
        reason: String,
    },
}
