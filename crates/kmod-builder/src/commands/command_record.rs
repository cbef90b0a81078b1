//! Writes the record and the job outputs of each command, for `report` and later jobs.

use jiff::Timestamp;
use miette::Result;

use super::args::record::RecordArgs;
use super::{CommandOutcome, failure};
use crate::io::{environment, records};
use crate::model::ci_report::{CommandRecord, CommandStatus, Failure, RecordedResult, outputs};

/// The branch that publishes to users; `publish.yml` has the same name.
const MAIN: &str = "main";

pub struct RunningCommand {
    args: RecordArgs,
    command: &'static str,
    started_at: Timestamp,
}

impl RunningCommand {
    pub fn begin(args: RecordArgs, command: &'static str) -> Self {
        Self { args, command, started_at: Timestamp::now() }
    }

    /// Write errors are logged and do not change the result: a missing record counts as a lost job.
    pub fn end(self, result: &Result<CommandOutcome>, results: Vec<RecordedResult>) {
        if let Some(file) = environment::path("GITHUB_OUTPUT") {
            let lines = outputs(self.command, &results, channel().as_deref());
            let lines: Vec<_> = lines.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            if let Err(error) = records::append(&file, &lines.concat()) {
                tracing::error!(%error, file = %file.display(), "cannot write the outputs of this step");
            }
        }
        let Some(directory) = self.args.record.filter(|directory| !directory.as_os_str().is_empty()) else {
            return;
        };
        let (status, failure) = match result {
            Ok(CommandOutcome::Done) => (CommandStatus::Done, None),
            Ok(CommandOutcome::Refused) => {
                (CommandStatus::Refused, Some(Failure::of_check(self.command, &results)))
            }
            Err(error) => (CommandStatus::Failed, Some(failure::failure(error))),
        };
        let record = CommandRecord {
            schema: CommandRecord::schema(),
            command: self.command.to_owned(),
            arguments: environment::arguments(),
            tag: self.args.record_target.filter(|tag| !tag.is_empty()),
            status,
            failure,
            started_at: self.started_at,
            ended_at: Timestamp::now(),
            results,
        };
        if let Err(error) = records::write(&directory, &record) {
            tracing::error!(%error, directory = %directory.display(), "cannot write the record of this command");
        }
    }
}

/// The promotion channel of all targets: the branch's own channel, else the requested one. `None` promotes each target
/// to the streams in which its kernel was found.
pub(super) fn channel() -> Option<String> {
    match environment::variable("GITHUB_REF_NAME").filter(|branch| branch != MAIN) {
        Some(branch) => Some(format!("beta-{branch}")),
        None => environment::variable("ZFS_KMODS_CHANNEL").filter(|channel| channel != "auto"),
    }
}
