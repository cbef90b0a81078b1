//! GitHub's packages: what the container registry of GitHub holds, listed and deleted through GitHub's REST API.
//!
//! GHCR refuses deletion over the registry protocol (405, containers/skopeo#1880). Each manifest is a "version" of the
//! package here, and a version carries all its tags. Formats:
//! [Packages](https://docs.github.com/rest/packages/packages), [rate
//! limits](https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).

mod client;
mod error;
mod limits;
mod page;
mod transport;

pub use client::{OwnerKind, Packages, Removal, Requests, Version};
pub use error::PackagesError;
pub use limits::Pace;
