//! Promotes an image in a registry, in the order of [`Promotion::updates`].

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::inspect;
use super::registry::{Registry, RegistryError, RegistryWriter};
use super::store::{ImageStore, StoreError};
use crate::model::Digest;
use crate::model::image::{Tag, TagOrDigest};
use crate::model::promote::{PromotedImage, Promotion, PromotionRejection, TagState, TagUpdate, TaggedImage};

const CONCURRENT: usize = 4;

/// One request per tag, and two more for each channel tag of another image.
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
                Err("not read".to_owned())
            };
            Ok::<_, PromoteError>((tag, Some(TaggedImage { digest, target })))
        })
        .buffered(CONCURRENT);
    Ok(TagState(asked.try_collect().await?))
}

/// Sets the tags that do not point to the image yet, moving tags last.
///
/// Calls `on_step` before each update. After an interruption, the next run does the remaining updates; if none remain,
/// no request is made.
pub async fn promote(
    registry: &RegistryWriter,
    promotion: &Promotion,
    found: &TagState,
    mut on_step: impl FnMut(&TagUpdate),
) -> Result<PromotedImage, PromoteError> {
    let updates = promotion.updates(found).map_err(PromoteError::Refused)?;
    if updates.is_empty() {
        return Ok(PromotedImage::new(0));
    }
    let image = &promotion.proven().image().digest;
    let manifest = registry.manifest(&TagOrDigest::Digest(image.clone())).await?;
    let manifest = manifest.ok_or_else(|| PromoteError::Gone(image.clone()))?;
    for update in &updates {
        tracing::debug!(%update, "promoting");
        on_step(update);
        let tag_or_digest = TagOrDigest::Tag(update.tag.clone());
        // Registries have no compare-and-swap; this shortens the race to the time between two requests.
        let there = registry.resolve(&tag_or_digest).await?;
        if there != update.from && there.as_ref() != Some(image) {
            return Err(PromoteError::Moved { tag: update.tag.clone(), there });
        }
        registry.put_tag(&update.tag, &manifest).await?;
        let settled = registry
            .poll_until(async || Ok(registry.resolve(&tag_or_digest).await?.as_ref() == Some(image)))
            .await?;
        if !settled {
            return Err(PromoteError::Unsettled(update.tag.clone()));
        }
    }
    Ok(PromotedImage::new(updates.len()))
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PromoteError {
    #[error("the image may not be promoted")]
    Refused(#[related] Vec<PromotionRejection>),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    #[error("the image {0} is no longer in the registry")]
    #[diagnostic(help("it was deleted during the promotion: publish it again"))]
    Gone(Digest),
    #[error("another client moved `{tag}` to {}", there.as_ref().map_or("nothing", Digest::as_str))]
    #[diagnostic(help("run it again: the tags are read and checked again"))]
    Moved {
        tag: Tag,
        /// `None` if the tag was deleted.
        there: Option<Digest>,
    },
    #[error("the tag `{0}` was set, but still points to another image")]
    #[diagnostic(help("run it again: tags that already point to the image stay"))]
    Unsettled(Tag),
}
