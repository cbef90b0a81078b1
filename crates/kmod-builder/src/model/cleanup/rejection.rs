use super::TagClass;
use super::{Percentage, RetentionEntry, RetentionPlan};

/// Why a plan is not carried out as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanRejection {
    /// Nothing that anybody could ask for by name would be left. There is no flag against this one.
    #[error("nothing with a tag would be left of the store")]
    NothingLeft,
    /// Fewer images than the minimum would be left for users.
    #[error("only {left} images would be left for users, and {minimum} is the minimum")]
    TooFew {
        /// So many would be left.
        left: usize,
        /// So many must be.
        minimum: usize,
    },
    /// More than the allowed share would be deleted.
    #[error("{delete} of {of} manifests would be deleted, which is more than {share}")]
    TooMany {
        /// So many would be deleted.
        delete: usize,
        /// Of so many.
        of: usize,
        /// The share that may be.
        share: Percentage,
    },
}

impl PlanRejection {
    /// Whether `--override-limits` is an answer to it.
    pub const fn can_be_overridden(&self) -> bool {
        !matches!(self, Self::NothingLeft)
    }
}

impl RetentionPlan {
    /// What speaks against carrying it out. A plan that deletes nothing does no harm.
    pub fn rejections(&self) -> Vec<PlanRejection> {
        let mut rejections = Vec::new();
        let delete = self.deletions().len();
        if delete == 0 {
            return rejections;
        }
        if self.kept().is_empty() || has(self.deletions(), is_named) && !has(self.kept(), is_named) {
            rejections.push(PlanRejection::NothingLeft);
        }
        let count =
            |entries: &[RetentionEntry]| entries.iter().filter(|entry| tagged(entry, is_for_users)).count();
        let (left, minimum) = (count(self.kept()), self.policy().minimum);
        // A store that never had as many is no reason to leave its candidates where they are.
        if left < minimum && count(self.deletions()) > 0 {
            rejections.push(PlanRejection::TooFew { left, minimum });
        }
        let (of, share) = (self.entries().len(), self.policy().max_delete);
        if share.is_exceeded_by(delete, of) {
            rejections.push(PlanRejection::TooMany { delete, of, share });
        }
        rejections
    }
}

fn has(entries: &[RetentionEntry], which: fn(&TagClass) -> bool) -> bool {
    entries.iter().any(|entry| tagged(entry, which))
}

fn tagged(entry: &RetentionEntry, which: fn(&TagClass) -> bool) -> bool {
    entry.tags.iter().any(|tag| which(&TagClass::of(tag)))
}

fn is_named(class: &TagClass) -> bool {
    !matches!(class, TagClass::Referrers(_) | TagClass::Signature(_))
}

fn is_for_users(class: &TagClass) -> bool {
    matches!(class, TagClass::Version(_) | TagClass::Channel | TagClass::Audit)
}
