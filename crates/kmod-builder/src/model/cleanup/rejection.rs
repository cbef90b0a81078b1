use super::{Percentage, RetentionEntry, RetentionPlan, TagClass};
use crate::model::tags::ChannelName;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanRejection {
    /// No tagged manifest would be left. Cannot be overridden.
    #[error("nothing with a tag would be left of the store")]
    NothingLeft,
    #[error("only {left} images would be left for users, and {minimum} is the minimum")]
    TooFew { left: usize, minimum: usize },
    #[error("{delete} of {of} manifests would be deleted, which is more than {share}")]
    TooMany { delete: usize, of: usize, share: Percentage },
}

impl PlanRejection {
    /// By `--override-limits`.
    pub const fn can_be_overridden(&self) -> bool {
        !matches!(self, Self::NothingLeft)
    }
}

impl RetentionPlan {
    /// Empty for a plan without deletions.
    pub fn rejections(&self) -> Vec<PlanRejection> {
        self.rejections_of(RetentionEntry::is_deleted)
    }

    /// If only these entries are deleted.
    pub fn rejections_of(&self, goes: impl Fn(&RetentionEntry) -> bool) -> Vec<PlanRejection> {
        let mut rejections = Vec::new();
        let (going, left): (Vec<_>, Vec<_>) = self.entries().iter().partition(|entry| goes(entry));
        if going.is_empty() {
            return rejections;
        }
        let channels = &self.policy.channels;
        let has_named =
            |entries: &[&RetentionEntry]| entries.iter().any(|entry| tagged(entry, channels, is_named));
        if left.is_empty() || has_named(&going) && !has_named(&left) {
            rejections.push(PlanRejection::NothingLeft);
        }
        let minimum = self.policy.minimum;
        let images = left.iter().filter(|entry| entry.is_for_users(channels)).count();
        // Candidates may be deleted from a store that never had the minimum.
        if images < minimum && going.iter().any(|entry| entry.is_for_users(channels)) {
            rejections.push(PlanRejection::TooFew { left: images, minimum });
        }
        let (delete, of, share) = (going.len(), self.entries().len(), self.policy.max_delete);
        if share.is_exceeded_by(delete, of) {
            rejections.push(PlanRejection::TooMany { delete, of, share });
        }
        rejections
    }
}

impl RetentionEntry {
    /// `channels` are those of bootable images.
    pub(crate) fn is_for_users(&self, channels: &[ChannelName]) -> bool {
        !self.is_evidence() && tagged(self, channels, is_for_users)
    }
}

fn tagged(entry: &RetentionEntry, channels: &[ChannelName], which: fn(&TagClass) -> bool) -> bool {
    entry.tags.iter().any(|tag| which(&TagClass::with_channels(tag, channels)))
}

fn is_named(class: &TagClass) -> bool {
    !matches!(class, TagClass::Referrers(_) | TagClass::Signature(_))
}

fn is_for_users(class: &TagClass) -> bool {
    matches!(class, TagClass::Version(_) | TagClass::Channel | TagClass::Audit)
}
