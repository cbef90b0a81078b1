//! Promotes an image in a registry, in the order of [`Promotion::plan`].

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::registry::{Registry, RegistryError, RegistryWriter};
use super::store::{ImageStore, StoreError};
use super::{evidence, inspect};
use crate::model::evidence::lifecycle::{self, ImageHistory};
use crate::model::evidence::verify::TrustPolicy;
use crate::model::image::{Tag, TagOrDigest};
use crate::model::promote::{PromotedImage, Promotion, TagState, TagUpdate, TaggedImage};
use crate::model::reconcile::RollbackNote;
use crate::model::{Digest, Target};

const CONCURRENT: usize = 4;

/// One request per tag, and a few more for each moving tag of another image. `ours` is what trusted signers stated about the
/// promoted image. `is_recalled` says for which targets the matrix has an exclusion.
pub async fn tag_state(
    registry: &Registry,
    promotion: &Promotion,
    ours: &ImageHistory,
    trust: &TrustPolicy,
    is_recalled: impl Fn(&Target) -> bool,
) -> Result<TagState, PromoteError> {
    let images = ImageStore::Registry(registry.clone());
    let digest_of_ours = &promotion.proven().image().digest;
    let moving = promotion.moving_tags();
    let asked: Vec<_> = stream::iter(promotion.tags())
        .map(async |tag| {
            let Some(digest) = registry.resolve(&TagOrDigest::Tag(tag.clone())).await? else {
                return Ok((tag, None, None));
            };
            if digest == *digest_of_ours || !moving.contains(&tag) {
                let target = Err("not read".to_owned());
                return Ok((tag, Some(TaggedImage { digest, target }), None));
            }
            let target = inspect::labelled_target(&images, &digest).await?;
            let note = rollback(registry, &digest, &tag, trust, promotion.now()).await?;
            Ok::<_, PromoteError>((tag, Some(TaggedImage { digest, target }), note))
        })
        .buffered(CONCURRENT)
        .try_collect()
        .await?;
    let mut state = TagState { noted: ours.rollbacks.keys().cloned().collect(), ..TagState::default() };
    for (tag, there, note) in asked {
        let target = there.as_ref().and_then(|there| there.target.as_ref().ok());
        if target.is_some_and(&is_recalled) {
            state.recalled.insert(tag.clone());
        }
        state.rollbacks.extend(note.map(|note| (tag.clone(), note)));
        state.tags.insert(tag, there);
    }
    Ok(state)
}

async fn rollback(
    registry: &Registry,
    image: &Digest,
    tag: &Tag,
    trust: &TrustPolicy,
    now: Timestamp,
) -> Result<Option<RollbackNote>, PromoteError> {
    let evidence = evidence::stored_statements(registry, image).await;
    let history = lifecycle::image_history(image, &evidence, trust, now);
    let mut history = history.map_err(|reason| PromoteError::Unknown { image: image.clone(), reason })?;
    Ok(history.rollbacks.remove(tag))
}

/// Sets the tags that do not point to the image yet, in the order of the plan.
///
/// Calls `on_step` before each update. After an interruption, the next run does the remaining updates; if none remain,
/// no request is made.
pub async fn promote(
    registry: &RegistryWriter,
    image: &Digest,
    updates: &[TagUpdate],
    mut on_step: impl FnMut(&TagUpdate),
) -> Result<PromotedImage, PromoteError> {
    if updates.is_empty() {
        return Ok(PromotedImage::new(0));
    }
    let manifest = registry.manifest(&TagOrDigest::Digest(image.clone())).await?;
    let manifest = manifest.ok_or_else(|| PromoteError::Gone(image.clone()))?;
    for update in updates {
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
    #[error("cannot read the history of {image}: {reason}")]
    #[diagnostic(help("run the command again when the registry responds; no tag was moved"))]
    Unknown { image: Digest, reason: String },
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
