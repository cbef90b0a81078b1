//! Writes to OCI registries on top of kmod-query's reading client, and finds credentials.

mod blobs;
mod credentials;
mod index;
mod manifests;

use std::ops::Deref;

use crate::model::image::Repository;

pub use blobs::{BlobState, UploadProgress};
pub use credentials::{CredentialError, CredentialSources};
pub use kmod_query::registry::{
    Access, ContentCache, Credential, CredentialProvider, NoCredentials, Referrer, Referrers, Registries,
    Registry, RegistryError, RegistryErrorKind, Secret, write_cached,
};
pub use kmod_query::{RequestStats, RetryPolicy};
pub use manifests::PutManifestResponse;

/// A repository opened for writing. Derefs to [`Registry`] for reading.
#[derive(Clone, Debug)]
pub struct RegistryWriter(Registry);

impl RegistryWriter {
    pub async fn open(
        registries: &Registries,
        repository: &Repository,
        access: Access,
    ) -> Result<Self, RegistryError> {
        Ok(Self(registries.open(repository, access).await?))
    }

    pub fn open_with(
        registries: &Registries,
        repository: &Repository,
        access: Access,
        credential: Option<Credential>,
    ) -> Result<Self, RegistryError> {
        Ok(Self(registries.open_with(repository, access, credential)?))
    }
}

impl Deref for RegistryWriter {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.0
    }
}

/// Uses the credentials named by the environment.
pub fn connect() -> Registries {
    let sources = CredentialSources::from_variables(crate::io::environment::os_variable);
    Registries::new(sources, RetryPolicy::default())
}
