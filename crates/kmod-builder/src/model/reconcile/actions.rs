use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Backoff;
use crate::model::image::Tag;
use crate::model::plan::NotBuilt;
use crate::model::tags::{Channel, LineChannel};
use crate::model::{Digest, Target};

/// A remaining step of a target, in the order of execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    Reinstate,
    Build {
        /// Why no existing image is used.
        reason: String,
    },
    /// Attach the evidence of the signer of today.
    Sign,
    BootTest {
        reason: String,
    },
    /// Set the image's own tag and these tags of the channels.
    Promote {
        channels: Vec<LineChannel>,
        tags: Vec<Tag>,
    },
    /// Record that upstream went back, at the images that these tags point to.
    NoteRollback {
        channels: Vec<LineChannel>,
        tags: Vec<Tag>,
    },
    /// Record that upstream did not go back after all.
    ClearRollback {
        channels: Vec<LineChannel>,
        tags: Vec<Tag>,
    },
    Withdraw {
        reason: String,
    },
}

impl Action {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Reinstate => "reinstate",
            Self::Build { .. } => "build",
            Self::Sign => "sign",
            Self::BootTest { .. } => "boot-test",
            Self::Promote { .. } => "promote",
            Self::NoteRollback { .. } => "note-rollback",
            Self::ClearRollback { .. } => "clear-rollback",
            Self::Withdraw { .. } => "withdraw",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPlan {
    pub target: Target,
    /// Of the kernel; empty for an image that is to be withdrawn or reinstated.
    pub sources: Vec<String>,
    /// The image that the steps are about; `None` if it is to be built.
    pub image: Option<Digest>,
    pub status: TargetStatus,
    pub steps: Vec<Action>,
}

impl TargetPlan {
    pub fn is_built(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Action::Build { .. }))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetStatus {
    /// There are steps.
    Pending,
    UpToDate,
    /// A failed build or boot test is repeated later.
    BackingOff(Backoff),
    /// An input of the build is not there yet.
    Waiting {
        missing: MissingInput,
        reason: String,
    },
    /// Nothing is left to do about an image that was recalled.
    Withdrawn {
        reason: String,
    },
    /// The release or the kernel cannot be used.
    NotBuilt(NotBuilt),
    /// The repository did not answer.
    Unknown {
        reason: String,
    },
}

/// What a build waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingInput {
    KernelDevel,
    BuilderImage,
    /// The key that signs packages of a new Fedora release is not pinned yet.
    FedoraKey,
}

/// The state of a channel before the steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPlan {
    pub channel: Channel,
    /// `stable`, `zfs-2.3_stable`.
    pub name: String,
    pub source: String,
    pub target: Option<Target>,
    pub status: ChannelStatus,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelStatus {
    /// All tags point to the proven image of the target.
    Right,
    /// The steps of the target move it.
    Moving,
    /// Upstream went back. The tags follow when a later run sees it too.
    RollbackSeen {
        since: Timestamp,
    },
    BackingOff(Backoff),
    Waiting {
        reason: String,
    },
    NotBuilt(NotBuilt),
    SourceGone {
        reason: String,
    },
    Unknown {
        reason: String,
    },
}

/// The difference between desired and observed state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconcilePlan {
    pub targets: Vec<TargetPlan>,
    pub channels: Vec<ChannelPlan>,
}

impl ReconcilePlan {
    pub fn has_steps(&self) -> bool {
        self.targets.iter().any(|target| !target.steps.is_empty())
    }

    /// Withholds the steps of a target that cannot be built, because an input of the build is missing.
    pub fn wait(&mut self, target: &Target, missing: MissingInput, reason: &str) {
        let reason = reason.to_owned();
        let status = ChannelStatus::Waiting { reason: reason.clone() };
        self.withhold(target, &TargetStatus::Waiting { missing, reason }, &status);
    }

    /// Withholds the steps of a target whose inputs could not be determined.
    pub fn fail(&mut self, target: &Target, reason: &str) {
        let reason = reason.to_owned();
        let status = ChannelStatus::Unknown { reason: reason.clone() };
        self.withhold(target, &TargetStatus::Unknown { reason }, &status);
    }

    /// Withholds the steps of a target that must not be built.
    pub fn reject(&mut self, target: &Target, not_built: &NotBuilt) {
        let status = ChannelStatus::NotBuilt(not_built.clone());
        self.withhold(target, &TargetStatus::NotBuilt(not_built.clone()), &status);
    }

    fn withhold(&mut self, target: &Target, status: &TargetStatus, of_channels: &ChannelStatus) {
        for planned in self.targets.iter_mut().filter(|planned| planned.target == *target) {
            planned.steps.clear();
            planned.status = status.clone();
        }
        for channel in self.channels.iter_mut().filter(|channel| channel.target.as_ref() == Some(target)) {
            channel.status = of_channels.clone();
        }
    }
}
