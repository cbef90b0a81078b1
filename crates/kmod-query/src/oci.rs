//! OCI documents (image specification 1.1: `descriptor.md`, `manifest.md`, `config.md`, `image-index.md`).
//!
//! Unknown members are kept in documents that are written back, otherwise ignored.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's predecessor of [`MANIFEST`].
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's predecessor of [`INDEX`].
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Annotation: the tag of a manifest in an image layout (OCI image specification, `annotations.md`).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

pub type Annotations = BTreeMap<String, String>;

type Members = serde_json::Map<String, serde_json::Value>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Empty if missing.
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// Other members (`platform`, `artifactType`, …).
    #[serde(flatten)]
    pub other: Members,
}

impl Descriptor {
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            annotations: Annotations::new(),
            other: Members::new(),
        }
    }

    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    #[must_use]
    pub fn annotated(mut self, name: &str, value: impl Into<String>) -> Self {
        self.annotations.insert(name.to_owned(), value.into());
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    #[serde(default = "two")]
    pub schema_version: u32,
    /// [`MANIFEST`]; optional in the specification, empty if missing.
    #[serde(default)]
    pub media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    pub config: Descriptor,
    /// The lowest first.
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

const fn two() -> u32 {
    2
}

impl Manifest {
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: Annotations::new(),
        }
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        match manifest.media_type.as_str() {
            "" | MANIFEST => Ok(manifest),
            other => Err(ManifestError::Type(other.to_owned())),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or members are missing (an index has `manifests` instead of `layers`).
    #[error("invalid image manifest: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("its media type is `{0}`, not that of an OCI image manifest")]
    Type(String),
}

/// A manifest or index, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    pub bytes: Bytes,
    /// Its own `mediaType`, else the registry's `Content-Type`.
    pub media_type: String,
    pub digest: Digest,
}

impl RawManifest {
    /// `content_type` is used if the bytes have no media type.
    pub fn new(bytes: impl Into<Bytes>, content_type: &str) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Typed {
            media_type: Option<String>,
        }
        let bytes = bytes.into();
        let own = serde_json::from_slice::<Typed>(&bytes).ok().and_then(|typed| typed.media_type);
        let digest = Digest::of(&bytes);
        Self { media_type: own.unwrap_or_else(|| content_type.to_owned()), bytes, digest }
    }
}

/// An image configuration (`config.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// `GOARCH`: `amd64`.
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub config: Execution,
    #[serde(default)]
    pub rootfs: RootFs,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    #[serde(
        default,
        rename = "Labels",
        deserialize_with = "null_is_empty",
        skip_serializing_if = "Annotations::is_empty"
    )]
    pub labels: Annotations,
}

/// Docker writes `"Labels": null`.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(labels: D) -> Result<Annotations, D::Error> {
    Ok(Option::deserialize(labels)?.unwrap_or_default())
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of the uncompressed layers, the lowest first.
    pub diff_ids: Vec<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

/// Also the `index.json` of an image layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    #[serde(default = "two")]
    pub schema_version: u32,
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    #[serde(flatten)]
    pub other: Members,
}

impl Index {
    pub fn empty() -> Self {
        let other = [("mediaType".to_owned(), INDEX.into())].into_iter().collect();
        Self { schema_version: 2, manifests: Vec::new(), other }
    }

    /// The manifest with this [`REF_NAME`].
    pub fn tagged(&self, tag: &str) -> Option<&Descriptor> {
        self.manifests.iter().find(|entry| entry.annotations.get(REF_NAME).is_some_and(|name| name == tag))
    }

    /// Adds an untagged manifest, unless it is listed already.
    pub fn add(&mut self, manifest: Descriptor) {
        if !self.manifests.iter().any(|entry| entry.digest == manifest.digest) {
            self.manifests.push(manifest);
        }
    }

    /// Moves the tag to this manifest. The previous one stays listed without it.
    pub fn tag(&mut self, tag: &str, mut manifest: Descriptor) {
        for entry in &mut self.manifests {
            if entry.annotations.get(REF_NAME).is_some_and(|name| name == tag) {
                entry.annotations.remove(REF_NAME);
            }
        }
        manifest.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
        self.manifests.push(manifest);
        self.remove_untagged_duplicates();
    }

    /// An untagged entry is redundant beside a tagged one.
    fn remove_untagged_duplicates(&mut self) {
        let tagged = |entry: &Descriptor| entry.annotations.contains_key(REF_NAME);
        let named: Vec<Digest> =
            self.manifests.iter().filter(|entry| tagged(entry)).map(|entry| entry.digest.clone()).collect();
        let mut seen = Vec::new();
        self.manifests.retain(|entry| {
            let redundant = !tagged(entry) && (named.contains(&entry.digest) || seen.contains(&entry.digest));
            seen.push(entry.digest.clone());
            !redundant
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_in_a_manifest_wins_over_the_content_type() {
        let typed = RawManifest::new(&br#"{"mediaType":"application/own"}"#[..], "text/plain");
        assert_eq!(typed.media_type, "application/own");
        assert_eq!(RawManifest::new(&b"{}"[..], "text/plain").media_type, "text/plain");
    }

    #[test]
    fn a_tag_moves_and_leaves_the_old_manifest_listed() {
        let (old, new) = (Descriptor::of(MANIFEST, b"old"), Descriptor::of(MANIFEST, b"new"));
        let mut index = Index::empty();
        index.add(old.clone());
        index.tag("a", old.clone());
        index.tag("b", old.clone());
        index.tag("a", new.clone());
        assert_eq!(index.tagged("a").unwrap().digest, new.digest);
        assert_eq!(index.tagged("b").unwrap().digest, old.digest);
        index.tag("b", new.clone());
        let listed: Vec<_> = index.manifests.iter().map(|entry| &entry.digest).collect();
        assert_eq!(listed, [&old.digest, &new.digest, &new.digest]);
    }

    #[test]
    fn unknown_members_of_an_index_are_kept() {
        let text = format!(
            r#"{{"schemaVersion":2,"x":1,"manifests":[{{"mediaType":"m","digest":"{}","size":1,"platform":{{"os":"linux"}}}}]}}"#,
            Digest::of(b"")
        );
        let index: Index = serde_json::from_str(&text).unwrap();
        let again = serde_json::to_value(&index).unwrap();
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(&text).unwrap());
    }
}
