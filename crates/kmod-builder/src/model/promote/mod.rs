//! Promotion of an image: it is verified, then its tags are set, each by an idempotent update.
//!
//! Immutable tags are set first and the moving tags of channels last. All rejections are known before the first update.

mod checks;
mod rejection;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::image::{ParseImageRefError, Tag};
use super::tags::Channel;
use super::{Digest, Target};

pub use checks::{PromotionCheck, PromotionChecks, ProvenImage};
pub use rejection::PromotionRejection;

/// For `--replace` and `--allow-downgrade`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PromotionOverrides {
    /// Move the image's own tag from another image: a rebuild for the same OpenZFS and kernel.
    pub replace: bool,
    /// Move a channel to an older kernel or OpenZFS, to another architecture, or from an image without target labels.
    pub downgrade: bool,
}

#[derive(Clone, Debug)]
pub struct Promotion {
    proven: ProvenImage,
    channel: Channel,
    image_tag: Tag,
    audit_tag: Tag,
    moving: Vec<Tag>,
    overrides: PromotionOverrides,
}

impl Promotion {
    /// Fails if the image's tag would be too long.
    pub fn new(
        proven: ProvenImage,
        channel: Channel,
        audit_tag: Tag,
        overrides: PromotionOverrides,
    ) -> Result<Self, ParseImageRefError> {
        let image_tag = channel.image_tag(proven.target())?;
        let moving = channel.moving_tags(proven.target());
        Ok(Self { proven, channel, image_tag, audit_tag, moving, overrides })
    }

    pub const fn proven(&self) -> &ProvenImage {
        &self.proven
    }

    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// In the order of updates: the image's own tag, the audit tag, and the moving tags.
    pub fn tags(&self) -> impl Iterator<Item = &Tag> {
        [&self.image_tag, &self.audit_tag].into_iter().chain(&self.moving)
    }

    /// Whether the tag moves with the channel.
    pub fn moves(&self, tag: &Tag) -> bool {
        self.moving.contains(tag)
    }

    /// The missing updates, or every rejection.
    pub fn updates(&self, found: &TagState) -> Result<Vec<TagUpdate>, Vec<PromotionRejection>> {
        let (mut updates, mut rejections) = (Vec::new(), Vec::new());
        for tag in self.tags() {
            match self.update(tag, found) {
                Ok(update) => updates.extend(update),
                Err(rejection) => rejections.push(rejection),
            }
        }
        if rejections.is_empty() { Ok(updates) } else { Err(rejections) }
    }

    fn update(&self, tag: &Tag, found: &TagState) -> Result<Option<TagUpdate>, PromotionRejection> {
        let ours = &self.proven.image().digest;
        let update = |from: Option<&TaggedImage>| {
            Some(TagUpdate { tag: tag.clone(), from: from.map(|tagged_image| tagged_image.digest.clone()) })
        };
        let Some(found) = found.0.get(tag) else {
            return Err(PromotionRejection::NotAsked { tag: tag.clone() });
        };
        let Some(there) = found else { return Ok(update(None)) };
        if there.digest == *ours {
            return Ok(None);
        }
        if self.moves(tag) {
            if !self.overrides.downgrade {
                self.forward(tag, there)?;
            }
        } else if *tag == self.audit_tag || !self.overrides.replace {
            let (tag, there, ours) = (tag.clone(), there.digest.clone(), ours.clone());
            return Err(if tag == self.audit_tag {
                PromotionRejection::AuditTaken { tag, there, ours }
            } else {
                PromotionRejection::Taken { tag, there, ours }
            });
        }
        Ok(update(Some(there)))
    }

    /// Rejects an older kernel or OpenZFS, and another architecture or kernel variant.
    fn forward(&self, tag: &Tag, there: &TaggedImage) -> Result<(), PromotionRejection> {
        let ours = self.proven.target();
        let tag = tag.clone();
        let theirs = match &there.target {
            Ok(theirs) => theirs,
            Err(reason) => {
                return Err(PromotionRejection::Unreadable {
                    tag,
                    there: there.digest.clone(),
                    reason: reason.clone(),
                });
            }
        };
        let build = |target: &Target| (target.arch(), target.kernel.variant().map(str::to_owned));
        let boxed = || (Box::new(theirs.clone()), Box::new(ours.clone()));
        if build(theirs) != build(ours) {
            let (there, ours) = boxed();
            return Err(PromotionRejection::OtherBuild { tag, there, ours });
        }
        if ours.kernel < theirs.kernel || ours.zfs < theirs.zfs {
            let (there, ours) = boxed();
            return Err(PromotionRejection::Backwards { tag, there, ours });
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagState(pub BTreeMap<Tag, Option<TaggedImage>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedImage {
    pub digest: Digest,
    /// From the labels, or why they cannot be read.
    pub target: Result<Target, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagUpdate {
    pub tag: Tag,
    /// The previous image of the tag. If the tag has changed since, another client is moving it.
    pub from: Option<Digest>,
}

impl fmt::Display for TagUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            None => write!(f, "set the tag {}", self.tag),
            Some(from) => write!(f, "move the tag {} from {}", self.tag, from.short()),
        }
    }
}

/// A promoted image. Only `io::promote::promote` makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromotedImage {
    updates: usize,
}

impl PromotedImage {
    pub(crate) const fn new(updates: usize) -> Self {
        Self { updates }
    }

    /// Number of tags that were set; 0 if the image was promoted already.
    pub const fn updates(&self) -> usize {
        self.updates
    }
}
