use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use kmod_compat::{DeclaredRelease, Disagreement, ZfsLine, ZfsVersion};
use serde::Serialize;

use crate::model::DocumentSchema;
use crate::output::{self, Show};

#[derive(Serialize)]
pub struct MatrixSync {
    schema: DocumentSchema,
    /// Written to `file`, or missing without one.
    pub rows: Vec<DeclaredRelease>,
    pub disagreements: Vec<Disagreement>,
    pub unchecked: Vec<UncheckedRelease>,
    /// Each with its newest release.
    new_lines: BTreeMap<ZfsLine, ZfsVersion>,
    file: Option<PathBuf>,
}

#[derive(Serialize)]
pub struct UncheckedRelease {
    pub version: ZfsVersion,
    pub reason: String,
}

impl MatrixSync {
    pub fn new(new_lines: BTreeMap<ZfsLine, ZfsVersion>, file: Option<PathBuf>) -> Self {
        let schema = DocumentSchema::new("matrix-sync", 1);
        let (rows, disagreements, unchecked) = (Vec::new(), Vec::new(), Vec::new());
        Self { schema, rows, disagreements, unchecked, new_lines, file }
    }
}

impl Show for MatrixSync {
    fn table(&self) -> String {
        let row = |row: &DeclaredRelease| {
            let kernels = format!("{} to {}", row.linux_min, row.linux_max);
            let what = if self.file.is_some() { "added" } else { "missing" };
            [row.version.to_string(), what.to_owned(), format!("kernels {kernels}, signed by {}", row.signer)]
        };
        let disagreement =
            |row: &Disagreement| [row.version.to_string(), "disagrees".to_owned(), row.reasons.join("; ")];
        let unchecked = |release: &UncheckedRelease| {
            [release.version.to_string(), "unknown".to_owned(), release.reason.clone()]
        };
        let all = self.rows.iter().map(row).chain(self.disagreements.iter().map(disagreement));
        let all: Vec<_> = all.chain(self.unchecked.iter().map(unchecked)).collect();
        let mut text = if all.is_empty() {
            "every release has a row\n".to_owned()
        } else {
            output::columns(["OPENZFS", "ROW", "DETAILS"], all)
        };
        for (line, newest) in &self.new_lines {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "new line {line} (newest: {newest}): it is not followed unless you change `line`"
            );
        }
        text
    }
}
