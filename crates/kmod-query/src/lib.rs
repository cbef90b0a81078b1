//! Read-only queries: Fedora CoreOS releases, kernels, OpenZFS releases, kernel packages and images in registries.
//!
//! Each module has a pure `parse…` beside the `fetch…` that needs the network. Documents are read through [`Http`],
//! registries through [`Registries`]; addresses come from [`Endpoints`], failures are [`QueryError`]s. Requires a
//! Tokio runtime.

pub mod atomic_file;
pub mod coreos;
mod digest;
mod document;
mod endpoints;
mod error;
mod http;
pub mod image;
pub mod kernel_packages;
mod link;
pub mod oci;
pub mod openzfs;
pub mod reference;
pub mod registry;
mod retry;
mod stats;
mod upstream;

pub use coreos::{CoreOsRelease, CoreOsVersion, KernelSource, KernelUnknown, Stream};
pub use digest::{Digest, ParseDigestError};
pub use endpoints::Endpoints;
pub use error::{FormatError, QueryError, RequestInfo, error_chain};
pub use http::{Http, HttpOptions, client_builder, is_protected};
pub use image::{ResolvedImage, SourceImage};
pub use kernel_packages::{KernelPackage, KernelRpm, PackageRepository, detached_signature};
pub use link::link_target;
pub use openzfs::{OpenZfs, ZfsRelease};
pub use reference::PinnedImage;
pub use registry::{Registries, Registry};
pub use retry::{RetryPolicy, RetryableError, retry_after};
pub use stats::{RequestCounter, RequestStats};
pub use upstream::Upstream;

use kmod_compat::serde_as_text;
