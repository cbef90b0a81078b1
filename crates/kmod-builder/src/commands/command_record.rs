//! Writes the record and the job outputs of each command, for `report` and later jobs.

use jiff::Timestamp;
use miette::Result;

use super::CommandOutcome;
use super::args::record::RecordArgs;
use crate::io::{environment, failure, records};
use crate::model::ci_report::{CommandRecord, CommandStatus, Failure, RecordedResult, outputs};

pub struct RunningCommand<'a> {
    args: RecordArgs,
    command: &'a str,
    started_at: Timestamp,
}

impl<'a> RunningCommand<'a> {
    pub fn begin(args: RecordArgs, command: &'a str) -> Self {
        Self { args, command, started_at: Timestamp::now() }
    }

    /// Write errors are logged and do not change the result: a missing record counts as a lost job.
    pub fn end(self, result: &Result<CommandOutcome>, results: Vec<RecordedResult>) {
        let outputs = outputs(self.command, &results, environment::promotion_channel().as_deref());
        if let Err(error) = records::append_outputs(&outputs) {
            tracing::error!(%error, "cannot write the outputs of this step");
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
