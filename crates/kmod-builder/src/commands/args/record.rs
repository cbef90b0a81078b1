use std::path::PathBuf;

use clap::Args;

/// Where the record of a command goes, and what it is about.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Runs over several machines")]
pub struct RecordArgs {
    /// Leave a record for `report` in this directory
    #[arg(long, value_name = "DIR", env = "ZFS_KMODS_RECORD", global = true, hide_short_help = true)]
    pub record: Option<PathBuf>,

    /// Tag of the target that the record is about
    #[arg(long, value_name = "TAG", env = "ZFS_KMODS_TARGET", global = true, hide_short_help = true)]
    pub record_target: Option<String>,
}
