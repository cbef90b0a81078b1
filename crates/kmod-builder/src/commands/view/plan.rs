use std::fmt::Write as _;

use crate::model::ci_report::RecordedResult;
use crate::model::plan::Plan;
use crate::output::{self, Show};

impl Show for Plan {
    fn table(&self) -> String {
        let rows = self.targets().iter().map(|entry| {
            [
                entry.target.zfs.to_string(),
                entry.target.kernel.to_string(),
                entry.sources.join(","),
                entry.decision.as_str().to_owned(),
            ]
        });
        let mut text = output::columns(["OPENZFS", "KERNEL", "SOURCES", "DECISION"], rows);
        // Sentences are too long for a column.
        for entry in self.targets() {
            let _ = write!(
                text,
                "\n{}: {}\n  {}\n",
                entry.decision.as_str(),
                entry.target,
                entry.decision.reason()
            );
        }
        let rows = self.channels().iter().map(|channel| {
            let target =
                channel.target.as_ref().map_or_else(|| "-".to_owned(), |target| target.tag().to_string());
            [channel.channel.clone(), channel.status.clone(), target]
        });
        if !self.channels().is_empty() {
            write!(text, "\n{}", output::columns(["CHANNEL", "STATUS", "TARGET"], rows))
                .expect("writing to a String cannot fail");
        }
        for unresolved in self.unresolved() {
            let reason = unresolved.reason.replace('\n', "\n  ");
            let _ = write!(text, "\nunresolved: {}\n  {reason}\n", unresolved.source);
        }
        text
    }

    fn recorded(&self) -> Option<RecordedResult> {
        Some(RecordedResult::Plan(self.clone()))
    }
}
