//! What should exist: each target once, with what is to be done about it and why.

mod document;

use std::collections::BTreeMap;

use kmod_compat::{Incompatibility, KernelRelease, ZfsVersion};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::inputs::{BuildInputs, PartialInputs, SourceImageRef};
use super::{Digest, DocumentSchema, Target};

/// A kernel that hosts run, and where it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedKernel {
    /// The stream of Fedora CoreOS, or the image that was named.
    pub source: String,
    pub kernel: KernelRelease,
    /// The bootable image with the kernel.
    pub image: SourceImageRef,
}

/// A target, and every source in which its kernel was seen; at least one, in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredImage {
    pub target: Target,
    pub observed: Vec<ObservedKernel>,
}

/// One target a kernel, in the order in which the kernels were first seen.
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

/// What is to be done about a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildDecision {
    /// Build it from exactly these inputs.
    Build {
        inputs: Box<BuildInputs>,
        /// Why what exists is not enough.
        reason: String,
    },
    /// The image exists and was made from the same inputs.
    UpToDate(Digest),
    /// The target is not built: an expected answer, not an error.
    NotBuilt(NotBuilt),
    /// It could not be determined what to do.
    Unknown { reason: String },
}

/// Why a target is not built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotBuilt {
    pub kind: NotBuiltKind,
    /// A sentence.
    pub reason: String,
    /// The verdict of the compatibility matrix, as JSON.
    pub verdict: Value,
}

/// By whom a target is ruled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotBuiltKind {
    /// The release does not support the kernel: it is too new or too old.
    Unsupported,
    /// An `[[exclude]]` row of the matrix.
    Excluded,
    /// The matrix has no row for the release.
    UnverifiedRelease,
}

impl NotBuiltKind {
    /// Of the class of a verdict, or of the decision of a plan.
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

impl From<&Incompatibility> for NotBuilt {
    fn from(reason: &Incompatibility) -> Self {
        let verdict = serde_json::to_value(reason).unwrap_or_default();
        Self { kind: NotBuiltKind::of_class(reason.kind()), reason: reason.to_string(), verdict }
    }
}

impl BuildDecision {
    /// The word for it in tables and JSON.
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

/// What a repository has under a target's tag. An answer that could not be obtained is no value of this type: nothing is
/// built without knowing what is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
    Nothing,
    /// An image without valid evidence.
    Unproven {
        digest: Digest,
        why: String,
    },
    /// An image with valid evidence, and the inputs in its provenance.
    Proven {
        digest: Digest,
        inputs: Box<BuildInputs>,
    },
}

/// The image that is up to date, or why one has to be built. `existing` is `None` without a repository to compare with.
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

/// A target with its decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "document::TargetDocument", into = "document::TargetDocument")]
pub struct PlannedTarget {
    pub target: Target,
    /// Where its kernel was seen.
    pub sources: Vec<String>,
    pub decision: BuildDecision,
}

/// A source of kernels that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnresolvedSource {
    /// The stream or image.
    #[serde(alias = "place")]
    pub source: String,
    pub reason: String,
}

/// What should exist. A dry run, the matrix of a workflow, the record of `plan` and the log are this value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Version 1 had no `schema`.
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

    /// A target that comes twice counts once.
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

    /// Whether every source answered and every decision could be made.
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
