//! Records of commands, and the report on a run that is made from them.
//!
//! Each job of a run leaves a [`CommandRecord`]. [`RunReport`] joins the records with the plan: a job without a
//! record counts as lost. Job summary, annotations and issues are made from the report.

mod annotation;
mod finding_kind;
mod issue;
mod outputs;
mod record;
mod run_report;
mod summary;
#[cfg(test)]
mod tests;

pub use annotation::annotation;
pub use finding_kind::{FindingKind, FindingLevel, FindingRow, UnknownFindingKind};
pub use issue::{
    DesiredIssue, ExistingIssue, IssueAction, LABEL, Marker, desired_issues, duplicates, issue_actions,
};
pub use outputs::{MatrixJob, OUTPUTS, RUNNERS, jobs, outputs, promotion_channel};
pub use record::{CommandRecord, CommandStatus, Failure, RecordedResult};
pub use run_report::{CommandTime, Finding, LastStage, RunReport, TargetResult};
pub use summary::{RunTrigger, summary};
