//! What should exist: each target once, with its decision and the reason.

mod document;

use std::collections::BTreeMap;

use kmod_compat::{Incompatibility, KernelRelease, ZfsVersion};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::inputs::{BuildInputs, PartialInputs, SourceImageRef};
use super::{Digest, DocumentSchema, Target};

/// A kernel that hosts run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedKernel {
    /// A Fedora CoreOS stream, or a named image.
    pub source: String,
    pub kernel: KernelRelease,
    pub image: SourceImageRef,
}

/// A target with every source of its kernel: at least one, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredImage {
    pub target: Target,
    pub observed: Vec<ObservedKernel>,
}

/// One target per kernel, in the order of first occurrence.
pub fn targets(zfs: ZfsVersion, observed: Vec<ObservedKernel>) -> Vec<DesiredImage> {
    let mut positions = BTreeMap::new();
    let mut all: Vec<DesiredImage> = Vec::new();
    for kernel in observed {
        let position = *positions.entry(kernel.kernel.clone()).or_insert(all.len());
        if let Some(desired) = all.get_mut(position) {
            desired.observed.push(kernel);
        } else {
            let target = Target { zfs, kernel: kernel.kernel.clone() };
            all.push(DesiredImage { target, observed: vec![kernel] });
        }
    }
    all
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildDecision {
    Build {
        inputs: Box<BuildInputs>,
        /// Why the existing image is not up to date.
        reason: String,
    },
    /// An image with the same inputs exists.
    UpToDate(Digest),
    /// Expected, not an error.
    NotBuilt(NotBuilt),
    /// The inputs or the published image could not be determined.
    Unknown { reason: String },
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
}

impl NotBuiltKind {
    /// The class of a verdict, or the decision of a plan.
    fn of_class(class: &str) -> Self {
        match class {
            "excluded" => Self::Excluded,
            "unverified-release" | "unknown-release" => Self::UnverifiedRelease,
            _ => Self::Unsupported,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Excluded => "excluded",
            Self::UnverifiedRelease => "unverified-release",
        }
    }
}

impl NotBuilt {
    /// The line has no release at all.
    pub fn without_a_release() -> Self {
        let reason = "no release of the line is known".to_owned();
        Self { kind: NotBuiltKind::UnverifiedRelease, reason, verdict: Value::Null }
    }
}

impl From<&Incompatibility> for NotBuilt {
    fn from(reason: &Incompatibility) -> Self {
        let verdict = serde_json::to_value(reason).unwrap_or_default();
        Self { kind: NotBuiltKind::of_class(reason.kind()), reason: reason.to_string(), verdict }
    }
}

impl BuildDecision {
    /// In tables and JSON.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Build { .. } => "build",
            Self::UpToDate(_) => "up-to-date",
            Self::NotBuilt(not_built) => not_built.kind.as_str(),
            Self::Unknown { .. } => "unknown",
        }
    }

    /// A sentence.
    pub fn reason(&self) -> String {
        match self {
            Self::Build { reason, .. } | Self::Unknown { reason } => reason.clone(),
            Self::UpToDate(digest) => format!("{digest} was made from the same inputs"),
            Self::NotBuilt(not_built) => not_built.reason.clone(),
        }
    }
}

/// The image at a target's tag. A failed lookup is not a value of this type: nothing is built without knowing what is
/// published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
    Nothing,
    Unproven {
        digest: Digest,
        why: String,
    },
    /// With the inputs in its provenance.
    Proven {
        digest: Digest,
        inputs: Box<BuildInputs>,
    },
}

/// The digest of the up-to-date image, or the reason to build. `existing` is `None` without a repository to compare
/// with.
pub fn needed(known: &PartialInputs, existing: Option<Existing>, force: bool) -> Result<Digest, String> {
    let Some(existing) = existing else {
        return Err("no repository was given to compare with (--repository)".to_owned());
    };
    match existing {
        _ if force => Err("requested with --force".to_owned()),
        Existing::Nothing => Err("the image does not exist yet".to_owned()),
        Existing::Unproven { digest, why } => Err(format!("{digest} has no valid evidence: {why}")),
        Existing::Proven { digest, inputs } if inputs.is_build_of(known) => Ok(digest),
        Existing::Proven { digest, inputs } => {
            Err(format!("{digest} was made from other inputs ({})", inputs.digest()))
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "document::TargetDocument", into = "document::TargetDocument")]
pub struct PlannedTarget {
    pub target: Target,
    /// Of the kernel.
    pub sources: Vec<String>,
    pub decision: BuildDecision,
}

/// A source of kernels that could not be queried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnresolvedSource {
    /// A stream or an image.
    #[serde(alias = "place")]
    pub source: String,
    pub reason: String,
}

/// The result of `plan`, also used for dry runs, the workflow matrix and logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Missing in version 1.
    #[serde(default = "Plan::schema")]
    schema: DocumentSchema,
    targets: Vec<PlannedTarget>,
    #[serde(alias = "unknown")]
    unresolved: Vec<UnresolvedSource>,
}

impl Plan {
    fn schema() -> DocumentSchema {
        DocumentSchema::new("plan", 2)
    }

    /// Duplicate targets are merged.
    pub fn new(planned: Vec<PlannedTarget>, unresolved: Vec<UnresolvedSource>) -> Self {
        let mut targets: Vec<PlannedTarget> = Vec::new();
        for entry in planned {
            if !targets.iter().any(|other| other.target == entry.target) {
                targets.push(entry);
            }
        }
        Self { schema: Self::schema(), targets, unresolved }
    }

    pub fn targets(&self) -> &[PlannedTarget] {
        &self.targets
    }

    pub fn unresolved(&self) -> &[UnresolvedSource] {
        &self.unresolved
    }

    /// Whether every source was resolved and every decision made.
    pub fn is_complete(&self) -> bool {
        self.unresolved.is_empty()
            && !self.targets.iter().any(|entry| matches!(entry.decision, BuildDecision::Unknown { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inputs::tests::{inputs, known};

    fn seen(source: &str, kernel: &str) -> ObservedKernel {
        let image =
            format!("quay.io/fedora/fedora-coreos@{}", Digest::of(source.as_bytes())).parse().unwrap();
        ObservedKernel {
            source: source.into(),
            kernel: kernel.parse().unwrap(),
            image: SourceImageRef { image, version: None },
        }
    }

    #[test]
    fn a_kernel_of_two_streams_is_one_target() {
        let kernels = ["6.17.9-300.fc43.x86_64", "6.17.8-300.fc43.x86_64"];
        let zfs = "2.4.3".parse().unwrap();
        let all = targets(
            zfs,
            vec![seen("testing", kernels[0]), seen("stable", kernels[1]), seen("next", kernels[0])],
        );
        let summary: Vec<_> = all
            .iter()
            .map(|desired| {
                (
                    desired.target.kernel.to_string(),
                    desired.observed.iter().map(|kernel| &*kernel.source).collect::<Vec<_>>(),
                )
            })
            .collect();
        assert_eq!(
            summary,
            [(kernels[0].to_owned(), vec!["testing", "next"]), (kernels[1].to_owned(), vec!["stable"])]
        );
    }

    #[test]
    fn only_a_proven_image_of_the_same_inputs_is_up_to_date() {
        let (planned, known) = (inputs(), known());
        let digest = Digest::of(b"image");
        let proven = |inputs: &BuildInputs| Existing::Proven {
            digest: digest.clone(),
            inputs: Box::new(inputs.clone()),
        };
        let up_to_date = |existing, force| needed(&known, Some(existing), force) == Ok(digest.clone());
        assert!(up_to_date(proven(&planned), false));
        assert!(!up_to_date(proven(&planned), true));
        assert!(!up_to_date(Existing::Nothing, false));
        let unproven = Existing::Unproven { digest: digest.clone(), why: "nothing is attached".into() };
        let reason = needed(&known, Some(unproven), false).unwrap_err();
        assert!(reason.contains("nothing is attached"), "{reason}");
        let mut other = planned.clone();
        other.builder_image =
            format!("registry.example.org/fedora@{}", Digest::of(b"newer")).parse().unwrap();
        other.kernel_devel.url = "https://example.org/archive/kernel-devel.rpm".into();
        assert!(up_to_date(proven(&other), false));
        other.source_date_epoch = 1;
        assert!(!up_to_date(proven(&other), false));
    }

    #[test]
    fn what_is_not_known_makes_a_plan_incomplete() {
        let entry = PlannedTarget {
            target: Target {
                zfs: "2.4.3".parse().unwrap(),
                kernel: "6.17.8-300.fc43.x86_64".parse().unwrap(),
            },
            sources: vec!["stable".into()],
            decision: BuildDecision::UpToDate(Digest::of(b"")),
        };
        assert!(Plan::new(vec![entry.clone(), entry.clone()], vec![]).is_complete());
        assert_eq!(Plan::new(vec![entry.clone(), entry.clone()], vec![]).targets().len(), 1);
        let blind = UnresolvedSource { source: "next".into(), reason: "no network".into() };
        assert!(!Plan::new(vec![entry.clone()], vec![blind]).is_complete());
        let unknown =
            PlannedTarget { decision: BuildDecision::Unknown { reason: "no network".into() }, ..entry };
        assert!(!Plan::new(vec![unknown], vec![]).is_complete());
    }
}
