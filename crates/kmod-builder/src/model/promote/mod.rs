//! How an image is promoted: first it is proven, now and not some time ago; then it gets its tags, one after the
//! other, each by a step that may be repeated.
//!
//! The immutable tags come first and the ones that users follow last, so that whoever follows a channel finds what it
//! points to under its own name and in the audit. Everything that speaks against it is known before the first step.

mod checks;
mod rejection;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::evidence::EvidenceKind;
use super::image::{DigestRef, ParseImageRefError, Tag};
use super::tags::Channel;
use super::{Digest, Target};

pub use checks::{PromotionCheck, PromotionChecks, ProvenImage};
pub use rejection::PromotionRejection;

/// What somebody allowed in so many words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PromotionOverrides {
    /// The tag of the image may be taken from another image: a rebuild for the same OpenZFS and kernel.
    pub replace: bool,
    /// The channel may go back to an older kernel or OpenZFS, change its architecture, or leave an image that does not
    /// say what it is for.
    pub downgrade: bool,
}

/// An image that is proven, and the tags that it shall have.
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
    /// The promotion of an image to a channel. The error says that its tag would be too long.
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

    /// The image.
    pub const fn proven(&self) -> &ProvenImage {
        &self.proven
    }

    /// The channel.
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Every tag in the order in which they are put: the image's own, the audit's, and those that move.
    pub fn tags(&self) -> impl Iterator<Item = &Tag> {
        [&self.image_tag, &self.audit_tag].into_iter().chain(&self.moving)
    }

    /// Whether it matters what the image is for that this tag points to now.
    pub fn moves(&self, tag: &Tag) -> bool {
        self.moving.contains(tag)
    }

    /// What is to be done, given where the tags point; nothing if all point to the image. Else everything that speaks
    /// against it: then nothing at all may be done.
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

    /// Whether the channel would not go backwards.
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

/// Where the tags of a promotion point: for each that was asked for, an image or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagState(pub BTreeMap<Tag, Option<TaggedImage>>);

/// The image that a tag points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedImage {
    /// Its digest.
    pub digest: Digest,
    /// What it says it is for, or why that is not known.
    pub target: Result<Target, String>,
}

/// One step of promoting: point this tag to the image. It may be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagUpdate {
    /// The tag.
    pub tag: Tag,
    /// Where it pointed when it was asked for; if it points anywhere else by now, somebody else is at work.
    pub from: Option<Digest>,
}

impl fmt::Display for TagUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            None => write!(f, "point {} to the image", self.tag),
            Some(from) => write!(f, "move {} from {} to the image", self.tag, from.short()),
        }
    }
}

/// An image that is promoted: proven, and then tagged.
///
/// Made by `io::promote::promote` and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromotedImage {
    image: DigestRef,
    channel: Channel,
    waived: BTreeSet<EvidenceKind>,
    updates: usize,
}

impl PromotedImage {
    pub(crate) fn new(promotion: &Promotion, updates: usize) -> Self {
        let proven = promotion.proven();
        Self {
            image: proven.image().clone(),
            channel: promotion.channel().clone(),
            waived: proven.waived().clone(),
            updates,
        }
    }

    /// The image.
    pub const fn image(&self) -> &DigestRef {
        &self.image
    }

    /// Where it was promoted to.
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// What was not demanded of it.
    pub const fn waived(&self) -> &BTreeSet<EvidenceKind> {
        &self.waived
    }

    /// How many steps were needed: none if all had been done before.
    pub const fn updates(&self) -> usize {
        self.updates
    }
}
