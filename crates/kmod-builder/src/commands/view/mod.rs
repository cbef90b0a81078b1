//! `output::Show` for each command's result, one file per command.

pub mod attestations;
pub mod boot_test;
mod build;
mod check;
pub mod cleanup;
pub mod extract_rpms;
pub mod image_diff;
pub mod list_rpms;
mod matrix;
mod plan;
pub mod promote;
pub mod publish;
pub(in crate::commands) mod recall;
mod report;
pub mod reproduce;
pub mod sign;
pub mod verify;
mod versions;
mod workflow;

pub use build::{BuildReport, BuildResult, NamedImage};
pub use check::CheckReport;
pub use matrix::{MatrixSync, UncheckedRelease};
pub use versions::{Versions, VersionsField};
pub use workflow::Runs;
