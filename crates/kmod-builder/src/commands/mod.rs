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
pub mod sign;
pub mod verify;
pub mod versions;
pub mod view;
pub mod workflow;

use std::path::PathBuf;

use crate::model::config::PublisherConfig;
use crate::output::StandardOutput;

/// What commands share.
#[derive(Debug)]
pub struct CommandContext {
    pub upstream: args::upstream::UpstreamArgs,
    pub config: PublisherConfig,
    /// Where the configuration was found.
    pub config_file: Option<PathBuf>,
    pub output: StandardOutput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// Exit status 0, also if there was nothing to do.
    Done,
    /// Exit status 3: a check failed.
    Refused,
}

/// Exit status 2: what is missing or wrong is on the command line, or else in the configuration.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
#[diagnostic(help("{help}"))]
pub struct UsageError {
    message: String,
    help: String,
}

impl UsageError {
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }

    pub fn of(diagnostic: &impl miette::Diagnostic) -> Self {
        let help = diagnostic.help().map(|help| help.to_string());
        Self { message: diagnostic.to_string(), help: help.unwrap_or_default() }
    }
}
