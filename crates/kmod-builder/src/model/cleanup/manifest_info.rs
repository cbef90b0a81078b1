use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::model::Digest;

/// The parts of a manifest that retention needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestInfo {
    pub kind: ManifestKind,
    /// From the manifest, else from the registry.
    pub media_type: String,
    /// Of the manifest itself, in bytes.
    pub size: u64,
    /// The manifests that it lists. For an unknown kind, every digest in its bytes.
    pub children: Vec<Digest>,
    pub subject: Option<Digest>,
    /// Its configuration and layers.
    pub blobs: Vec<BlobRef>,
    /// The annotation `org.opencontainers.image.created`.
    pub created: Option<Timestamp>,
    /// The configuration of an image, which has a creation time too.
    pub config: Option<Digest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    /// An image or an artifact.
    Image,
    Index,
    /// Cosign signatures or attestations from before bundles, found by tag only.
    Signature,
    /// Kept, with every digest that it contains.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRef {
    pub digest: Digest,
    pub size: u64,
}

const IMAGES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const SIGNATURES: [&str; 2] =
    ["application/vnd.dev.cosign.simplesigning.v1+json", "application/vnd.dsse.envelope.v1+json"];

/// OCI image specification, `manifest.md` and `image-index.md`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    size: u64,
}

impl ManifestInfo {
    /// A manifest that does not match the specification is [`ManifestKind::Unknown`].
    pub fn read(media_type: &str, bytes: &[u8]) -> Self {
        let known = serde_json::from_slice::<Document>(bytes)
            .ok()
            .and_then(|document| Self::known(media_type, bytes, document));
        known.unwrap_or_else(|| Self {
            kind: ManifestKind::Unknown,
            media_type: media_type.to_owned(),
            size: bytes.len() as u64,
            children: digests_in(bytes),
            subject: None,
            blobs: Vec::new(),
            created: None,
            config: None,
        })
    }

    fn known(given: &str, bytes: &[u8], document: Document) -> Option<Self> {
        let media_type =
            document.media_type.filter(|own| !own.is_empty()).unwrap_or_else(|| given.to_owned());
        let (kind, children, blobs, config) = match (document.config, document.layers, document.manifests) {
            (Some(config), Some(layers), None) if IMAGES.contains(&&*media_type) => {
                let signs = |layer: &Descriptor| SIGNATURES.contains(&&*layer.media_type);
                let is_signature =
                    !layers.is_empty() && layers.iter().all(signs) && document.subject.is_none();
                let kind = if is_signature { ManifestKind::Signature } else { ManifestKind::Image };
                let digest = config.digest.clone();
                let blobs = std::iter::once(config).chain(layers).map(BlobRef::from).collect();
                (kind, Vec::new(), blobs, Some(digest))
            }
            (None, None, Some(manifests)) if INDEXES.contains(&&*media_type) => {
                let children = manifests.into_iter().map(|entry| entry.digest).collect();
                (ManifestKind::Index, children, Vec::new(), None)
            }
            _ => return None,
        };
        let created = document.annotations.as_ref().and_then(|annotations| {
            believable(annotations.get("org.opencontainers.image.created")?.as_str()?)
        });
        Some(Self {
            kind,
            media_type,
            size: bytes.len() as u64,
            children,
            subject: document.subject.map(|subject| subject.digest),
            blobs,
            created,
            config,
        })
    }

    /// The manifest with its configuration and layers, in bytes.
    pub fn total_size(&self) -> u64 {
        self.blobs.iter().fold(self.size, |sum, blob| sum.saturating_add(blob.size))
    }

    pub fn created_in_config(config: &[u8]) -> Option<Timestamp> {
        #[derive(Deserialize)]
        struct Config {
            created: Option<String>,
        }
        believable(&serde_json::from_slice::<Config>(config).ok()?.created?)
    }
}

/// Builders write the years 1 and 1970 for "unknown".
fn believable(text: &str) -> Option<Timestamp> {
    let first = Timestamp::from_second(365 * 24 * 3600).ok()?;
    text.parse().ok().filter(|time| *time >= first)
}

impl From<Descriptor> for BlobRef {
    fn from(descriptor: Descriptor) -> Self {
        Self { digest: descriptor.digest, size: descriptor.size }
    }
}

/// Sorted.
fn digests_in(bytes: &[u8]) -> Vec<Digest> {
    let text = String::from_utf8_lossy(bytes);
    let starts = text.match_indices("sha256:").map(|(start, _)| start);
    let found: BTreeSet<Digest> =
        starts.filter_map(|start| text.get(start..start + 7 + 64)?.parse().ok()).collect();
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str, name: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":7}}"#, Digest::of(name.as_bytes()))
    }

    #[test]
    fn images_indexes_and_signatures_are_told_apart() {
        let config = descriptor("c", "config");
        let image = format!(
            r#"{{"config":{config},"layers":[{}],"subject":{}}}"#,
            descriptor("l", "layer"),
            descriptor("m", "subject")
        );
        let read = ManifestInfo::read(IMAGES[0], image.as_bytes());
        assert_eq!((read.kind, read.subject), (ManifestKind::Image, Some(Digest::of(b"subject"))));
        assert_eq!(read.blobs.iter().map(|blob| blob.size).sum::<u64>(), 14);
        let signature =
            format!(r#"{{"config":{config},"layers":[{}]}}"#, descriptor(SIGNATURES[0], "payload"));
        assert_eq!(ManifestInfo::read(IMAGES[0], signature.as_bytes()).kind, ManifestKind::Signature);
        let index = format!(r#"{{"mediaType":"{}","manifests":[{}]}}"#, INDEXES[0], descriptor("m", "child"));
        let read = ManifestInfo::read("text/plain", index.as_bytes());
        assert_eq!((read.kind, read.children), (ManifestKind::Index, vec![Digest::of(b"child")]));
    }

    #[test]
    fn unknown_manifests_keep_every_digest_they_contain() {
        let child = Digest::of(b"child");
        for text in [
            format!(r#"{{"mediaType":"application/new","things":[{{"digest":"{child}"}}]}}"#),
            format!(
                r#"{{"mediaType":"{}","manifests":[{{"digest":"{child}"}}],"config":{{"digest":"{child}"}}}}"#,
                INDEXES[0]
            ),
            format!(
                r#"{{"mediaType":"{}","manifests":[{{"digest":"{child}"}},{{"digest":"sha512:00"}}]}}"#,
                INDEXES[0]
            ),
            format!("no JSON, but {child}"),
        ] {
            let read = ManifestInfo::read("x", text.as_bytes());
            assert_eq!((read.kind, read.children), (ManifestKind::Unknown, vec![child.clone()]), "{text}");
        }
        assert_eq!(ManifestInfo::read(IMAGES[0], b"\xff\xfe").kind, ManifestKind::Unknown);
    }

    #[test]
    fn dates_that_mean_nothing_are_no_dates() {
        let date =
            |text: &str| ManifestInfo::created_in_config(format!(r#"{{"created":"{text}"}}"#).as_bytes());
        assert_eq!(date("0001-01-01T00:00:00Z"), None);
        assert_eq!(date("1970-01-01T00:00:00Z"), None);
        assert_eq!(date("yesterday"), None);
        assert!(date("2026-03-01T12:00:00Z").is_some());
    }
}
