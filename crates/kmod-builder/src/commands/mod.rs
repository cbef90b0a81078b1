//! The commands: each resolves, decides, acts and shows, by calling `io` and `model`.
//!
//! One form for all: `<command>.rs` with its flags and `run`. Flags of several commands are in [`args`]; what a command
//! prints (`output::Show`) is in [`view`], in a file with the command's name. A command decides nothing itself (that is
//! `model`), and it opens no file, connection or process and reads no variable itself (that is `io`; for variables
//! `io::environment`, for writing files `io::atomic_file`).

pub mod args;
pub mod attestations;
pub mod boot_test;
pub mod build;
pub mod check;
pub mod cleanup;
pub mod command_record;
pub mod extract_rpms;
pub mod failure;
pub mod list_rpms;
pub mod plan;
pub mod promote;
pub mod publish;
pub mod report;
pub mod reproduce;
pub mod verify;
pub mod versions;
pub mod view;
pub mod workflow;

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// Exit status 0; there may have been nothing to do.
    Done,
    /// A check failed. Exit status 3.
    Refused,
}
