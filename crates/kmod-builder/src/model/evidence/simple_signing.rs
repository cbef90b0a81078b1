//! Simple signatures at the tag `sha256-<hex>.sig` (cosign, `SIGNATURE_SPEC.md`).
//!
//! Podman, skopeo, bootc and rpm-ostree (containers/image) read no other signatures and verify them with a key only,
//! not with a workflow identity (podman-container-tools/container-libs#1153 and #625).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sigstore_types::SignatureBytes;

use super::PublicKey;
use super::artifact;
use crate::model::Digest;
use crate::model::image::Tag;
use crate::model::manifest::{Blob, ManifestWithBlobs};
use crate::model::oci::{self, Manifest};

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation of a layer: the signature of its payload, in base64.
pub(in crate::model) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const PAYLOAD_TYPE: &str = "cosign container image signature";

pub fn tag(image: &Digest) -> Tag {
    format!("sha256-{}.sig", image.hex())
        .parse()
        .expect("hexadecimal digits, `-` and `.` are allowed in tags")
}

/// States that this image belongs to this repository (containers/image, `containers-signature(5)`).
pub fn payload(repository: &str, image: &Digest) -> Vec<u8> {
    let critical = json!({
        "identity": {"docker-reference": repository},
        "image": {"docker-manifest-digest": image},
        "type": PAYLOAD_TYPE,
    });
    json!({"critical": critical, "optional": null}).to_string().into_bytes()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimpleSignature {
    pub payload: Vec<u8>,
    /// ECDSA over the SHA-256 of the payload, in ASN.1.
    pub signature: SignatureBytes,
}

impl SimpleSignature {
    /// Fails unless the key's owner signed exactly this image for exactly this repository.
    pub fn verify(&self, key: &PublicKey, repository: &str, image: &Digest) -> Result<(), String> {
        if !key.verifies(&self.payload, &self.signature) {
            return Err("it is not signed with this key".to_owned());
        }
        let payload: Value =
            serde_json::from_slice(&self.payload).map_err(|error| format!("it is no JSON: {error}"))?;
        let critical = &payload["critical"];
        for (pointer, expected) in [
            ("/type", PAYLOAD_TYPE),
            ("/image/docker-manifest-digest", image.as_str()),
            ("/identity/docker-reference", repository),
        ] {
            let found = critical.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            if found != expected {
                return Err(format!(
                    "its `critical{}` is `{found}` (expected `{expected}`)",
                    pointer.replace('/', ".")
                ));
            }
        }
        Ok(())
    }
}

/// The manifest at [`tag`]. [`with_signatures`](crate::model::referrers::with_signatures) keeps signatures of others.
pub fn manifest_with_blobs(signature: &SimpleSignature) -> ManifestWithBlobs {
    let payload = Blob::of(signature.payload.clone());
    // The payload is not compressed, so its digest is also the diff ID of the layer.
    let config = config(&[json!(payload.digest)]);
    let layer =
        payload.descriptor(PAYLOAD).annotated(SIGNATURE, STANDARD.encode(signature.signature.as_bytes()));
    let manifest = Manifest::new(config.descriptor(oci::CONFIG), vec![layer]);
    artifact::manifest_with_blobs(&manifest, vec![config, payload])
}

/// As cosign writes it: empty except for the list of layers.
pub(in crate::model) fn config(diff_ids: &[Value]) -> Blob {
    let never = "0001-01-01T00:00:00Z";
    let history = vec![json!({"created": never}); diff_ids.len()];
    let config = json!({
        "architecture": "", "created": never, "history": history, "os": "",
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "config": {},
    });
    Blob::of(config.to_string())
}

/// A signature in a stored manifest. Its payload has to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLayer {
    /// Of the payload.
    pub payload: Digest,
    pub signature: SignatureBytes,
}

/// The signatures, and the faults of others: everyone who may push can add layers, and must not hide the good ones. Layers
/// of other kinds are skipped.
pub fn signature_layers(manifest: &[u8]) -> (Vec<SignatureLayer>, Vec<String>) {
    let manifest: Value = match serde_json::from_slice(manifest) {
        Ok(manifest) => manifest,
        Err(error) => {
            return (Vec::new(), vec![format!("the manifest at the signature tag is invalid: {error}")]);
        }
    };
    let (mut signatures, mut faults) = (Vec::new(), Vec::new());
    for layer in manifest["layers"].as_array().into_iter().flatten() {
        if layer["mediaType"] != PAYLOAD {
            continue;
        }
        let read = || {
            let signature = layer["annotations"][SIGNATURE].as_str().unwrap_or_default();
            let signature = SignatureBytes::from_base64(signature).ok()?;
            Some(SignatureLayer { payload: layer["digest"].as_str()?.parse().ok()?, signature })
        };
        match read() {
            Some(signature) => signatures.push(signature),
            None => faults.push("a layer at the signature tag has no valid signature or digest".to_owned()),
        }
    }
    (signatures, faults)
}

#[cfg(test)]
mod tests {
    use sigstore_crypto::KeyPair;

    use super::*;
    use crate::model::manifest::BlobSource;

    const REPOSITORY: &str = "ghcr.io/owner/zfs-kmods";

    fn signed(pair: &KeyPair, payload: Vec<u8>) -> SimpleSignature {
        let signature = pair.sign(&payload).unwrap();
        SimpleSignature { payload, signature }
    }

    fn public(pair: &KeyPair) -> PublicKey {
        PublicKey::from_der(pair.public_key_der().unwrap()).unwrap()
    }

    #[test]
    fn a_payload_is_what_cosign_writes() {
        let image = Digest::of(b"image");
        assert_eq!(
            String::from_utf8(payload(REPOSITORY, &image)).unwrap(),
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"ghcr.io/owner/zfs-kmods"}},"image":{{"docker-manifest-digest":"{image}"}},"type":"cosign container image signature"}},"optional":null}}"#
            )
        );
        assert_eq!(tag(&image).as_str(), format!("sha256-{}.sig", image.hex()));
    }

    #[test]
    fn a_signature_holds_for_its_key_image_and_repository_only() {
        let pair = KeyPair::generate_ecdsa_p256().unwrap();
        let image = Digest::of(b"image");
        let signature = signed(&pair, payload(REPOSITORY, &image));
        signature.verify(&public(&pair), REPOSITORY, &image).unwrap();
        let other = public(&KeyPair::generate_ecdsa_p256().unwrap());
        assert!(signature.verify(&other, REPOSITORY, &image).is_err());
        assert!(signature.verify(&public(&pair), REPOSITORY, &Digest::of(b"x")).is_err());
        assert!(signature.verify(&public(&pair), "ghcr.io/owner/other", &image).is_err());
        let sentence = signed(&pair, b"{}".to_vec()).verify(&public(&pair), REPOSITORY, &image).unwrap_err();
        assert!(sentence.contains("critical.type"), "{sentence}");
    }

    #[test]
    fn what_is_stored_is_what_cosign_writes_and_is_read_back() {
        let pair = KeyPair::generate_ecdsa_p256().unwrap();
        let signature = signed(&pair, payload(REPOSITORY, &Digest::of(b"image")));
        let manifest_with_blobs = manifest_with_blobs(&signature);
        let (signature_layers, faults) = signature_layers(&manifest_with_blobs.manifest().bytes);
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(signature_layers.len(), 1);
        assert_eq!(signature_layers[0].signature, signature.signature);
        assert_eq!(signature_layers[0].payload, Digest::of(&signature.payload));
        let BlobSource::Bytes(config) = &manifest_with_blobs.blobs()[0].source else {
            panic!("{manifest_with_blobs:?}")
        };
        assert_eq!(
            serde_json::from_slice::<Value>(config).unwrap(),
            json!({
                "architecture": "", "created": "0001-01-01T00:00:00Z",
                "history": [{"created": "0001-01-01T00:00:00Z"}], "os": "",
                "rootfs": {"type": "layers", "diff_ids": [signature_layers[0].payload]}, "config": {},
            })
        );
    }

    #[test]
    fn a_malformed_layer_does_not_hide_the_others() {
        let pair = KeyPair::generate_ecdsa_p256().unwrap();
        let signature = signed(&pair, payload(REPOSITORY, &Digest::of(b"image")));
        let stored = manifest_with_blobs(&signature);
        let mut document: Value = serde_json::from_slice(&stored.manifest().bytes).unwrap();
        let layers = document["layers"].as_array_mut().unwrap();
        layers.insert(0, json!({"mediaType": PAYLOAD, "digest": "x", "size": "y"}));
        layers.insert(0, json!("x"));
        document["config"] = "x".into();
        let (signatures, faults) = super::signature_layers(document.to_string().as_bytes());
        assert_eq!((signatures.len(), faults.len()), (1, 1));
        assert_eq!(super::signature_layers(b"[]"), (Vec::new(), Vec::new()));
        assert_eq!(super::signature_layers(b"").1.len(), 1);
    }
}
