//! Promotion of an image: it is verified, then its tags are set, each by an idempotent update.
//!
//! The image's own tag is set first and depends on no channel. Then come the audit tag and the moving tags of a channel; if
//! one of them may not be set, none of them is. All rejections are known before the first update.

mod checks;
mod rejection;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::image::{ParseImageRefError, Tag};
use super::reconcile::{ROLLBACK_CONFIRMATION, ROLLBACK_NOTE_AGE, RollbackNote};
use super::tags::{Channel, LineChannel};
use super::{Digest, Target};

pub use checks::{PromotionCheck, PromotionChecks, PromotionRules, ProvenImage};
pub use rejection::PromotionRejection;

/// For `--replace` and `--allow-downgrade`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PromotionOverrides {
    /// Move the image's own tag from another image: a rebuild for the same OpenZFS and kernel.
    pub replace: bool,
    /// Move a channel to an older kernel or OpenZFS, to another architecture, or from an image without target labels.
    pub downgrade: bool,
    /// The channel's source ships this image's kernel: the channel leaves recalled images and images that are not ours, and
    /// goes back when two runs at least 12 hours apart saw the source go back.
    pub follow_source: bool,
}

#[derive(Clone, Debug)]
pub struct Promotion {
    proven: ProvenImage,
    image_tag: Tag,
    /// `None`: only the image's own tag is set.
    channel: Option<PromotionChannel>,
    overrides: PromotionOverrides,
    now: Timestamp,
}

#[derive(Clone, Debug)]
pub struct PromotionChannel {
    pub channel: LineChannel,
    pub audit_tag: Tag,
}

/// What a promotion does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromotionPlan {
    /// In this order.
    pub updates: Vec<TagUpdate>,
    pub rejections: Vec<PromotionRejection>,
    pub notes: Vec<RollbackUpdate>,
}

/// A statement about a moving tag, attached to an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RollbackUpdate {
    pub image: Digest,
    pub tag: Tag,
    /// `false`: upstream did not go back after all.
    pub noted: bool,
}

impl fmt::Display for RollbackUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (image, tag) = (self.image.short(), &self.tag);
        if self.noted {
            write!(f, "noted at {image} that {tag} should go back: a run at least 12 hours later moves it")
        } else {
            write!(f, "noted at {image} that {tag} need not go back")
        }
    }
}

impl Promotion {
    /// `names` says how the image's own tag is called: a branch has tags of its own. Fails if that tag would be too long, or
    /// if the channel is of another line than the image.
    pub fn new(
        proven: ProvenImage,
        names: &Channel,
        channel: Option<PromotionChannel>,
        overrides: PromotionOverrides,
        now: Timestamp,
    ) -> Result<Self, PromotionError> {
        let image_tag = names.image_tag(proven.target())?;
        if let Some(of) = channel.as_ref().filter(|of| of.channel.moving_tags(proven.target()).is_none()) {
            let (channel, target) = (of.channel.clone(), Box::new(proven.target().clone()));
            return Err(PromotionError::OtherLine { channel, target });
        }
        Ok(Self { proven, image_tag, channel, overrides, now })
    }

    pub const fn proven(&self) -> &ProvenImage {
        &self.proven
    }

    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The channel's tags, from the most general to the most specific.
    pub fn moving_tags(&self) -> Vec<Tag> {
        let channel = self.channel.as_ref();
        channel.and_then(|of| of.channel.moving_tags(self.proven.target())).unwrap_or_default()
    }

    /// In the order of updates: the image's own tag, the audit tag, and the moving tags.
    pub fn tags(&self) -> Vec<Tag> {
        let audit = self.channel.as_ref().map(|channel| channel.audit_tag.clone());
        [self.image_tag.clone()].into_iter().chain(audit).chain(self.moving_tags()).collect()
    }

    pub fn plan(&self, found: &TagState) -> PromotionPlan {
        let mut plan = PromotionPlan::default();
        match self.fixed_tag(&self.image_tag, found) {
            Ok(update) => plan.updates.extend(update),
            Err(rejection) => {
                plan.rejections.push(rejection);
                return plan;
            }
        }
        let Some(channel) = &self.channel else { return plan };
        let (mut updates, mut moved, mut is_waiting) = (Vec::new(), Vec::new(), false);
        match self.fixed_tag(&channel.audit_tag, found) {
            Ok(update) => updates.extend(update),
            Err(rejection) => plan.rejections.push(rejection),
        }
        for tag in self.moving_tags() {
            match self.moving_tag(&tag, found) {
                Ok(TagDecision::Stay) => {}
                Ok(TagDecision::Move(update)) => moved.push(update),
                Ok(TagDecision::Note(image)) => {
                    is_waiting = true;
                    plan.notes.push(RollbackUpdate { image, tag: tag.clone(), noted: true });
                }
                Ok(TagDecision::Wait) => is_waiting = true,
                Err(rejection) => plan.rejections.push(rejection),
            }
            if found.noted.contains(&tag) {
                let image = self.proven.image().digest.clone();
                plan.notes.push(RollbackUpdate { image, tag, noted: false });
            }
        }
        // The audit is of a channel that moves.
        if plan.rejections.is_empty() && !(is_waiting && moved.is_empty()) {
            plan.updates.extend(updates.into_iter().chain(moved));
        }
        plan
    }

    fn fixed_tag(&self, tag: &Tag, found: &TagState) -> Result<Option<TagUpdate>, PromotionRejection> {
        let ours = &self.proven.image().digest;
        match found.of(tag)? {
            None => Ok(Some(TagUpdate { tag: tag.clone(), from: None })),
            Some(there) if there.digest == *ours => Ok(None),
            Some(there) if *tag == self.image_tag && self.overrides.replace => {
                Ok(Some(TagUpdate { tag: tag.clone(), from: Some(there.digest.clone()) }))
            }
            Some(there) => {
                let (tag, there, ours) = (tag.clone(), there.digest.clone(), ours.clone());
                Err(if tag == self.image_tag {
                    PromotionRejection::Taken { tag, there, ours }
                } else {
                    PromotionRejection::AuditTaken { tag, there, ours }
                })
            }
        }
    }

    fn moving_tag(&self, tag: &Tag, found: &TagState) -> Result<TagDecision, PromotionRejection> {
        let Some(there) = found.of(tag)? else {
            return Ok(TagDecision::Move(TagUpdate { tag: tag.clone(), from: None }));
        };
        if there.digest == self.proven.image().digest {
            return Ok(TagDecision::Stay);
        }
        let update = TagDecision::Move(TagUpdate { tag: tag.clone(), from: Some(there.digest.clone()) });
        if self.overrides.downgrade {
            return Ok(update);
        }
        match self.forward(tag, there) {
            Ok(()) => Ok(update),
            Err(PromotionRejection::Unreadable { .. }) if self.overrides.follow_source => Ok(update),
            Err(_) if self.overrides.follow_source && found.recalled.contains(tag) => Ok(update),
            Err(PromotionRejection::Backwards { .. }) if self.overrides.follow_source => {
                let note = found.rollbacks.get(tag).filter(|note| note.to == *self.proven.target());
                let age = note.map(|note| self.now.duration_since(note.seen.min(self.now)));
                Ok(match age {
                    Some(age) if age > ROLLBACK_NOTE_AGE => TagDecision::Note(there.digest.clone()),
                    Some(age) if age >= ROLLBACK_CONFIRMATION => update,
                    Some(_) => TagDecision::Wait,
                    None => TagDecision::Note(there.digest.clone()),
                })
            }
            Err(rejection) => Err(rejection),
        }
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

enum TagDecision {
    Stay,
    Move(TagUpdate),
    /// The image that the tag points to.
    Note(Digest),
    Wait,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagState {
    pub tags: BTreeMap<Tag, Option<TaggedImage>>,
    /// Of the image that the tag points to.
    pub rollbacks: BTreeMap<Tag, RollbackNote>,
    /// The moving tags of images that the matrix excludes.
    pub recalled: BTreeSet<Tag>,
    /// The moving tags for which a rollback is noted at the promoted image.
    pub noted: BTreeSet<Tag>,
}

impl TagState {
    fn of(&self, tag: &Tag) -> Result<Option<&TaggedImage>, PromotionRejection> {
        match self.tags.get(tag) {
            Some(found) => Ok(found.as_ref()),
            None => Err(PromotionRejection::NotAsked { tag: tag.clone() }),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedImage {
    pub digest: Digest,
    /// From the labels, or why they cannot be read.
    pub target: Result<Target, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum PromotionError {
    #[error(transparent)]
    Tag(#[from] ParseImageRefError),
    #[error("the channel `{channel}` is not for {target}")]
    #[diagnostic(help("name the channel of the image's own line of OpenZFS, or only the channel: `stable`"))]
    OtherLine { channel: LineChannel, target: Box<Target> },
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
