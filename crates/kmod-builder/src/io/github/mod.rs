//! GitHub's REST API: packages, issues, workflow runs and attestations.
//!
//! GHCR rejects deletion over the registry protocol (405, containers/skopeo#1880). Here, each manifest is a "version"
//! of the package and carries all its tags. Formats: [Packages](https://docs.github.com/rest/packages/packages),
//! [issues](https://docs.github.com/rest/issues/issues), [workflow
//! runs](https://docs.github.com/rest/actions/workflow-runs), [rate
//! limits](https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).

mod attestations;
mod client;
mod error;
mod issues;
mod packages;
mod workflows;

pub use attestations::GithubAttestations;
pub use client::RateLimitPolicy;
pub use error::GithubError;
pub use issues::Issues;
pub use packages::{DeleteOutcome, PackageRequests, PackageVersion, Packages};
pub use workflows::{Workflow, WorkflowRun};
