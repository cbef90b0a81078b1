//! Registries: one neighbour that speaks the OCI distribution specification, version 1.1.
//!
//! [`Registries`] opens them; a [`Registry`] is one repository with one credential. Reading answers three ways: there, not there (only ever
//! because of a 404), and not known, which is an error.

mod blobs;
mod cache;
mod client;
mod credentials;
mod error;
mod index;
mod manifests;
mod referrers;
mod retry;
mod token;
mod upload;

pub use blobs::BlobReader;
pub use client::{Registries, Registry, Usage};
pub use credentials::{Credential, CredentialError, CredentialSources, Secret};
pub use error::{OciError, RegistryError, RegistryErrorKind};
pub use manifests::Written;
pub use referrers::{Referrer, Referrers};
pub use retry::RetryPolicy;
pub use token::Access;
pub use upload::{Progress, Sent};
