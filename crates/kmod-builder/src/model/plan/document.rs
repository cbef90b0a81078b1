use kmod_compat::{KernelRelease, ZfsVersion};
use serde::{Deserialize, Serialize};

use serde_json::Value;

use super::{BuildDecision, NotBuilt, NotBuiltKind, PlannedTarget, TargetStep};
use crate::model::inputs::BuildInputs;
use crate::model::reconcile::{Backoff, MissingInput};
use crate::model::{Digest, Target};

/// A target in the JSON of a plan.
///
/// Version 1 had `zfs`, `kernel` and `arch` beside each other, `streams` for `sources`, `image` as text, and the
/// decision `held` with the class in `held`.
#[derive(Serialize, Deserialize)]
pub(super) struct TargetDocument {
    target: Option<Target>,
    #[serde(default, skip_serializing)]
    zfs: Option<ZfsVersion>,
    #[serde(default, skip_serializing)]
    kernel: Option<KernelRelease>,
    #[serde(default)]
    tag: String,
    #[serde(alias = "streams")]
    sources: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<String>>,
    decision: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    steps: Vec<TargetStep>,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backoff: Option<Backoff>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missing: Option<MissingInput>,
    #[serde(alias = "held", default, skip_serializing_if = "Option::is_none")]
    verdict: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<ImageDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inputs_digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inputs: Option<Box<BuildInputs>>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ImageDocument {
    Image { digest: Digest },
    Version1(Digest),
}

impl From<PlannedTarget> for TargetDocument {
    fn from(planned: PlannedTarget) -> Self {
        let PlannedTarget { target, sources, channels, decision } = planned;
        let (tag, reason, steps) = (target.tag().to_string(), decision.reason(), decision.steps());
        let (mut backoff, mut missing) = (None, None);
        let word = decision.as_str().to_owned();
        let (mut inputs, mut image, mut verdict) = (None, None, None);
        match decision {
            BuildDecision::Build { inputs: all, .. } => inputs = Some(all),
            BuildDecision::UpToDate(digest)
            | BuildDecision::Continue { image: digest, .. }
            | BuildDecision::Withdrawn { image: digest, .. } => image = Some(ImageDocument::Image { digest }),
            BuildDecision::BackingOff { image: tested, backoff: known } => {
                image = tested.map(|digest| ImageDocument::Image { digest });
                backoff = Some(known);
            }
            BuildDecision::NotBuilt(not_built) => verdict = Some(not_built.verdict),
            BuildDecision::Waiting { missing: known, .. } => missing = Some(known),
            BuildDecision::Unknown { .. } => {}
        }
        Self {
            target: Some(target),
            zfs: None,
            kernel: None,
            tag,
            sources,
            channels,
            decision: word,
            steps,
            reason,
            backoff,
            missing,
            verdict,
            image,
            inputs_digest: inputs.as_ref().map(|inputs| inputs.digest()),
            inputs,
        }
    }
}

impl TryFrom<TargetDocument> for PlannedTarget {
    type Error = String;

    fn try_from(document: TargetDocument) -> Result<Self, Self::Error> {
        let TargetDocument { target, zfs, kernel, sources, channels, decision, steps, reason, .. } = document;
        let TargetDocument { verdict, image, inputs, backoff, missing: missing_input, .. } = document;
        let target = match (target, zfs, kernel) {
            (Some(target), ..) => target,
            (None, Some(zfs), Some(kernel)) => Target { zfs, kernel },
            _ => return Err("the `target` is missing".to_owned()),
        };
        let image = image.map(|image| match image {
            ImageDocument::Image { digest } | ImageDocument::Version1(digest) => digest,
        });
        let missing = |member: &str| format!("the decision is `{decision}`, but `{member}` is missing");
        let decision = match decision.as_str() {
            "build" => BuildDecision::Build { inputs: inputs.ok_or_else(|| missing("inputs"))?, reason },
            "up-to-date" => BuildDecision::UpToDate(image.ok_or_else(|| missing("image"))?),
            "withdrawn" => BuildDecision::Withdrawn { image: image.ok_or_else(|| missing("image"))?, reason },
            "unknown" => BuildDecision::Unknown { reason },
            "waiting" => {
                let missing = missing_input.ok_or_else(|| missing("missing"))?;
                BuildDecision::Waiting { missing, reason }
            }
            "backing-off" => {
                BuildDecision::BackingOff { image, backoff: backoff.ok_or_else(|| missing("backoff"))? }
            }
            _ if !steps.is_empty() => {
                BuildDecision::Continue { image: image.ok_or_else(|| missing("image"))?, steps, reason }
            }
            word => {
                let verdict = verdict.unwrap_or_default();
                let class = if word == "held" { verdict["class"].as_str().unwrap_or(word) } else { word };
                BuildDecision::NotBuilt(NotBuilt { kind: NotBuiltKind::of_class(class), reason, verdict })
            }
        };
        Ok(Self { target, sources, channels, decision })
    }
}
