//! How an image is promoted: first it is proven, now and not some time ago; then it gets its tags, one after the
//! other, each by a step that may be repeated.
//!
//! The immutable tags come first and the ones that users follow last, so that whoever follows a channel finds what it
//! points to under its own name and in the audit. Everything that speaks against it is known before the first step.

mod proof;
mod refusal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::attest::Kind;
use super::image::{DigestRef, ParseImageRefError, Tag};
use super::tags::Channel;
use super::{Digest, Target};

pub use proof::{Check, PromotionChecks, Proven};
pub use refusal::Refusal;

/// What somebody allowed in so many words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// The tag of the image may be taken from another image: a rebuild for the same OpenZFS and kernel.
    pub replace: bool,
    /// The channel may go back to an older kernel or OpenZFS, change its architecture, or leave an image that does not
    /// say what it is for.
    pub downgrade: bool,
}

/// An image that is proven, and the tags that it shall have.
#[derive(Clone, Debug)]
pub struct Promotion {
    proven: Proven,
    channel: Channel,
    image_tag: Tag,
    audit_tag: Tag,
    moving: Vec<Tag>,
    allowed: Allowed,
}

impl Promotion {
    /// The promotion of an image to a channel. The error says that its tag would be too long.
    pub fn new(
        proven: Proven,
        channel: Channel,
        audit_tag: Tag,
        allowed: Allowed,
    ) -> Result<Self, ParseImageRefError> {
        let image_tag = channel.image_tag(proven.target())?;
        let moving = channel.moving_tags(proven.target());
        Ok(Self { proven, channel, image_tag, audit_tag, moving, allowed })
    }

    /// The image.
    pub const fn proven(&self) -> &Proven {
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
    pub fn steps(&self, found: &Found) -> Result<Vec<Step>, Vec<Refusal>> {
        let (mut steps, mut refusals) = (Vec::new(), Vec::new());
        for tag in self.tags() {
            match self.step(tag, found) {
                Ok(step) => steps.extend(step),
                Err(refusal) => refusals.push(refusal),
            }
        }
        if refusals.is_empty() { Ok(steps) } else { Err(refusals) }
    }

    fn step(&self, tag: &Tag, found: &Found) -> Result<Option<Step>, Refusal> {
        let ours = &self.proven.image().digest;
        let step = |from: Option<&Pointed>| {
            Some(Step { tag: tag.clone(), from: from.map(|pointed| pointed.digest.clone()) })
        };
        let Some(found) = found.0.get(tag) else { return Err(Refusal::NotAsked { tag: tag.clone() }) };
        let Some(there) = found else { return Ok(step(None)) };
        if there.digest == *ours {
            return Ok(None);
        }
        if self.moves(tag) {
            if !self.allowed.downgrade {
                self.forward(tag, there)?;
            }
        } else if *tag == self.audit_tag || !self.allowed.replace {
            let (tag, there, ours) = (tag.clone(), there.digest.clone(), ours.clone());
            return Err(if tag == self.audit_tag {
                Refusal::AuditTaken { tag, there, ours }
            } else {
                Refusal::Taken { tag, there, ours }
            });
        }
        Ok(step(Some(there)))
    }

    /// Whether the channel would not go backwards.
    fn forward(&self, tag: &Tag, there: &Pointed) -> Result<(), Refusal> {
        let ours = self.proven.target();
        let tag = tag.clone();
        let theirs = match &there.target {
            Ok(theirs) => theirs,
            Err(reason) => {
                return Err(Refusal::Unreadable { tag, there: there.digest.clone(), reason: reason.clone() });
            }
        };
        let build = |target: &Target| (target.arch(), target.kernel.variant().map(str::to_owned));
        let boxed = || (Box::new(theirs.clone()), Box::new(ours.clone()));
        if build(theirs) != build(ours) {
            let (there, ours) = boxed();
            return Err(Refusal::OtherBuild { tag, there, ours });
        }
        if ours.kernel < theirs.kernel || ours.zfs < theirs.zfs {
            let (there, ours) = boxed();
            return Err(Refusal::Backwards { tag, there, ours });
        }
        Ok(())
    }
}

/// Where the tags of a promotion point: for each that was asked for, an image or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found(pub BTreeMap<Tag, Option<Pointed>>);

/// The image that a tag points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointed {
    /// Its digest.
    pub digest: Digest,
    /// What it says it is for, or why that is not known.
    pub target: Result<Target, String>,
}

/// One step of promoting: point this tag to the image. It may be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The tag.
    pub tag: Tag,
    /// Where it pointed when it was asked for; if it points anywhere else by now, somebody else is at work.
    pub from: Option<Digest>,
}

impl fmt::Display for Step {
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
pub struct Promoted {
    image: DigestRef,
    channel: Channel,
    waived: BTreeSet<Kind>,
    steps: usize,
}

impl Promoted {
    pub(crate) fn new(promotion: &Promotion, steps: usize) -> Self {
        let proven = promotion.proven();
        Self {
            image: proven.image().clone(),
            channel: promotion.channel().clone(),
            waived: proven.waived().clone(),
            steps,
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
    pub const fn waived(&self) -> &BTreeSet<Kind> {
        &self.waived
    }

    /// How many steps were needed: none if all had been done before.
    pub const fn steps(&self) -> usize {
        self.steps
    }
}
