//! Reconciliation: the desired state less the observed state is a plan of actions.
//!
//! [`DesiredState`] follows from the sources, the lines and the releases that exist; [`ObservedState`] is what a repository
//! has. [`reconcile`] is pure and total. Every action is idempotent, and after all of them a second plan has none.
//! Whatever is unknown leads to no write.

mod actions;
mod backoff;
mod desired;
mod engine;
mod observed;
#[cfg(test)]
mod tests;

pub use actions::{
    Action, ChannelPlan, ChannelStatus, MissingInput, ReconcilePlan, TargetPlan, TargetStatus,
};
pub use backoff::{Backoff, FailedAttempt};
pub use desired::{
    BlockedChannel, DesiredChannel, DesiredState, DesiredTarget, FollowedSource, Source, SourceOrigin,
    SourceState, assign_channels,
};
pub use engine::{ROLLBACK_CONFIRMATION, ROLLBACK_NOTE_AGE, ReconcileOptions, reconcile};
pub use observed::{
    BootTestFact, EvidenceTrust, Observation, ObservedImage, ObservedState, ObservedTarget, RollbackNote,
};
