//! What exists upstream: Fedora CoreOS releases and their kernels, OpenZFS releases, kernel headers,
//! images in registries. Read-only, and the only crate here that asks others.
//!
//! Each room has a pure `parse…` beside the `fetch…` that needs the network. All requests go through
//! [`Http`]; all addresses come from [`Endpoints`]; all failures are [`QueryError`]s. No decision is made
//! here about what should be built.
//!
//! Must run within a Tokio runtime.

pub mod coreos;
mod document;
mod endpoints;
mod error;
pub mod headers;
mod http;
pub mod image;
pub mod openzfs;
mod pinned;
mod upstream;

pub use coreos::{CoreOsRelease, CoreOsVersion, KernelSource, KernelUnknown, Stream};
pub use endpoints::Endpoints;
pub use error::{Asked, FormatError, QueryError};
pub use headers::{KernelPackage, KernelRpm, Place};
pub use http::{Http, HttpOptions, Usage};
pub use image::{BaseImage, Credential, Credentials, Registry, ResolvedImage};
pub use openzfs::{OpenZfs, ZfsRelease};
pub use pinned::{ParsePinnedImageError, PinnedImage};
pub use upstream::Upstream;

/// Sends serde through `FromStr` and `Display`, so that command line and JSON share one parser.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_as_text;
