use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{DesiredState, FailedAttempt};
use crate::model::image::Tag;
use crate::model::promote::TaggedImage;
use crate::model::{Digest, Target};

/// The error is a sentence: why it is unknown.
pub type Observation<T> = Result<T, String>;

/// What the repository has. Whatever is missing here counts as unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedState {
    /// The desired targets, and those whose images are to be withdrawn or reinstated.
    pub targets: BTreeMap<Target, Observation<ObservedTarget>>,
    /// Where each moving tag points to.
    pub tags: BTreeMap<Tag, Observation<Option<TaggedImage>>>,
    /// Of the image that the tag points to: the newest note by a trusted signer, unless a newer one clears it.
    pub rollbacks: BTreeMap<Tag, RollbackNote>,
}

/// A run saw that upstream went back, and left the tag where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackNote {
    pub to: Target,
    pub seen: Timestamp,
}

impl ObservedState {
    /// Of a repository that does not exist.
    pub fn nothing_published(desired: &DesiredState) -> Self {
        let targets = desired.targets.iter();
        let tags = desired.channels.iter().filter_map(|channel| {
            Some(channel.tags(channel.wanted.as_ref().ok()?).into_iter().map(|tag| (tag, Ok(None))))
        });
        Self {
            targets: targets.map(|desired| (desired.target.clone(), Ok(ObservedTarget::default()))).collect(),
            tags: tags.flatten().collect(),
            rollbacks: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedTarget {
    /// The image at `zfs-X_kernel-Y`.
    pub own: Option<ObservedImage>,
    /// The image at `candidate-zfs-X_kernel-Y`.
    pub candidate: Option<ObservedImage>,
    /// Failed builds of today's inputs, by trusted signers.
    pub failed_builds: Vec<FailedAttempt>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedImage {
    pub digest: Digest,
    pub evidence: EvidenceTrust,
    /// Whether a build of today would have the same inputs, apart from the locations of packages and the builder image.
    pub is_current: bool,
    /// Why its inputs may not be published for users, although its evidence is trusted: a sentence.
    pub unacceptable: Option<String>,
    /// Results by trusted signers.
    pub boot_tests: Vec<BootTestFact>,
    /// Whether a trusted signer stated that it was promoted.
    pub is_promoted: bool,
    /// The reason of the newest statement by a trusted signer that withdraws it, unless a newer one reinstates it.
    pub withdrawn: Option<String>,
    /// The moving tags for which a rollback is noted at this image.
    pub noted: BTreeSet<Tag>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvidenceTrust {
    Trusted,
    /// By a trusted signer, but not by the one that signs now.
    Rotated,
    /// Missing or not accepted: a sentence.
    Untrusted(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootTestFact {
    pub finished: Timestamp,
    /// Why the test failed, in a sentence; `None` if it passed.
    pub failure: Option<String>,
}

impl ObservedImage {
    pub const fn is_trusted(&self) -> bool {
        !matches!(self.evidence, EvidenceTrust::Untrusted(_))
    }

    /// Of results with the same time, the failure counts as newer.
    pub fn newest_boot_test(&self) -> Option<&BootTestFact> {
        self.boot_tests.iter().max_by_key(|test| (test.finished, test.failure.is_some()))
    }

    /// Trusted evidence, a passed boot test or a promotion, and no newer failure, however old.
    pub fn is_proven(&self) -> bool {
        let tested = match self.newest_boot_test() {
            Some(test) => test.failure.is_none(),
            None => self.is_promoted,
        };
        self.is_trusted() && tested
    }

    /// The failures since the last passed test, oldest first.
    pub fn failed_boot_tests(&self) -> Vec<FailedAttempt> {
        let passed = self.boot_tests.iter().filter(|test| test.failure.is_none());
        let passed = passed.map(|test| test.finished).max();
        let mut failed: Vec<_> = self
            .boot_tests
            .iter()
            .filter(|test| passed.is_none_or(|passed| test.finished >= passed))
            .filter_map(|test| Some(FailedAttempt { at: test.finished, reason: test.failure.clone()? }))
            .collect();
        failed.sort_by_key(|attempt| attempt.at);
        failed
    }
}
