//! Referrers of an image: attestations, signatures and other artifacts.
//!
//! Listed by the referrers API or, on registries without it (GHCR, docker-registry), by an index under the tag
//! `sha256-<hex>` (OCI distribution specification 1.1, "Listing Referrers"). `artifactType` and `subject` are read
//! from the manifests: go-containerregistry writes wrong types into the index, some registries ignore filters, and
//! GitLab answers the tag with the image itself (oras-project/oras-go#1396).

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use serde_json::Value;

use super::client::Registry;
use super::error::{RegistryError, RegistryErrorKind};
use crate::digest::Digest;
use crate::oci::{Annotations, RawManifest};
use crate::reference::{Tag, TagOrDigest};

const CONCURRENT: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    pub manifest: RawManifest,
    /// The manifest's own `artifactType`, else the media type of its configuration.
    pub artifact_type: String,
    pub annotations: Annotations,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referrers {
    /// In the registry's order.
    pub found: Vec<Referrer>,
    /// Listed, but not found.
    pub dangling: Vec<Digest>,
}

/// The tag of the referrers index on registries without the API ("Referrers Tag Schema").
pub fn referrers_tag(subject: &Digest) -> Tag {
    format!("sha256-{}", subject.hex()).parse().expect("hexadecimal digits and `-` may be in a tag")
}

impl Registry {
    pub async fn referrers(&self, subject: &Digest) -> Result<Referrers, RegistryError> {
        let listed = match self.if_referrers_api(async || self.listed_by_api(subject).await).await? {
            Some(listed) => listed,
            None => match self.referrers_index(subject).await? {
                Some(index) => digests(&index),
                None => Vec::new(),
            },
        };
        let read = stream::iter(listed)
            .map(async |digest| {
                let child = self.manifest(&TagOrDigest::Digest(digest.clone())).await?;
                Ok::<_, RegistryError>((digest, child))
            })
            .buffered(CONCURRENT);
        let children: Vec<_> = read.try_collect().await?;
        let mut referrers = Referrers::default();
        for (digest, child) in children {
            match child {
                None => referrers.dangling.push(digest),
                Some(manifest) => referrers.found.extend(Referrer::of(subject, manifest)),
            }
        }
        Ok(referrers)
    }

    /// `None` if the registry has no referrers API.
    async fn listed_by_api(&self, subject: &Digest) -> Result<Option<Vec<Digest>>, RegistryError> {
        let what = format!("list what refers to {subject}");
        let first = self.url(&format!("referrers/{subject}"));
        let pages: Option<Vec<Value>> = self.pages(&what, first).await?;
        let Some(pages) = pages else { return Ok(None) };
        let mut listed: Vec<Digest> = Vec::new();
        for page in &pages {
            if !page["manifests"].is_array() {
                return Err(self.error(what, RegistryErrorKind::Malformed("not an image index".into())));
            }
            listed.extend(digests(page));
        }
        listed.dedup();
        Ok(Some(listed))
    }

    /// `None` if the tag does not exist.
    pub async fn referrers_index(&self, subject: &Digest) -> Result<Option<Value>, RegistryError> {
        let tag = referrers_tag(subject);
        let what = format!("read the index tagged `{tag}`");
        let Some(manifest) = self.manifest(&TagOrDigest::Tag(tag)).await? else { return Ok(None) };
        if manifest.digest == *subject {
            // The registry treats the tag as the digest.
            return Ok(None);
        }
        let index: Value = serde_json::from_slice(&manifest.bytes)
            .map_err(|error| self.error(&what, RegistryErrorKind::Malformed(error.to_string())))?;
        if !index["manifests"].is_array() {
            let reason = format!("not an image index, but `{}`", manifest.media_type);
            return Err(self.error(what, RegistryErrorKind::Malformed(reason)));
        }
        Ok(Some(index))
    }
}

fn digests(index: &Value) -> Vec<Digest> {
    let entries = index["manifests"].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry["digest"].as_str()?.parse().ok()).collect()
}

impl Referrer {
    /// `None` if the manifest has another subject.
    pub fn of(subject: &Digest, manifest: RawManifest) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct OwnMembers {
            artifact_type: Option<String>,
            config: Option<Value>,
            subject: Option<Value>,
            #[serde(default)]
            annotations: Annotations,
        }
        let own: OwnMembers = serde_json::from_slice(&manifest.bytes).ok()?;
        if own.subject?["digest"] != subject.as_str() {
            return None;
        }
        let config_type = || Some(own.config?["mediaType"].as_str()?.to_owned());
        let own_type = own.artifact_type.filter(|own_type| !own_type.is_empty());
        let artifact_type = own_type.or_else(config_type).unwrap_or_default();
        Some(Self { manifest, artifact_type, annotations: own.annotations })
    }
}
