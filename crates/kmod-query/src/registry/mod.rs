//! OCI registries (distribution specification 1.1); kmod-builder adds writing.
//!
//! [`Registries`] opens a [`Registry`]: one repository with one credential. A read has three outcomes: found, not
//! found (404 only), and an error.

mod blobs;
mod cache;
mod client;
mod content_cache;
mod credentials;
mod error;
mod manifests;
mod referrers;
mod token;

pub use blobs::BlobReader;
pub use client::{Registries, Registry};
pub use content_cache::{ContentCache, write_cached};
pub use credentials::{Credential, CredentialLookupError, CredentialProvider, NoCredentials, Secret};
pub use error::{OciError, RegistryError, RegistryErrorKind, manifest_named};
pub use manifests::stored_digest;
pub use referrers::{Referrer, Referrers, referrers_tag};
pub use token::Access;
