//! Documents that several clients change: the referrers index and the manifest of simple signatures. Entries of other
//! clients are kept.

use serde_json::{Value, json};

use super::Digest;
use super::evidence::simple_signing::{self, SIGNATURE};
use super::manifest::{Blob, BlobSource, IncompleteManifest, ManifestWithBlobs, RawManifest};
use super::oci::INDEX;

/// The index under the tag `sha256-<hex>` (OCI distribution specification 1.1, "Referrers Tag Schema").
///
/// Invariant: `manifests` is an array.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferrersIndex(Value);

impl ReferrersIndex {
    pub fn empty() -> Self {
        Self(json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }))
    }

    /// `None` if the document is not an image index.
    pub fn of(document: Value) -> Option<Self> {
        document["manifests"].is_array().then_some(Self(document))
    }

    pub fn digests(&self) -> Vec<Digest> {
        self.entries().iter().filter_map(|entry| entry["digest"].as_str()?.parse().ok()).collect()
    }

    /// Adds or corrects the entry for this manifest.
    ///
    /// The specification requires the manifest's artifact type and annotations in the entry. go-containerregistry up
    /// to 0.20.7 omits both, so that clients that filter by them find nothing (docker/buildx#4010).
    pub fn put(&mut self, manifest: &RawManifest) {
        let own: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
        let artifact_type = match own["artifactType"].as_str() {
            Some(kind) if !kind.is_empty() => own["artifactType"].clone(),
            _ => own["config"]["mediaType"].clone(),
        };
        let position = self.position(&manifest.digest).unwrap_or_else(|| {
            self.entries_mut().push(json!({}));
            self.entries().len() - 1
        });
        let entry = &mut self.entries_mut()[position];
        entry["mediaType"] = manifest.media_type.clone().into();
        entry["digest"] = manifest.digest.as_str().into();
        entry["size"] = manifest.bytes.len().into();
        for (name, value) in [("artifactType", artifact_type), ("annotations", own["annotations"].clone())] {
            if value.is_null() {
                entry.as_object_mut().and_then(|entry| entry.remove(name));
            } else {
                entry[name] = value;
            }
        }
    }

    pub fn remove(&mut self, digest: &Digest) {
        if let Some(position) = self.position(digest) {
            self.entries_mut().remove(position);
        }
    }

    /// Adds the missing entries from another version of the index.
    pub fn absorb(&mut self, other: &Self) {
        for entry in other.entries() {
            if !self.entries().iter().any(|known| known["digest"] == entry["digest"]) {
                self.entries_mut().push(entry.clone());
            }
        }
    }

    /// Whether `other` has every entry of this index.
    pub fn is_within(&self, other: &Self) -> bool {
        self.entries().iter().all(|entry| other.entries().contains(entry))
    }

    pub fn manifest(&self) -> RawManifest {
        RawManifest::new(self.0.to_string(), INDEX)
    }

    fn position(&self, digest: &Digest) -> Option<usize> {
        self.entries().iter().position(|entry| entry["digest"] == digest.as_str())
    }

    fn entries(&self) -> &[Value] {
        self.0["manifests"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    fn entries_mut(&mut self) -> &mut Vec<Value> {
        self.0["manifests"].as_array_mut().expect("the type's invariant")
    }
}

/// Whether `stored` has every signature of `ours`.
pub fn signatures_are_within(ours: &RawManifest, stored: &RawManifest) -> bool {
    let stored = layers(stored);
    layers(ours).iter().all(|layer| stored.iter().any(|other| is_same_signature(layer, other)))
}

/// The stored manifest of simple signatures with ours appended (cosign, `SIGNATURE_SPEC.md`).
///
/// The configuration is rewritten, because it lists the layers (`rootfs.diff_ids`). Everything else but malformed layers
/// is kept.
pub fn with_signatures(
    stored: &RawManifest,
    ours: &ManifestWithBlobs,
) -> Result<ManifestWithBlobs, IncompleteManifest> {
    let ours_document: Value = serde_json::from_slice(&ours.manifest().bytes).unwrap_or_default();
    let document: Value = serde_json::from_slice(&stored.bytes).unwrap_or_default();
    let mut document = if document.is_object() { document } else { ours_document.clone() };
    if !document["config"].is_object() {
        document["config"] = ours_document["config"].clone();
    }
    let mut all = layers(stored);
    all.retain(is_complete);
    for layer in layers(ours.manifest()) {
        if !all.iter().any(|other| is_same_signature(&layer, other)) {
            all.push(layer);
        }
    }
    let diff_ids: Vec<_> = all.iter().map(|layer| layer["digest"].clone()).collect();
    let config = simple_signing::config(&diff_ids);
    document["config"]["digest"] = config.digest.as_str().into();
    document["config"]["size"] = config.size.into();
    let theirs = all.iter().filter_map(|layer| {
        let digest = layer["digest"].as_str()?.parse().ok()?;
        Some(Blob { digest, size: layer["size"].as_u64()?, source: BlobSource::InRegistry })
    });
    // Of two blobs with one digest the last is used, so ours come last.
    let blobs = theirs.chain(ours.blobs().iter().cloned()).chain([config]).collect();
    document["layers"] = all.into();
    ManifestWithBlobs::new(RawManifest::new(document.to_string(), &stored.media_type), blobs)
}

/// Whether the layer names a blob.
fn is_complete(layer: &Value) -> bool {
    layer["digest"].as_str().is_some_and(|digest| digest.parse::<Digest>().is_ok()) && layer["size"].is_u64()
}

fn layers(manifest: &RawManifest) -> Vec<Value> {
    let document: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    document["layers"].as_array().cloned().unwrap_or_default()
}

fn is_same_signature(one: &Value, other: &Value) -> bool {
    one["digest"] == other["digest"] && one["annotations"][SIGNATURE] == other["annotations"][SIGNATURE]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &Value) -> RawManifest {
        RawManifest::new(text.to_string(), "application/vnd.oci.image.manifest.v1+json")
    }

    #[test]
    fn wrong_entries_are_repaired_and_unknown_members_kept() {
        let child = manifest(&json!({ "artifactType": "a/b", "annotations": { "x": "y" } }));
        let stranger = json!({ "digest": Digest::of(b"stranger").as_str(), "future": [1] });
        let stored = json!({
            "schemaVersion": 2, "future": true,
            "manifests": [
                stranger.clone(),
                { "digest": child.digest.as_str(), "artifactType": "application/vnd.oci.empty.v1+json", "future": 2 },
            ],
        });
        let mut index = ReferrersIndex::of(stored).unwrap();
        index.put(&child);
        let written: Value = serde_json::from_slice(&index.manifest().bytes).unwrap();
        assert_eq!(written["future"], true);
        assert_eq!(written["manifests"][0], stranger);
        let entry = &written["manifests"][1];
        assert_eq!((&entry["artifactType"], &entry["annotations"]["x"]), (&"a/b".into(), &"y".into()));
        assert_eq!((&entry["size"], &entry["future"]), (&child.bytes.len().into(), &2.into()));
        assert_eq!(written["manifests"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_type_of_an_old_artifact_is_its_configurations() {
        let mut index = ReferrersIndex::empty();
        index.put(&manifest(&json!({ "config": { "mediaType": "c/d" } })));
        let written: Value = serde_json::from_slice(&index.manifest().bytes).unwrap();
        assert_eq!(written["manifests"][0]["artifactType"], "c/d");
        assert!(written["manifests"][0].get("annotations").is_none());
    }

    #[test]
    fn two_writers_lose_nothing() {
        let (one, two) = (manifest(&json!({ "n": 1 })), manifest(&json!({ "n": 2 })));
        let (mut ours, mut theirs) = (ReferrersIndex::empty(), ReferrersIndex::empty());
        ours.put(&one);
        theirs.put(&two);
        assert!(!ours.is_within(&theirs));
        theirs.absorb(&ours);
        assert!(ours.is_within(&theirs) && theirs.digests() == [two.digest.clone(), one.digest.clone()]);
        theirs.remove(&two.digest);
        assert_eq!(theirs.digests(), [one.digest]);
    }

    #[test]
    fn signatures_are_appended() {
        let (payload, config) = (Blob::of("payload"), Blob::of("config"));
        let descriptor = |blob: &Blob| json!({ "digest": blob.digest.as_str(), "size": blob.size });
        let with = |signature: &str| {
            let mut layer = descriptor(&payload);
            layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
            let mut config = descriptor(&config);
            config["mediaType"] = "kept".into();
            manifest(&json!({ "config": config, "layers": [layer], "annotations": { "of": signature } }))
        };
        let stored = with("theirs");
        let ours = ManifestWithBlobs::new(with("ours"), vec![payload.clone(), config.clone()]).unwrap();
        assert!(!signatures_are_within(ours.manifest(), &stored));
        let merged = with_signatures(&stored, &ours).unwrap();
        assert!(signatures_are_within(ours.manifest(), merged.manifest()));
        assert!(signatures_are_within(&stored, merged.manifest()));
        assert_eq!(merged.blobs().len(), 2);
        assert_eq!(merged.blobs()[1], payload, "the same payload is here");
        let document: Value = serde_json::from_slice(&merged.manifest().bytes).unwrap();
        assert_eq!(
            (&document["config"]["mediaType"], &document["annotations"]["of"]),
            (&"kept".into(), &"theirs".into())
        );
        let again = with_signatures(merged.manifest(), &ours).unwrap();
        assert_eq!(again.digest(), merged.digest(), "a second time changes nothing");
    }

    #[test]
    fn signatures_are_appended_to_a_malformed_manifest() {
        let (payload, config) = (Blob::of("payload"), Blob::of("config"));
        let descriptor = |blob: &Blob| json!({ "digest": blob.digest.as_str(), "size": blob.size });
        let ours = manifest(&json!({ "config": descriptor(&config), "layers": [descriptor(&payload)] }));
        let ours = ManifestWithBlobs::new(ours, vec![payload.clone(), config]).unwrap();
        let good = json!({ "digest": Digest::of(b"theirs").as_str(), "size": 6 });
        for stored in [
            json!({ "config": "x", "layers": [good, "x", { "digest": "x" }, { "digest": Digest::of(b"").as_str() }] }),
            json!([1]),
            json!("x"),
            json!({ "config": [], "layers": { "x": 1 } }),
        ] {
            let merged = with_signatures(&manifest(&stored), &ours).unwrap();
            assert!(signatures_are_within(ours.manifest(), merged.manifest()), "{stored}");
            let kept =
                String::from_utf8_lossy(&merged.manifest().bytes).contains(Digest::of(b"theirs").as_str());
            assert_eq!(kept, stored["layers"].is_array(), "{stored}");
        }
    }
}
