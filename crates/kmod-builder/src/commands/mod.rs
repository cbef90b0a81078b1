//! The verbs, one a file: gather, decide, show, do.

pub mod args;
pub mod attestations;
pub mod boot_test;
pub mod build;
pub mod building;
pub mod check;
pub mod cleanup;
pub mod extract_rpms;
pub mod failure;
pub mod gather;
pub mod list_rpms;
pub mod place;
pub mod plan;
pub mod promote;
pub mod publish;
pub mod recording;
pub mod report;
pub mod reproduce;
pub mod upstream;
pub mod verify;
pub mod versions;
pub mod view;
pub mod workflow;

/// How a verb ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what was asked, or there was nothing to do. Exit status 0.
    Done,
    /// It checked something, and the answer is no. Exit status 3.
    Refused,
}
