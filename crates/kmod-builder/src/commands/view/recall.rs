use serde::Serialize;

use crate::model::Target;
use crate::model::ci_report::RecordedResult;
use crate::model::document::{self, DocumentSchema};
use crate::model::image::DigestRef;
use crate::output::Show;

/// With the reason of the exclusion.
pub(in crate::commands) enum RecallOutcome {
    Withdrawn(String),
    StillWithdrawn(String),
    Reinstated,
    NotExcluded,
}

impl RecallOutcome {
    /// Whether the image is withdrawn, and why. `None`: nothing new is to be stated.
    pub(in crate::commands) fn statement(&self) -> Option<(bool, &str)> {
        match self {
            Self::Withdrawn(reason) => Some((true, reason)),
            Self::Reinstated => Some((false, "the matrix no longer excludes it")),
            Self::StillWithdrawn(_) | Self::NotExcluded => None,
        }
    }
}

#[derive(Serialize)]
pub(in crate::commands) struct RecallReport {
    schema: DocumentSchema,
    #[serde(serialize_with = "document::image")]
    image: DigestRef,
    target: Target,
    /// `withdrawn`, `reinstated` or `nothing-to-do`.
    result: &'static str,
    withdrawn: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    dry_run: bool,
}

impl RecallReport {
    pub(in crate::commands) fn new(
        image: DigestRef,
        target: Target,
        outcome: RecallOutcome,
        dry_run: bool,
    ) -> Self {
        let (result, withdrawn, reason) = match outcome {
            RecallOutcome::Withdrawn(reason) => ("withdrawn", true, Some(reason)),
            RecallOutcome::StillWithdrawn(reason) => ("nothing-to-do", true, Some(reason)),
            RecallOutcome::Reinstated => ("reinstated", false, None),
            RecallOutcome::NotExcluded => ("nothing-to-do", false, None),
        };
        Self { schema: DocumentSchema::new("recall", 1), image, target, result, withdrawn, reason, dry_run }
    }
}

impl Show for RecallReport {
    fn table(&self) -> String {
        let state = match (self.result, self.withdrawn) {
            ("nothing-to-do", true) => "already withdrawn",
            ("nothing-to-do", false) => "not excluded, nothing to do",
            (result, _) => result,
        };
        let dry_run = if self.dry_run { " (dry run: nothing was changed)" } else { "" };
        let reason = self.reason.as_ref().map_or_else(String::new, |reason| format!("\n  {reason}"));
        format!("{state}{dry_run}: {}{reason}\n{}\n", self.target, self.image)
    }

    fn recorded(&self) -> Option<RecordedResult> {
        None
    }
}
