//! GitHub's REST API: packages, issues and workflow runs, over one rate-limited transport.
//!
//! GHCR rejects deletion over the registry protocol (405, containers/skopeo#1880). Here, each manifest is a "version"
//! of the package and carries all its tags. Formats: [Packages](https://docs.github.com/rest/packages/packages),
//! [issues](https://docs.github.com/rest/issues/issues), [workflow
//! runs](https://docs.github.com/rest/actions/workflow-runs), [rate
//! limits](https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).

mod error;
mod issues;
mod limits;
mod packages;
mod page;
mod transport;
mod workflows;

pub use error::GithubError;
pub use issues::Issues;
pub use limits::Pace;
pub use packages::{OwnerKind, Packages, Removal, Requests, Version};
pub use workflows::{Run, Workflow};
