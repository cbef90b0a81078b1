use jiff::{SignedDuration, Timestamp};
use kmod_compat::{KernelRelease, Verdict, ZfsVersion};

use super::{
    Action, Backoff, BlockedChannel, ChannelPlan, ChannelStatus, DesiredChannel, DesiredState, DesiredTarget,
    EvidenceTrust, Observation, ObservedImage, ObservedState, ObservedTarget, ReconcilePlan, TargetPlan,
    TargetStatus,
};
use crate::model::image::Tag;
use crate::model::promote::TaggedImage;
use crate::model::tags::LineChannel;
use crate::model::{Digest, Target};

/// The least time between two runs that see a rollback before channels follow it: an outdated mirror is no rollback.
pub const ROLLBACK_CONFIRMATION: SignedDuration = SignedDuration::from_hours(12);

/// An older note confirms nothing.
pub const ROLLBACK_NOTE_AGE: SignedDuration = SignedDuration::from_hours(14 * 24);

#[derive(Clone, Copy, Debug)]
pub struct ReconcileOptions {
    pub now: Timestamp,
    /// Build every desired target again.
    pub force: bool,
}

/// `verdict` is that of the compatibility matrix: it says which published images are recalled.
pub fn reconcile(
    desired: &DesiredState,
    observed: &ObservedState,
    verdict: impl Fn(ZfsVersion, &KernelRelease) -> Verdict,
    options: ReconcileOptions,
) -> ReconcilePlan {
    let engine = Engine { desired, observed, verdict, options };
    let planned: Vec<_> = desired.targets.iter().map(|target| engine.target(target)).collect();
    let channels = desired.channels.iter().map(|channel| engine.channel(channel, &planned)).collect();
    let targets = planned.into_iter().chain(engine.recalls()).collect();
    ReconcilePlan { targets, channels }
}

struct Engine<'a, F> {
    desired: &'a DesiredState,
    observed: &'a ObservedState,
    verdict: F,
    options: ReconcileOptions,
}

/// The image that a target's channels should point to, and the steps before they may.
struct Chosen {
    image: Option<Digest>,
    steps: Vec<Action>,
}

#[derive(Default)]
struct TagList {
    channels: Vec<LineChannel>,
    tags: Vec<Tag>,
}

impl TagList {
    fn add(&mut self, channel: &DesiredChannel, tag: Tag) {
        let channel = channel.line_channel();
        if !self.channels.contains(&channel) {
            self.channels.push(channel);
        }
        self.tags.push(tag);
    }
}

/// The way of a channel tag to the image.
enum TagMove {
    None,
    Move,
    /// Upstream went back; seen since, if by an earlier run.
    Rollback(Option<Timestamp>),
    Unknown(String),
}

impl<F: Fn(ZfsVersion, &KernelRelease) -> Verdict> Engine<'_, F> {
    fn target(&self, desired: &DesiredTarget) -> TargetPlan {
        let plan = |image, status, steps| TargetPlan {
            target: desired.target.clone(),
            sources: desired.sources.clone(),
            image,
            status,
            steps,
        };
        let observed = match self.observed.targets.get(&desired.target) {
            Some(Ok(observed)) => observed,
            Some(Err(reason)) => {
                return plan(None, TargetStatus::Unknown { reason: reason.clone() }, Vec::new());
            }
            None => {
                let reason = "the repository was not asked for it".to_owned();
                return plan(None, TargetStatus::Unknown { reason }, Vec::new());
            }
        };
        let chosen = match self.choose(observed) {
            Ok(chosen) => chosen,
            Err((image, backoff)) => return plan(image, TargetStatus::BackingOff(backoff), Vec::new()),
        };
        let mut steps = chosen.steps;
        let image = chosen.image.as_ref().and_then(|digest| observed.image(digest));
        steps.extend(self.moves(&desired.target, image, observed));
        let status = if steps.is_empty() { TargetStatus::UpToDate } else { TargetStatus::Pending };
        plan(chosen.image, status, steps)
    }

    /// A proven image stays right under any later inputs.
    fn choose(&self, observed: &ObservedTarget) -> Result<Chosen, (Option<Digest>, Backoff)> {
        let build = |reason: String| self.build(observed, reason);
        if self.options.force {
            return Ok(Self::build_now("requested with --force".to_owned()));
        }
        let usable = |image: &ObservedImage| image.unacceptable.is_none() && image.is_trusted();
        if let Some(own) = observed.own.as_ref().filter(|own| usable(own) && own.is_proven()) {
            return self.test(own);
        }
        let candidate =
            observed.candidate.as_ref().filter(|candidate| usable(candidate) && candidate.is_current);
        let own = observed.own.as_ref().filter(|own| usable(own));
        // An image at its own tag that no test proves: of an earlier version, or a later test failed.
        match (candidate, own) {
            (Some(image), _) => self.test(image),
            (None, Some(image)) if image.is_current || image.boot_tests.is_empty() => self.test(image),
            (None, Some(image)) => {
                build(format!("{} failed its boot test, and the inputs changed", image.digest))
            }
            (None, None) => build(match (&observed.own, &observed.candidate) {
                (None, None) => "the image does not exist yet".to_owned(),
                (Some(image), _) | (None, Some(image)) => match (&image.evidence, &image.unacceptable) {
                    (EvidenceTrust::Untrusted(why), _) => {
                        format!("{} has no valid evidence: {why}", image.digest)
                    }
                    (_, Some(why)) => format!("{} is not used: {why}", image.digest),
                    _ => format!("{} was made from other inputs", image.digest),
                },
            }),
        }
    }

    /// The steps of an existing image up to its proof.
    fn test(&self, image: &ObservedImage) -> Result<Chosen, (Option<Digest>, Backoff)> {
        let digest = Some(image.digest.clone());
        let reinstate = image.withdrawn.is_some().then_some(Action::Reinstate);
        let sign = (image.evidence == EvidenceTrust::Rotated).then_some(Action::Sign);
        let mut steps: Vec<_> = reinstate.into_iter().chain(sign).collect();
        if image.is_proven() {
            return Ok(Chosen { image: digest, steps });
        }
        let reason = match Backoff::of(&image.failed_boot_tests(), self.options.now) {
            Some(backoff) if !backoff.is_due(self.options.now) => return Err((digest, backoff)),
            Some(backoff) => {
                format!("the last of {} boot tests failed: {}", backoff.attempts, backoff.reason)
            }
            None => "it was never boot-tested".to_owned(),
        };
        steps.push(Action::BootTest { reason });
        Ok(Chosen { image: digest, steps })
    }

    fn build(&self, observed: &ObservedTarget, reason: String) -> Result<Chosen, (Option<Digest>, Backoff)> {
        match Backoff::of(&observed.failed_builds, self.options.now) {
            Some(backoff) if !backoff.is_due(self.options.now) => Err((None, backoff)),
            _ => Ok(Self::build_now(reason)),
        }
    }

    fn build_now(reason: String) -> Chosen {
        let test = Action::BootTest { reason: "it is built in this run".to_owned() };
        Chosen { image: None, steps: vec![Action::Build { reason }, test] }
    }

    /// `image` is `None` if it is to be built.
    fn moves(
        &self,
        target: &Target,
        image: Option<&ObservedImage>,
        observed: &ObservedTarget,
    ) -> Vec<Action> {
        let (mut promoted, mut noted, mut cleared) = <(TagList, TagList, TagList)>::default();
        for channel in self.desired.channels.iter().filter(|channel| channel.wanted.as_ref() == Ok(target)) {
            for tag in channel.tags(target) {
                let is_noted = image.is_some_and(|image| image.noted.contains(&tag));
                let moved = match self.tag_move(&tag, target, image) {
                    TagMove::Move => true,
                    TagMove::Rollback(Some(seen)) => self.is_confirmed(seen),
                    TagMove::Rollback(None) => {
                        noted.add(channel, tag.clone());
                        false
                    }
                    TagMove::None => false,
                    TagMove::Unknown(_) => continue,
                };
                if is_noted {
                    cleared.add(channel, tag.clone());
                }
                if moved {
                    promoted.add(channel, tag);
                }
            }
        }
        let own = observed.own.as_ref().map(|own| &own.digest);
        let is_promoted = image.is_some_and(|image| own == Some(&image.digest));
        let promote = (!promoted.tags.is_empty() || !is_promoted)
            .then_some(Action::Promote { channels: promoted.channels, tags: promoted.tags });
        let note = (!noted.tags.is_empty())
            .then_some(Action::NoteRollback { channels: noted.channels, tags: noted.tags });
        let clear = (!cleared.tags.is_empty())
            .then_some(Action::ClearRollback { channels: cleared.channels, tags: cleared.tags });
        [promote, note, clear].into_iter().flatten().collect()
    }

    fn tag_move(&self, tag: &Tag, target: &Target, image: Option<&ObservedImage>) -> TagMove {
        let there = match self.observed.tags.get(tag) {
            Some(Ok(there)) => there,
            Some(Err(reason)) => return TagMove::Unknown(reason.clone()),
            None => return TagMove::Unknown(format!("the repository was not asked for `{tag}`")),
        };
        let Some(there) = there else { return TagMove::Move };
        if image.is_some_and(|image| image.digest == there.digest) {
            return TagMove::None;
        }
        if self.may_leave(there, target) {
            return TagMove::Move;
        }
        let note = self.observed.rollbacks.get(tag).filter(|note| note.to == *target);
        let seen = note.map(|note| note.seen.min(self.options.now));
        TagMove::Rollback(seen.filter(|seen| self.options.now.duration_since(*seen) <= ROLLBACK_NOTE_AGE))
    }

    /// Forwards, or away from an image that is recalled or not ours.
    fn may_leave(&self, there: &TaggedImage, target: &Target) -> bool {
        let Ok(theirs) = &there.target else { return true };
        let is_recalled = (self.verdict)(theirs.zfs, &theirs.kernel).exclusion().is_some();
        let same_build = theirs.arch() == target.arch() && theirs.kernel.variant() == target.kernel.variant();
        is_recalled || (same_build && target.kernel >= theirs.kernel && target.zfs >= theirs.zfs)
    }

    fn is_confirmed(&self, seen: Timestamp) -> bool {
        self.options.now.duration_since(seen) >= ROLLBACK_CONFIRMATION
    }

    fn channel(&self, desired: &DesiredChannel, planned: &[TargetPlan]) -> ChannelPlan {
        let plan = |target: Option<&Target>, status| ChannelPlan {
            channel: desired.channel.clone(),
            name: desired.name(),
            source: desired.source.clone(),
            target: target.cloned(),
            status,
        };
        let target = match &desired.wanted {
            Ok(target) => target,
            Err(blocked) => {
                return plan(
                    None,
                    match blocked.clone() {
                        BlockedChannel::NotBuilt { not_built, .. } => ChannelStatus::NotBuilt(*not_built),
                        BlockedChannel::SourceGone { reason } => ChannelStatus::SourceGone { reason },
                        BlockedChannel::SourceUnknown { reason }
                        | BlockedChannel::VerdictUnknown { reason } => ChannelStatus::Unknown { reason },
                    },
                );
            }
        };
        let Some(planned) = planned.iter().find(|planned| planned.target == *target) else {
            let reason = "the target is not planned".to_owned();
            return plan(Some(target), ChannelStatus::Unknown { reason });
        };
        let status = match &planned.status {
            TargetStatus::Unknown { reason } => ChannelStatus::Unknown { reason: reason.clone() },
            TargetStatus::BackingOff(backoff) => ChannelStatus::BackingOff(backoff.clone()),
            TargetStatus::Waiting { reason, .. } => ChannelStatus::Waiting { reason: reason.clone() },
            TargetStatus::NotBuilt(not_built) => ChannelStatus::NotBuilt(not_built.clone()),
            TargetStatus::Pending | TargetStatus::UpToDate | TargetStatus::Withdrawn { .. } => {
                self.channel_status(desired, target, planned)
            }
        };
        plan(Some(target), status)
    }

    fn channel_status(
        &self,
        desired: &DesiredChannel,
        target: &Target,
        planned: &TargetPlan,
    ) -> ChannelStatus {
        let observed = self.observed.targets.get(target);
        let image = match (observed, &planned.image) {
            (Some(Ok(observed)), Some(digest)) => observed.image(digest),
            _ => None,
        };
        let mut status = ChannelStatus::Right;
        for tag in desired.tags(target) {
            match self.tag_move(&tag, target, image) {
                TagMove::None => {}
                TagMove::Unknown(reason) => return ChannelStatus::Unknown { reason },
                TagMove::Move => status = ChannelStatus::Moving,
                TagMove::Rollback(Some(seen)) if self.is_confirmed(seen) => status = ChannelStatus::Moving,
                TagMove::Rollback(seen) => {
                    return ChannelStatus::RollbackSeen { since: seen.unwrap_or(self.options.now) };
                }
            }
        }
        let is_noted =
            |step: &Action| matches!(step, Action::NoteRollback { .. } | Action::ClearRollback { .. });
        let has_steps = planned.steps.iter().any(|step| !is_noted(step));
        if status == ChannelStatus::Right && has_steps { ChannelStatus::Moving } else { status }
    }

    /// Published images that an exclusion recalls, and those whose exclusion was removed.
    fn recalls(&self) -> Vec<TargetPlan> {
        let desired = |target: &Target| self.desired.targets.iter().any(|known| known.target == *target);
        let published = self.observed.targets.iter().filter(|(target, _)| !desired(target));
        published.filter_map(|(target, observed)| self.recall(target, observed)).collect()
    }

    fn recall(&self, target: &Target, observed: &Observation<ObservedTarget>) -> Option<TargetPlan> {
        let plan = |image, status, steps| {
            Some(TargetPlan { target: target.clone(), sources: Vec::new(), image, status, steps })
        };
        let image = match observed {
            Ok(observed) => observed.own.as_ref().filter(|image| image.is_trusted())?,
            Err(reason) => return plan(None, TargetStatus::Unknown { reason: reason.clone() }, Vec::new()),
        };
        let excluded = (self.verdict)(target.zfs, &target.kernel).exclusion().map(ToString::to_string);
        let step = match (excluded, &image.withdrawn) {
            (Some(reason), None) => Action::Withdraw { reason },
            (None, Some(_)) => Action::Reinstate,
            (Some(reason), Some(_)) => {
                return plan(Some(image.digest.clone()), TargetStatus::Withdrawn { reason }, Vec::new());
            }
            (None, None) => return None,
        };
        plan(Some(image.digest.clone()), TargetStatus::Pending, vec![step])
    }
}

impl ObservedTarget {
    fn image(&self, digest: &Digest) -> Option<&ObservedImage> {
        [&self.own, &self.candidate].into_iter().flatten().find(|image| image.digest == *digest)
    }
}
