//! Simple signatures at the tag `sha256-<hex>.sig` (cosign, `SIGNATURE_SPEC.md`).
//!
//! Podman, skopeo, bootc and rpm-ostree (containers/image) read no other signatures and verify them with a key only,
//! not with a workflow identity (podman-container-tools/container-libs#1153 and #625).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use sigstore_types::SignatureBytes;

use super::PublicKey;
use super::artifact::{self, ArtifactDescriptor};
use crate::model::image::Tag;
use crate::model::manifest::{Blob, ManifestWithBlobs};
use crate::model::{Digest, oci};

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const PAYLOAD_TYPE: &str = "cosign container image signature";

/// The tag of an image's signatures.
pub fn tag(image: &Digest) -> Tag {
    format!("sha256-{}.sig", image.hex())
        .parse()
        .expect("hexadecimal digits, `-` and `.` are allowed in tags")
}

/// States that this image belongs to this repository (containers/image, `containers-signature(5)`).
pub fn payload(repository: &str, image: &Digest) -> Vec<u8> {
    #[derive(Serialize)]
    struct Payload<'a> {
        critical: Critical<'a>,
        optional: Option<()>,
    }
    #[derive(Serialize)]
    struct Critical<'a> {
        identity: CertificateIdentity<'a>,
        image: Image<'a>,
        #[serde(rename = "type")]
        kind: &'static str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct CertificateIdentity<'a> {
        docker_reference: &'a str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Image<'a> {
        docker_manifest_digest: &'a Digest,
    }
    let critical = Critical {
        identity: CertificateIdentity { docker_reference: repository },
        image: Image { docker_manifest_digest: image },
        kind: PAYLOAD_TYPE,
    };
    serde_json::to_vec(&Payload { critical, optional: None }).expect("a payload is text")
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimpleSignature {
    /// See [`payload`].
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
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest<'a> {
        schema_version: u32,
        media_type: &'a str,
        config: ArtifactDescriptor<'a>,
        layers: [ArtifactDescriptor<'a>; 1],
    }
    let payload = Blob::of(signature.payload.clone());
    // The payload is not compressed, so its digest is also the diff ID of the layer.
    let config = Blob::of(config(&payload.digest));
    let encoded = STANDARD.encode(signature.signature.as_bytes());
    let manifest = Manifest {
        schema_version: 2,
        media_type: oci::MANIFEST,
        config: ArtifactDescriptor::of(oci::CONFIG, &config),
        layers: [ArtifactDescriptor::of(PAYLOAD, &payload).annotated(SIGNATURE, encoded)],
    };
    artifact::manifest_with_blobs(&manifest, vec![config, payload])
}

/// As cosign writes it: empty except for the list of layers.
fn config(payload: &Digest) -> Vec<u8> {
    #[derive(Serialize)]
    struct Config<'a> {
        architecture: &'static str,
        created: &'static str,
        history: [History; 1],
        os: &'static str,
        rootfs: RootFs<'a>,
        #[serde(rename = "config")]
        execution: Empty,
    }
    #[derive(Serialize)]
    struct History {
        created: &'static str,
    }
    #[derive(Serialize)]
    struct RootFs<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        diff_ids: [&'a Digest; 1],
    }
    #[derive(Serialize)]
    struct Empty {}
    const NEVER: &str = "0001-01-01T00:00:00Z";
    let config = Config {
        architecture: "",
        created: NEVER,
        history: [History { created: NEVER }],
        os: "",
        rootfs: RootFs { kind: "layers", diff_ids: [payload] },
        execution: Empty {},
    };
    serde_json::to_vec(&config).expect("a configuration is text")
}

/// A signature in a stored manifest. Its payload has to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLayer {
    /// Of the payload.
    pub payload: Digest,
    /// Of the payload, in bytes.
    pub size: u64,
    pub signature: SignatureBytes,
}

#[derive(Debug, thiserror::Error)]
#[error("what is stored at the signature tag is no manifest of signatures: {0}")]
pub struct SignatureManifestError(String);

/// Layers of other kinds are skipped.
pub fn signature_layers(manifest: &[u8]) -> Result<Vec<SignatureLayer>, SignatureManifestError> {
    let fail = |reason: &str| SignatureManifestError(reason.to_owned());
    let manifest: Value = serde_json::from_slice(manifest).map_err(|error| fail(&error.to_string()))?;
    let signature_layers = manifest["layers"].as_array().ok_or_else(|| fail("it has no layers"))?;
    signature_layers
        .iter()
        .filter(|layer| layer["mediaType"] == PAYLOAD)
        .map(|layer| {
            let signature = layer["annotations"][SIGNATURE].as_str().unwrap_or_default();
            let read = || {
                Some(SignatureLayer {
                    payload: layer["digest"].as_str()?.parse().ok()?,
                    size: layer["size"].as_u64()?,
                    signature: SignatureBytes::from_base64(signature).ok()?,
                })
            };
            read().ok_or_else(|| fail("a layer lacks its digest, size or signature"))
        })
        .collect()
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
        let signature_layers = signature_layers(&manifest_with_blobs.manifest().bytes).unwrap();
        assert_eq!(signature_layers.len(), 1);
        assert_eq!(signature_layers[0].signature, signature.signature);
        assert_eq!(signature_layers[0].payload, Digest::of(&signature.payload));
        let BlobSource::Bytes(config) = &manifest_with_blobs.blobs()[0].source else {
            panic!("{manifest_with_blobs:?}")
        };
        assert_eq!(
            *config,
            format!(
                r#"{{"architecture":"","created":"0001-01-01T00:00:00Z","history":[{{"created":"0001-01-01T00:00:00Z"}}],"os":"","rootfs":{{"type":"layers","diff_ids":["{}"]}},"config":{{}}}}"#,
                signature_layers[0].payload
            )
        );
        assert!(super::signature_layers(b"{}").is_err() && super::signature_layers(b"").is_err());
    }
}
