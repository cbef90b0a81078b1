//! The commands. Each resolves, decides, acts and shows by calling `io` and `model`.
//!
//! Each `<command>.rs` has the flags and `run`. Shared flags are in [`args`]; output (`output::Show`) is in [`view`],
//! in a file with the command's name. Decisions belong in `model`. Files, connections, processes and variables belong
//! in `io` (variables: `io::environment`; writing files: `io::atomic_file`).

pub mod args;
pub mod attestations;
pub mod boot_test;
pub mod build;
pub mod check;
pub mod cleanup;
pub mod command_record;
pub mod extract_rpms;
pub mod list_rpms;
pub mod matrix;
pub mod plan;
pub mod promote;
pub mod publish;
pub mod recall;
pub mod report;
pub mod reproduce;
pub mod verify;
pub mod versions;
pub mod view;
pub mod workflow;

use crate::output::StandardOutput;

/// What commands share.
#[derive(Debug)]
pub struct CommandContext {
    pub upstream: args::upstream::UpstreamArgs,
    pub output: StandardOutput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// Exit status 0, also if there was nothing to do.
    Done,
    /// Exit status 3: a check failed.
    Refused,
}
