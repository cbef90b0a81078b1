//! OCI registries, read by the distribution specification 1.1; kmod-builder adds writing.
//!
//! [`Registries`] opens a [`Registry`]: one repository with one credential. Reads have three outcomes: found, not found
//! (only ever because of a 404), and an error.

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
