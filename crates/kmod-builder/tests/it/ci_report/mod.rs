//! Records, issues and workflow runs: the program as shipped against a fake GitHub.

mod github;
mod issues;
mod records;
mod workflow;
