use super::{Percentage, RetentionEntry, RetentionPlan, TagClass};

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
        let mut rejections = Vec::new();
        let delete = self.deletions().len();
        if delete == 0 {
            return rejections;
        }
        let tagged = |entry: &RetentionEntry, which: fn(&TagClass) -> bool| {
            entry.tags.iter().any(|tag| which(&TagClass::with_channels(tag, &self.policy.channels)))
        };
        let has_named = |entries: &[RetentionEntry]| entries.iter().any(|entry| tagged(entry, is_named));
        if self.kept().is_empty() || has_named(self.deletions()) && !has_named(self.kept()) {
            rejections.push(PlanRejection::NothingLeft);
        }
        let count =
            |entries: &[RetentionEntry]| entries.iter().filter(|entry| tagged(entry, is_for_users)).count();
        let (left, minimum) = (count(self.kept()), self.policy.minimum);
        // Candidates may be deleted from a store that never had the minimum.
        if left < minimum && count(self.deletions()) > 0 {
            rejections.push(PlanRejection::TooFew { left, minimum });
        }
        let (of, share) = (self.entries().len(), self.policy.max_delete);
        if share.is_exceeded_by(delete, of) {
            rejections.push(PlanRejection::TooMany { delete, of, share });
        }
        rejections
    }
}

fn is_named(class: &TagClass) -> bool {
    !matches!(class, TagClass::Referrers(_) | TagClass::Signature(_))
}

fn is_for_users(class: &TagClass) -> bool {
    matches!(class, TagClass::Version(_) | TagClass::Channel | TagClass::Audit)
}
