//! The documents that an OCI image is made of, as far as this program reads and writes them.
//!
//! Shapes and names are those of the OCI image specification 1.1: `descriptor.md`, `manifest.md`, `config.md` and
//! `image-index.md`. Members that are unknown here are kept where a document is written back, and ignored where it
//! is only read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Digest;

/// The media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of an image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of a layer: tar, compressed with gzip.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The media type of a layer: tar, compressed with zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// The annotation by which an image layout names a manifest (OCI image specification, `annotations.md`).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Annotations and labels: names to values.
pub type Annotations = BTreeMap<String, String>;

/// What points to a blob: its type, its digest and its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// The digest of the blob's bytes.
    pub digest: Digest,
    /// How many bytes the blob has.
    pub size: u64,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// Members that this program has no use for (`platform`, `artifactType`, …).
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Descriptor {
    /// Describes a blob of which nothing else is to be said.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            annotations: Annotations::new(),
            other: serde_json::Map::new(),
        }
    }

    /// Describes these bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }
}

/// An image manifest: a configuration and its layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2, for the sake of old Docker clients.
    pub schema_version: u32,
    /// [`MANIFEST`]; optional in the specification.
    #[serde(default)]
    pub media_type: String,
    /// Where the [`Config`] is.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// What is said of the image.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

impl Manifest {
    /// A manifest of an image, from its bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        match manifest.media_type.as_str() {
            "" | MANIFEST => Ok(manifest),
            other => Err(ManifestError::Type(other.to_owned())),
        }
    }
}

/// The bytes are no manifest of an image.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or members are missing (as in an index, which has `manifests` instead of `layers`).
    #[error("it is not the manifest of an image: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Of another kind.
    #[error("it is of the type `{0}`, not an OCI image manifest")]
    Type(String),
}

/// An image configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// When the image was made (RFC 3339); here, the date of the inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The architecture, in Go's words (`amd64`).
    pub architecture: String,
    /// The operating system: `linux`.
    pub os: String,
    /// What a container made of the image would run with; here, the labels only.
    #[serde(default)]
    pub config: Execution,
    /// The layers' contents.
    pub rootfs: RootFs,
    /// How each layer came to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// The `config` member of a [`Config`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// The image's labels.
    #[serde(default, rename = "Labels", skip_serializing_if = "Annotations::is_empty")]
    pub labels: Annotations,
}

/// The digests of the layers before compression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One for each layer, the lowest first.
    pub diff_ids: Vec<Digest>,
}

/// How a layer came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

/// An image index: a list of manifests. The `index.json` of an image layout is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The manifests.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// Members that this program has no use for, kept when the index is written back.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Index {
    /// An index that lists nothing.
    pub fn empty() -> Self {
        let other = [("mediaType".to_owned(), INDEX.into())].into_iter().collect();
        Self { schema_version: 2, manifests: Vec::new(), other }
    }

    /// What a tag points to, by the [`REF_NAME`] annotation.
    pub fn tagged(&self, tag: &str) -> Option<&Descriptor> {
        self.manifests.iter().find(|entry| entry.annotations.get(REF_NAME).is_some_and(|name| name == tag))
    }

    /// Lists a manifest, unless it is listed already, under whatever tags.
    pub fn add(&mut self, manifest: Descriptor) {
        if !self.manifests.iter().any(|entry| entry.digest == manifest.digest) {
            self.manifests.push(manifest);
        }
    }

    /// Lists a manifest under a tag. Another one that had the tag stays in the list, without it, as in a registry.
    pub fn tag(&mut self, tag: &str, mut manifest: Descriptor) {
        for entry in &mut self.manifests {
            if entry.annotations.get(REF_NAME).is_some_and(|name| name == tag) {
                entry.annotations.remove(REF_NAME);
            }
        }
        manifest.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
        self.manifests.push(manifest);
        self.forget_untagged_twins();
    }

    /// One entry without a tag is there so that a manifest without any is not lost; beside a tag it says nothing.
    fn forget_untagged_twins(&mut self) {
        let tagged = |entry: &Descriptor| entry.annotations.contains_key(REF_NAME);
        let named: Vec<Digest> =
            self.manifests.iter().filter(|entry| tagged(entry)).map(|entry| entry.digest.clone()).collect();
        let mut seen = Vec::new();
        self.manifests.retain(|entry| {
            let superfluous =
                !tagged(entry) && (named.contains(&entry.digest) || seen.contains(&entry.digest));
            seen.push(entry.digest.clone());
            !superfluous
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
