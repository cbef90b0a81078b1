//! What should exist: each target once, with its decision and the reason.

mod document;
mod reconciled;

use kmod_compat::Incompatibility;
use miette::Diagnostic as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::inputs::{BuildInputs, PartialInputsError, UnacceptableInputs};
use super::reconcile::{Backoff, MissingInput};
use super::{Digest, DocumentSchema, Target};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildDecision {
    Build {
        inputs: Box<BuildInputs>,
        /// Why the existing image is not up to date.
        reason: String,
    },
    /// The image exists, and these steps are missing.
    Continue { image: Digest, steps: Vec<TargetStep>, reason: String },
    /// The image is proven, and every channel of the target points to it.
    UpToDate(Digest),
    /// An input of the build is not there yet.
    Waiting { missing: MissingInput, reason: String },
    /// A failed build, or boot test of this image, is repeated later.
    BackingOff { image: Option<Digest>, backoff: Backoff },
    /// The image is withdrawn, and nothing is left to do about it.
    Withdrawn { image: Digest, reason: String },
    /// Expected, not an error.
    NotBuilt(NotBuilt),
    /// The inputs or the published image could not be determined.
    Unknown { reason: String },
}

/// A step of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetStep {
    Build,
    Sign,
    BootTest,
    Promote,
    Withdraw,
    Reinstate,
}

impl TargetStep {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Sign => "sign",
            Self::BootTest => "boot-test",
            Self::Promote => "promote",
            Self::Withdraw => "withdraw",
            Self::Reinstate => "reinstate",
        }
    }

    /// That does it.
    pub const fn command(self) -> &'static str {
        match self {
            Self::Withdraw | Self::Reinstate => "recall",
            step => step.as_str(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotBuilt {
    pub kind: NotBuiltKind,
    /// A sentence.
    pub reason: String,
    /// The verdict of the compatibility matrix, as JSON.
    pub verdict: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotBuiltKind {
    /// The kernel is too new or too old for the release.
    Unsupported,
    /// An `[[exclude]]` row of the matrix.
    Excluded,
    /// The matrix has no row for the release.
    UnverifiedRelease,
    /// Inputs that were given may not be published for users.
    UnacceptableInputs,
}

impl NotBuiltKind {
    /// The class of a verdict, or the decision of a plan.
    fn of_class(class: &str) -> Self {
        match class {
            "excluded" => Self::Excluded,
            "unverified-release" | "unknown-release" => Self::UnverifiedRelease,
            "unacceptable-inputs" => Self::UnacceptableInputs,
            _ => Self::Unsupported,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Excluded => "excluded",
            Self::UnverifiedRelease => "unverified-release",
            Self::UnacceptableInputs => "unacceptable-inputs",
        }
    }
}

impl NotBuilt {
    /// Somebody must look before it is built.
    pub fn unverified(reason: &str) -> Self {
        Self { kind: NotBuiltKind::UnverifiedRelease, reason: reason.to_owned(), verdict: Value::Null }
    }

    pub fn unacceptable(inputs: &UnacceptableInputs) -> Self {
        let help = inputs.help().map(|help| help.to_string()).unwrap_or_default();
        let reason = format!(
            "its inputs may not be published for users: {inputs}\nhelp: {help}; on a branch, they are built for the branch's own channel"
        );
        Self { kind: NotBuiltKind::UnacceptableInputs, reason, verdict: Value::Null }
    }

    /// The line has no release at all.
    pub fn without_a_release() -> Self {
        let reason = "no release of the line is known".to_owned();
        Self { kind: NotBuiltKind::UnverifiedRelease, reason, verdict: Value::Null }
    }
}

impl From<&PartialInputsError> for NotBuilt {
    fn from(error: &PartialInputsError) -> Self {
        let kind = match error {
            PartialInputsError::NoFedora(_) => NotBuiltKind::Unsupported,
            PartialInputsError::NoChecksum(_) | PartialInputsError::OtherTarball { .. } => {
                NotBuiltKind::UnverifiedRelease
            }
        };
        let help = error.help().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        Self { kind, reason: format!("{error}{help}"), verdict: Value::Null }
    }
}

impl From<&Incompatibility> for NotBuilt {
    fn from(reason: &Incompatibility) -> Self {
        let verdict = serde_json::to_value(reason).unwrap_or_default();
        Self { kind: NotBuiltKind::of_class(reason.kind()), reason: reason.to_string(), verdict }
    }
}

impl BuildDecision {
    /// What a job has to do, in this order.
    pub fn steps(&self) -> Vec<TargetStep> {
        match self {
            Self::Build { .. } => vec![TargetStep::Build, TargetStep::BootTest, TargetStep::Promote],
            Self::Continue { steps, .. } => steps.clone(),
            _ => Vec::new(),
        }
    }

    /// In tables and JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Build { .. } => "build",
            Self::Continue { steps, .. } => match steps.first() {
                Some(step) => step.as_str(),
                None => "up-to-date",
            },
            Self::UpToDate(_) => "up-to-date",
            Self::Waiting { .. } => "waiting",
            Self::BackingOff { .. } => "backing-off",
            Self::Withdrawn { .. } => "withdrawn",
            Self::NotBuilt(not_built) => not_built.kind.as_str(),
            Self::Unknown { .. } => "unknown",
        }
    }

    /// A sentence.
    pub fn reason(&self) -> String {
        match self {
            Self::Build { reason, .. }
            | Self::Continue { reason, .. }
            | Self::Waiting { reason, .. }
            | Self::Withdrawn { reason, .. }
            | Self::Unknown { reason } => reason.clone(),
            Self::UpToDate(digest) => format!("{digest} is proven, and its channels point to it"),
            Self::BackingOff { backoff, .. } => backoff.to_string(),
            Self::NotBuilt(not_built) => not_built.reason.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "document::TargetDocument", into = "document::TargetDocument")]
pub struct PlannedTarget {
    pub target: Target,
    /// Of the kernel.
    pub sources: Vec<String>,
    /// The channels that the promotion moves, or notes a rollback of: `stable`, `zfs-2.3_stable`. Plans of version 2 have
    /// none; their channels are the sources.
    pub channels: Option<Vec<String>>,
    pub decision: BuildDecision,
}

/// A source of kernels that could not be queried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnresolvedSource {
    /// A stream or an image.
    #[serde(alias = "place")]
    pub source: String,
    /// It does not exist any more. Its tags stay.
    #[serde(default)]
    pub gone: bool,
    pub reason: String,
}

/// The result of `plan`, also used for dry runs, the workflow matrix and logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Missing in version 1.
    #[serde(default = "Plan::schema")]
    schema: DocumentSchema,
    targets: Vec<PlannedTarget>,
    /// Empty in version 2.
    #[serde(default)]
    channels: Vec<PlannedChannel>,
    #[serde(alias = "unknown")]
    unresolved: Vec<UnresolvedSource>,
}

/// A channel before the steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedChannel {
    /// `stable`, `zfs-2.3_stable`.
    pub channel: String,
    pub source: String,
    pub target: Option<Target>,
    /// `right`, `moving`, `rollback-seen`, `backing-off`, `waiting`, `unsupported`, `excluded`, `unverified-release`,
    /// `source-gone` or `unknown`.
    pub status: String,
    /// A sentence; empty for `right`.
    pub reason: String,
}

impl Plan {
    fn schema() -> DocumentSchema {
        DocumentSchema::new("plan", 3)
    }

    /// Duplicate targets are merged.
    pub fn new(
        planned: Vec<PlannedTarget>,
        channels: Vec<PlannedChannel>,
        unresolved: Vec<UnresolvedSource>,
    ) -> Self {
        let mut targets: Vec<PlannedTarget> = Vec::new();
        for entry in planned {
            if !targets.iter().any(|other| other.target == entry.target) {
                targets.push(entry);
            }
        }
        Self { schema: Self::schema(), targets, channels, unresolved }
    }

    pub fn targets(&self) -> &[PlannedTarget] {
        &self.targets
    }

    pub fn channels(&self) -> &[PlannedChannel] {
        &self.channels
    }

    pub fn unresolved(&self) -> &[UnresolvedSource] {
        &self.unresolved
    }

    /// Whether every source answered and every decision was made.
    pub fn is_complete(&self) -> bool {
        self.unresolved.iter().all(|source| source.gone)
            && !self.targets.iter().any(|entry| matches!(entry.decision, BuildDecision::Unknown { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_makes_a_plan_incomplete() {
        let entry = PlannedTarget {
            target: Target {
                zfs: "2.4.3".parse().unwrap(),
                kernel: "6.17.8-300.fc43.x86_64".parse().unwrap(),
            },
            sources: vec!["stable".into()],
            channels: None,
            decision: BuildDecision::UpToDate(Digest::of(b"")),
        };
        assert!(Plan::new(vec![entry.clone(), entry.clone()], vec![], vec![]).is_complete());
        assert_eq!(Plan::new(vec![entry.clone(), entry.clone()], vec![], vec![]).targets().len(), 1);
        let blind = UnresolvedSource { source: "next".into(), gone: false, reason: "no network".into() };
        assert!(!Plan::new(vec![entry.clone()], vec![], vec![blind]).is_complete());
        let unknown =
            PlannedTarget { decision: BuildDecision::Unknown { reason: "no network".into() }, ..entry };
        assert!(!Plan::new(vec![unknown], vec![], vec![]).is_complete());
    }
}
