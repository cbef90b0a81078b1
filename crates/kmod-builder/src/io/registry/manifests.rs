use kmod_query::registry::{RegistryError, RegistryErrorKind, manifest_named, stored_digest};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};

use super::RegistryWriter;
use crate::model::Digest;
use crate::model::image::{Tag, TagOrDigest};
use crate::model::manifest::RawManifest;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutManifestResponse {
    /// The subject under which the registry lists the manifest (`OCI-Subject`). Without it, the client must maintain
    /// the index under the referrers tag.
    pub oci_subject: Option<String>,
}

impl RegistryWriter {
    pub async fn put_manifest(&self, manifest: &RawManifest) -> Result<PutManifestResponse, RegistryError> {
        self.put(&TagOrDigest::Digest(manifest.digest.clone()), manifest).await
    }

    pub async fn put_tag(
        &self,
        tag: &Tag,
        manifest: &RawManifest,
    ) -> Result<PutManifestResponse, RegistryError> {
        self.put(&TagOrDigest::Tag(tag.clone()), manifest).await
    }

    pub(super) async fn put(
        &self,
        tag_or_digest: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<PutManifestResponse, RegistryError> {
        let what = format!("write {}", manifest_named(tag_or_digest));
        self.retry_policy()
            .retry(async || {
                let request = self
                    .request(Method::PUT, &format!("manifests/{tag_or_digest}"))
                    .header(CONTENT_TYPE, &manifest.media_type)
                    .body(manifest.bytes.clone());
                let accepted = [StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED];
                let response = self.send(&what, request, &accepted).await?;
                match stored_digest(response.headers()) {
                    Some(actual) if actual != manifest.digest => {
                        let expected = manifest.digest.clone();
                        Err(self.error(&what, RegistryErrorKind::WrongContent { expected, actual }))
                    }
                    _ => {
                        let subject = response.headers().get("oci-subject");
                        let oci_subject = subject.and_then(|value| value.to_str().ok()).map(str::to_owned);
                        Ok(PutManifestResponse { oci_subject })
                    }
                }
            })
            .await
    }

    /// Deletes a manifest with all its tags. False if it did not exist.
    ///
    /// GHCR returns 405; its packages are deleted through GitHub's REST API.
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let what = format!("delete the manifest {digest}");
        self.retry_policy()
            .retry(async || {
                let request = self.request(Method::DELETE, &format!("manifests/{digest}"));
                let expected =
                    [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NO_CONTENT, StatusCode::NOT_FOUND];
                let response = self.send(&what, request, &expected).await?;
                Ok(response.status() != StatusCode::NOT_FOUND)
            })
            .await
    }
}
