//! What refers to an image: its attestations, signatures and other artifacts.
//!
//! Two ways lead there (OCI distribution specification 1.1, "Listing Referrers"): the referrers API, and on
//! registries without it (GHCR, docker-registry) an index under the tag `sha256-<hex>`. Whichever lists them, the
//! manifests themselves are read, and their own `artifactType` and `subject` decide: go-containerregistry writes
//! wrong types into the index, some registries ignore filters, and GitLab answers the tag with the image itself
//! (oras-project/oras-go#1396).

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use serde_json::Value;

use crate::model::Digest;
use crate::model::image::{Tag, TagOrDigest};
use crate::model::manifest::RawManifest;

use super::client::Registry;
use super::error::{RegistryError, RegistryErrorKind};

/// How many manifests are read at the same time.
const CONCURRENT: usize = 4;

/// A manifest whose subject is the image asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// The manifest itself.
    pub manifest: RawManifest,
    /// What it is, by its own word: `artifactType`, else the type of its configuration.
    pub artifact_type: String,
    /// Its own annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What refers to an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referrers {
    /// The manifests that do, in the order in which the registry lists them.
    pub found: Vec<Referrer>,
    /// Listed, but not there any more.
    pub dangling: Vec<Digest>,
}

/// The tag under which registries without the API keep the index of an image's referrers.
pub(super) fn fallback_tag(subject: &Digest) -> Tag {
    format!("sha256-{}", subject.hex()).parse().expect("hexadecimal digits and `-` may be in a tag")
}

impl Registry {
    /// Everything that refers to this image. An empty answer means that the registry knows of nothing; a refusal or
    /// failure anywhere on the way is an error, never "none".
    pub async fn referrers(&self, subject: &Digest) -> Result<Referrers, RegistryError> {
        let listed = match self.ask_referrers_api(async || self.listed_by_api(subject).await).await? {
            Some(listed) => listed,
            None => match self.fallback_index(subject).await? {
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
                Some(manifest) => referrers.found.extend(referrer(subject, manifest)),
            }
        }
        Ok(referrers)
    }

    /// The digests that the referrers API lists, or `None` where there is no such API.
    async fn listed_by_api(&self, subject: &Digest) -> Result<Option<Vec<Digest>>, RegistryError> {
        let what = format!("list what refers to {subject}");
        let first = self.url(&format!("referrers/{subject}"));
        let pages: Option<Vec<Value>> = self.pages(&what, first).await?;
        let Some(pages) = pages else { return Ok(None) };
        let mut listed: Vec<Digest> = Vec::new();
        for page in &pages {
            if !page["manifests"].is_array() {
                return Err(self.error(what, RegistryErrorKind::Malformed("it is no index".into())));
            }
            listed.extend(digests(page));
        }
        listed.dedup();
        Ok(Some(listed))
    }

    /// The index under the fallback tag, or `None` where there is none.
    pub(super) async fn fallback_index(&self, subject: &Digest) -> Result<Option<Value>, RegistryError> {
        let tag = fallback_tag(subject);
        let what = format!("read the index tagged `{tag}`");
        let Some(manifest) = self.manifest(&TagOrDigest::Tag(tag)).await? else { return Ok(None) };
        if manifest.digest == *subject {
            // The registry took the tag for the digest.
            return Ok(None);
        }
        let index: Value = serde_json::from_slice(&manifest.bytes)
            .map_err(|error| self.error(&what, RegistryErrorKind::Malformed(error.to_string())))?;
        if !index["manifests"].is_array() {
            let problem =
                RegistryErrorKind::Malformed(format!("it is no index, but `{}`", manifest.media_type));
            return Err(self.error(what, problem));
        }
        Ok(Some(index))
    }
}

/// The digests of an index's entries; what has a digest of another kind was not written for us.
fn digests(index: &Value) -> Vec<Digest> {
    let entries = index["manifests"].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry["digest"].as_str()?.parse().ok()).collect()
}

/// The manifest as a referrer of this subject, if it says so itself.
pub(super) fn referrer(subject: &Digest, manifest: RawManifest) -> Option<Referrer> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Own {
        artifact_type: Option<String>,
        config: Option<Typed>,
        subject: Option<Pointed>,
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: String,
    }
    #[derive(Deserialize)]
    struct Pointed {
        digest: String,
    }
    let own: Own = serde_json::from_slice(&manifest.bytes).ok()?;
    if own.subject?.digest != subject.as_str() {
        return None;
    }
    let artifact_type = own
        .artifact_type
        .filter(|kind| !kind.is_empty())
        .or(own.config.map(|config| config.media_type))
        .unwrap_or_default();
    Some(Referrer { manifest, artifact_type, annotations: own.annotations })
}
