use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;

use crate::model::Digest;
use crate::model::evidence::EvidenceKind;
use crate::model::evidence::artifact::PREDICATE_TYPE;
use crate::model::oci::{self, Descriptor};

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
    /// The annotation of a bundle that records failed builds. Its subject is the inputs, which are no manifest.
    pub records_failed_builds: bool,
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

const IMAGES: [&str; 2] = [oci::MANIFEST, oci::DOCKER_MANIFEST];
const INDEXES: [&str; 2] = [oci::INDEX, oci::DOCKER_INDEX];
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
    annotations: Option<oci::Annotations>,
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
            records_failed_builds: false,
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
                let blob = |Descriptor { digest, size, .. }| BlobRef { digest, size };
                let blobs = std::iter::once(config).chain(layers).map(blob).collect();
                (kind, Vec::new(), blobs, Some(digest))
            }
            (None, None, Some(manifests)) if INDEXES.contains(&&*media_type) => {
                let children = manifests.into_iter().map(|entry| entry.digest).collect();
                (ManifestKind::Index, children, Vec::new(), None)
            }
            _ => return None,
        };
        let created = document
            .annotations
            .as_ref()
            .and_then(|annotations| believable(annotations.get("org.opencontainers.image.created")?));
        let predicate = document.annotations.as_ref().and_then(|annotations| annotations.get(PREDICATE_TYPE));
        Some(Self {
            records_failed_builds: predicate
                .is_some_and(|kind| kind == EvidenceKind::FailedBuilds.predicate_type()),
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
    use serde_json::{Value, json};

    use super::*;

    fn read(document: &Value) -> ManifestInfo {
        ManifestInfo::read(oci::MANIFEST, document.to_string().as_bytes())
    }

    #[test]
    fn images_indexes_and_signatures_are_told_apart() {
        let of = |media_type: &str, name: &str| Descriptor::of(media_type, name.as_bytes());
        let (config, layer) = (of("c", "config"), of("l", "layer"));
        let image = read(&json!({ "config": config, "layers": [layer], "subject": of("m", "subject") }));
        assert_eq!((image.kind, image.subject), (ManifestKind::Image, Some(Digest::of(b"subject"))));
        assert_eq!(image.blobs.iter().map(|blob| blob.size).sum::<u64>(), 11);
        let signature = read(&json!({ "config": config, "layers": [of(SIGNATURES[0], "payload")] }));
        assert_eq!(signature.kind, ManifestKind::Signature);
        let index = read(&json!({ "mediaType": oci::INDEX, "manifests": [of("m", "child")] }));
        assert_eq!((index.kind, index.children), (ManifestKind::Index, vec![Digest::of(b"child")]));
    }

    #[test]
    fn unknown_manifests_keep_every_digest_they_contain() {
        let digest = Digest::of(b"child");
        let child = json!({ "digest": digest, "size": 1 });
        for document in [
            json!({ "mediaType": "application/new", "things": [child] }),
            json!({ "mediaType": oci::INDEX, "manifests": [child], "config": child }),
            json!({ "mediaType": oci::INDEX, "manifests": [child, { "digest": "sha512:00", "size": 1 }] }),
        ] {
            let info = read(&document);
            assert_eq!(
                (info.kind, info.children),
                (ManifestKind::Unknown, vec![digest.clone()]),
                "{document}"
            );
        }
        let no_json = ManifestInfo::read(oci::MANIFEST, format!("\u{fffd}{digest}").as_bytes());
        assert_eq!((no_json.kind, no_json.children), (ManifestKind::Unknown, vec![digest]));
        assert_eq!(ManifestInfo::read(oci::MANIFEST, b"\xff\xfe").kind, ManifestKind::Unknown);
    }

    #[test]
    fn dates_that_builders_write_for_unknown_are_ignored() {
        let date =
            |text: &str| ManifestInfo::created_in_config(format!(r#"{{"created":"{text}"}}"#).as_bytes());
        assert_eq!(date("0001-01-01T00:00:00Z"), None);
        assert_eq!(date("1970-01-01T00:00:00Z"), None);
        assert_eq!(date("yesterday"), None);
        assert!(date("2026-03-01T12:00:00Z").is_some());
    }
}
