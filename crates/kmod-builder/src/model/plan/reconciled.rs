//! The plan of a reconciliation, as it is shown, recorded and executed by jobs.

use std::collections::BTreeMap;

use super::{BuildDecision, Plan, PlannedChannel, PlannedTarget, TargetStep, UnresolvedSource};
use crate::model::Target;
use crate::model::inputs::BuildInputs;
use crate::model::reconcile::{
    Action, ChannelPlan, ChannelStatus, DesiredState, ReconcilePlan, TargetPlan, TargetStatus,
};
use crate::model::tags::LineChannel;

impl Plan {
    /// `inputs` are those of the targets that are built. Kernels for which no release may be built are targets, too.
    pub fn of_reconciliation(
        desired: &DesiredState,
        reconciled: ReconcilePlan,
        mut inputs: BTreeMap<Target, BuildInputs>,
        unresolved: Vec<UnresolvedSource>,
    ) -> Self {
        let not_built = desired.blocked.iter().map(|blocked| PlannedTarget {
            target: blocked.target.clone(),
            sources: vec![blocked.source.clone()],
            channels: Some(Vec::new()),
            decision: BuildDecision::NotBuilt(blocked.not_built.clone()),
        });
        let mut planned: Vec<PlannedTarget> = Vec::new();
        let targets = reconciled.targets.into_iter().map(|target| {
            let inputs = inputs.remove(&target.target);
            planned_target(target, inputs)
        });
        for target in targets.chain(not_built) {
            match planned.iter_mut().find(|known| known.target == target.target) {
                Some(known) => known.sources.extend(target.sources),
                None => planned.push(target),
            }
        }
        let channels = reconciled.channels.into_iter().map(planned_channel).collect();
        Self::new(planned, channels, unresolved)
    }
}

fn planned_target(target: TargetPlan, inputs: Option<BuildInputs>) -> PlannedTarget {
    let TargetPlan { target, sources, image, status, steps } = target;
    let mut channels: Vec<LineChannel> = Vec::new();
    let mut wanted: Vec<TargetStep> = Vec::new();
    let mut reasons = Vec::new();
    for step in steps {
        let step = match step {
            Action::Build { reason } => {
                reasons.push(reason);
                TargetStep::Build
            }
            Action::BootTest { reason } => {
                reasons.push(reason);
                TargetStep::BootTest
            }
            Action::Withdraw { reason } => {
                reasons.push(reason);
                TargetStep::Withdraw
            }
            Action::Sign => {
                reasons.push("it is signed by a former signer".to_owned());
                TargetStep::Sign
            }
            Action::Reinstate => {
                reasons.push("it is no longer excluded".to_owned());
                TargetStep::Reinstate
            }
            Action::Promote { channels: moved, tags } => {
                let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
                if !tags.is_empty() {
                    reasons.push(format!("{} must point to it", tags.join(", ")));
                }
                channels.extend(moved);
                TargetStep::Promote
            }
            Action::NoteRollback { channels: noted, .. } => {
                reasons.push(format!("upstream went back, which is noted for {}", names(&noted)));
                channels.extend(noted);
                TargetStep::Promote
            }
            Action::ClearRollback { channels: cleared, .. } => {
                reasons.push(format!("upstream did not go back: the note of {} is cleared", names(&cleared)));
                channels.extend(cleared);
                TargetStep::Promote
            }
        };
        if !wanted.contains(&step) {
            wanted.push(step);
        }
    }
    channels.sort();
    channels.dedup();
    let reason = reasons.join("; ");
    let decision = match (status, image, inputs) {
        (TargetStatus::Unknown { reason }, ..) => BuildDecision::Unknown { reason },
        (TargetStatus::Waiting { missing, reason }, ..) => BuildDecision::Waiting { missing, reason },
        (TargetStatus::NotBuilt(not_built), ..) => BuildDecision::NotBuilt(not_built),
        (TargetStatus::BackingOff(backoff), image, _) => BuildDecision::BackingOff { image, backoff },
        (TargetStatus::Withdrawn { reason }, Some(image), _) => BuildDecision::Withdrawn { image, reason },
        (TargetStatus::UpToDate, Some(image), _) => BuildDecision::UpToDate(image),
        (_, Some(image), _) => BuildDecision::Continue { image, steps: wanted, reason },
        (_, None, Some(inputs)) => BuildDecision::Build { inputs: Box::new(inputs), reason },
        (_, None, None) => {
            BuildDecision::Unknown { reason: "the inputs of the build are not known".to_owned() }
        }
    };
    let channels = Some(channels.iter().map(LineChannel::to_string).collect());
    PlannedTarget { target, sources, channels, decision }
}

fn names(channels: &[LineChannel]) -> String {
    channels.iter().map(LineChannel::to_string).collect::<Vec<_>>().join(", ")
}

fn planned_channel(channel: ChannelPlan) -> PlannedChannel {
    let (status, reason) = match channel.status {
        ChannelStatus::Right => ("right", String::new()),
        ChannelStatus::Moving => ("moving", "the steps of its target move it".to_owned()),
        ChannelStatus::RollbackSeen { since } => (
            "rollback-seen",
            format!(
                "upstream went back; the channel follows when a run at least 12 hours after {since} sees it, too"
            ),
        ),
        ChannelStatus::BackingOff(backoff) => ("backing-off", backoff.to_string()),
        ChannelStatus::Waiting { reason } => ("waiting", reason),
        ChannelStatus::NotBuilt(not_built) => (not_built.kind.as_str(), not_built.reason),
        ChannelStatus::SourceGone { reason } => ("source-gone", reason),
        ChannelStatus::Unknown { reason } => ("unknown", reason),
    };
    PlannedChannel {
        channel: channel.name,
        source: channel.source,
        target: channel.target,
        status: status.to_owned(),
        reason,
    }
}
