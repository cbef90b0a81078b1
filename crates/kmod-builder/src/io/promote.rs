//! Promoting an image in a registry, tag after tag; the order is [`Promotion::updates`]'s.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::inspect;
use super::registry::{Registry, RegistryError};
use super::store::{ImageStore, StoreError};
use crate::model::Digest;
use crate::model::image::{Tag, TagOrDigest};
use crate::model::promote::{PromotedImage, Promotion, PromotionRejection, TagState, TagUpdate, TaggedImage};

/// How many tags are asked for at the same time.
const CONCURRENT: usize = 4;

/// Asks where the tags of a promotion point: one request a tag, and two more for each channel that has another image.
pub async fn tag_state(registry: &Registry, promotion: &Promotion) -> Result<TagState, PromoteError> {
    let images = ImageStore::Registry(registry.clone());
    let ours = &promotion.proven().image().digest;
    let asked = stream::iter(promotion.tags().cloned().collect::<Vec<_>>())
        .map(async |tag| {
            let Some(digest) = registry.resolve(&TagOrDigest::Tag(tag.clone())).await? else {
                return Ok((tag, None));
            };
            let target = if promotion.moves(&tag) && digest != *ours {
                inspect::labelled_target(&images, &digest).await?
            } else {
                Err("nobody asked".to_owned())
            };
            Ok::<_, PromoteError>((tag, Some(TaggedImage { digest, target })))
        })
        .buffered(CONCURRENT);
    Ok(TagState(asked.try_collect().await?))
}

/// Promotes an image: points to it the tags that do not yet, the ones that users follow last.
///
/// `on_step` is told each step before it begins. Stopped anywhere, killed too, the next run does what is left; when
/// nothing is, no request is made.
pub async fn promote(
    registry: &Registry,
    promotion: &Promotion,
    found: &TagState,
    mut on_step: impl FnMut(&TagUpdate),
) -> Result<PromotedImage, PromoteError> {
    let updates = promotion.updates(found).map_err(PromoteError::Refused)?;
    if updates.is_empty() {
        return Ok(PromotedImage::new(promotion, 0));
    }
    let image = &promotion.proven().image().digest;
    let manifest = registry.manifest(&TagOrDigest::Digest(image.clone())).await?;
    let manifest = manifest.ok_or_else(|| PromoteError::Gone(image.clone()))?;
    for update in &updates {
        tracing::debug!(%update, "promoting");
        on_step(update);
        let tag_or_digest = TagOrDigest::Tag(update.tag.clone());
        // No registry compares and swaps; this leaves the moment between two requests, not the whole run.
        let there = registry.resolve(&tag_or_digest).await?;
        if there != update.from && there.as_ref() != Some(image) {
            return Err(PromoteError::Moved { tag: update.tag.clone(), there });
        }
        registry.put_tag(&update.tag, &manifest).await?;
        let settled = registry
            .until(async || Ok(registry.resolve(&tag_or_digest).await?.as_ref() == Some(image)))
            .await?;
        if !settled {
            return Err(PromoteError::Unsettled(update.tag.clone()));
        }
    }
    Ok(PromotedImage::new(promotion, updates.len()))
}

/// An image could not be promoted.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PromoteError {
    /// It may not be.
    #[error("the image may not be promoted")]
    Refused(#[related] Vec<PromotionRejection>),
    /// The registry failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] RegistryError),
    /// The image of a channel cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The image was deleted after it was proven.
    #[error("the image {0} is gone from the registry")]
    #[diagnostic(help("somebody deletes there at this moment: publish the image again"))]
    Gone(Digest),
    /// Somebody else moved a tag meanwhile.
    #[error("somebody moved `{tag}` to {} in the meantime", there.as_ref().map_or("nothing", Digest::as_str))]
    #[diagnostic(help("run it again: where the tags point now is held against the rules once more"))]
    Moved {
        /// The tag.
        tag: Tag,
        /// Where it points now.
        there: Option<Digest>,
    },
    /// A tag was put, and points elsewhere.
    #[error("the tag `{0}` was put, but still points elsewhere")]
    #[diagnostic(help("run it again: tags that are right already are left alone"))]
    Unsettled(Tag),
}
