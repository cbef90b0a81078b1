//! Network requests to local servers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, in its helpers too")]

mod coreos;
mod http;
mod image;
mod kernel_packages;
mod openzfs;
mod registry;
mod support;
