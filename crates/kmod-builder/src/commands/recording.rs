//! What every verb leaves behind for the report of a run: its record, and its outputs for later jobs.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use miette::Result;
use serde_json::Value;

use super::{Outcome, failure};
use crate::io::records;
use crate::model::service::{Ending, Record, outputs};

/// The branch whose images users get; `publish.yml` knows it by this name, too.
const MAIN: &str = "main";

/// Where the record goes, and what it is about.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Runs over several machines")]
pub struct RecordArgs {
    /// Leave a record for `report` in this directory
    #[arg(long, value_name = "DIR", env = "ZFS_KMODS_RECORD", global = true, hide_short_help = true)]
    record: Option<PathBuf>,

    /// Tag of the target that the record is about
    #[arg(long, value_name = "TAG", env = "ZFS_KMODS_TARGET", global = true, hide_short_help = true)]
    record_target: Option<String>,
}

/// A verb that has begun.
pub struct Recording {
    args: RecordArgs,
    verb: String,
    began: Timestamp,
}

impl RecordArgs {
    /// Notes the time.
    pub fn begin(self, verb: &str) -> Recording {
        Recording { args: self, verb: verb.to_owned(), began: Timestamp::now() }
    }
}

impl Recording {
    /// Writes the record and the outputs. That neither can be written is said, and changes nothing of how the verb ended:
    /// a missing record counts as a lost job.
    pub fn end(self, result: &Result<Outcome>, shown: Vec<Value>) {
        if let Some(file) = variable("GITHUB_OUTPUT") {
            let lines = outputs(&self.verb, &shown, channel().as_deref());
            let lines: Vec<_> = lines.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            if let Err(error) = records::append(file.as_ref(), &lines.concat()) {
                tracing::error!(%error, file, "the outputs of this step could not be written");
            }
        }
        let Some(directory) = self.args.record.filter(|directory| !directory.as_os_str().is_empty()) else {
            return;
        };
        let (ending, failure) = match result {
            Ok(Outcome::Done) => (Ending::Done, None),
            Ok(Outcome::Refused) => (Ending::Refused, Some(Record::refusal(&self.verb, &shown))),
            Err(error) => (Ending::Failed, Some(failure::failure(error))),
        };
        let record = Record {
            arguments: std::env::args().skip(1).collect(),
            verb: self.verb,
            target: self.args.record_target.filter(|target| !target.is_empty()),
            ending,
            failure,
            began: self.began,
            ended: Timestamp::now(),
            shown,
        };
        if let Err(error) = records::write(&directory, &record) {
            tracing::error!(%error, directory = %directory.display(), "the record of this verb could not be written");
        }
    }
}

/// Where all targets are to be promoted to: a branch's own channel, whatever was asked for; else what was asked for;
/// nothing where each goes to the streams in which its kernel was seen.
pub(super) fn channel() -> Option<String> {
    match variable("GITHUB_REF_NAME").filter(|branch| branch != MAIN) {
        Some(branch) => Some(format!("beta-{branch}")),
        None => variable("ZFS_KMODS_CHANNEL").filter(|channel| channel != "auto"),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
