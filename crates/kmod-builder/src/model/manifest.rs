//! What is sent to a registry: a manifest, and the blobs that must be there before it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use serde::Deserialize;

use super::Digest;

/// A manifest or index as it is stored: exactly the bytes that its digest is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its media type: its own `mediaType`, else what the registry calls it.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
}

impl RawManifest {
    /// These bytes, of the type that they name themselves or else this one.
    pub fn new(bytes: impl Into<Bytes>, otherwise: &str) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Typed {
            media_type: Option<String>,
        }
        let bytes = bytes.into();
        let own = serde_json::from_slice::<Typed>(&bytes).ok().and_then(|typed| typed.media_type);
        let digest = Digest::of(&bytes);
        Self { media_type: own.unwrap_or_else(|| otherwise.to_owned()), bytes, digest }
    }
}

/// A blob and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// Where they are.
    pub content: Content,
}

/// Where the bytes of a blob are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Here.
    Bytes(Bytes),
    /// In a file, read in pieces when they are needed.
    File(PathBuf),
    /// In the registry already, and nowhere else: a layer reused by digest that was never downloaded.
    InRegistry,
}

impl Blob {
    /// These bytes.
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { digest: Digest::of(&bytes), size: bytes.len() as u64, content: Content::Bytes(bytes) }
    }

    /// A file that is known to have this digest and size.
    pub fn file(path: impl Into<PathBuf>, digest: Digest, size: u64) -> Self {
        Self { digest, size, content: Content::File(path.into()) }
    }
}

/// A manifest with every blob that it names: nothing can be missing when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestWithBlobs {
    manifest: RawManifest,
    blobs: Vec<Blob>,
    subject: Option<Digest>,
}

/// The parts of a manifest that name something.
#[derive(Deserialize)]
struct Naming {
    config: Descriptor,
    layers: Vec<Descriptor>,
    subject: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: Digest,
    size: u64,
}

impl ManifestWithBlobs {
    /// Puts a manifest together with its blobs; each blob that the manifest names must be given once or more, with
    /// the size that the manifest says, and others are left out.
    pub fn new(manifest: RawManifest, blobs: Vec<Blob>) -> Result<Self, IncompleteManifest> {
        let fail = |reason: String| IncompleteManifest { digest: manifest.digest.clone(), reason };
        let naming: Naming =
            serde_json::from_slice(&manifest.bytes).map_err(|error| fail(error.to_string()))?;
        let given: BTreeMap<Digest, Blob> =
            blobs.into_iter().map(|blob| (blob.digest.clone(), blob)).collect();
        let mut needed = Vec::<Blob>::new();
        for Descriptor { digest, size } in std::iter::once(naming.config).chain(naming.layers) {
            match given.get(&digest) {
                Some(blob) if blob.size != size => {
                    let reason = format!("{digest} has {} bytes, and {size} in the manifest", blob.size);
                    return Err(fail(reason));
                }
                Some(blob) if !needed.contains(blob) => needed.push(blob.clone()),
                Some(_) => {}
                None => return Err(fail(format!("its blob {digest} is not there"))),
            }
        }
        let subject = naming.subject.map(|subject| subject.digest);
        Ok(Self { manifest, blobs: needed, subject })
    }

    /// The manifest.
    pub fn manifest(&self) -> &RawManifest {
        &self.manifest
    }

    /// The manifest's digest.
    pub fn digest(&self) -> &Digest {
        &self.manifest.digest
    }

    /// The blobs that it names, each once, the configuration first.
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// What the manifest says it refers to.
    pub fn subject(&self) -> Option<&Digest> {
        self.subject.as_ref()
    }
}

/// A manifest and the blobs given with it do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the manifest {digest} cannot be sent: {reason}")]
pub struct IncompleteManifest {
    digest: Digest,
    reason: String,
}

#[cfg(test)]
mod tests {
    use super::super::oci::MANIFEST;
    use super::*;

    fn manifest(config: &Blob, layers: &[&Blob]) -> RawManifest {
        let describe = |blob: &Blob| format!(r#"{{"digest":"{}","size":{}}}"#, blob.digest, blob.size);
        let layers: Vec<_> = layers.iter().map(|layer| describe(layer)).collect();
        let text = format!(r#"{{"config":{},"layers":[{}]}}"#, describe(config), layers.join(","));
        RawManifest::new(text, MANIFEST)
    }

    #[test]
    fn a_manifest_knows_its_type_better_than_the_registry() {
        let typed = RawManifest::new(&br#"{"mediaType":"application/own"}"#[..], "text/plain");
        assert_eq!(typed.media_type, "application/own");
        assert_eq!(RawManifest::new(&b"{}"[..], "text/plain").media_type, "text/plain");
    }

    #[test]
    fn a_parcel_holds_each_named_blob_once() {
        let (config, layer, other) = (Blob::of("config"), Blob::of("layer"), Blob::of("other"));
        let all = vec![other.clone(), layer.clone(), config.clone()];
        let manifest_with_blobs = ManifestWithBlobs::new(manifest(&config, &[&layer, &layer]), all).unwrap();
        assert_eq!(manifest_with_blobs.blobs(), [config.clone(), layer.clone()]);
        let error = ManifestWithBlobs::new(manifest(&config, &[&layer]), vec![config.clone()])
            .unwrap_err()
            .to_string();
        assert!(error.contains(layer.digest.as_str()), "{error}");
        let shorter = Blob { size: 1, ..layer.clone() };
        assert!(ManifestWithBlobs::new(manifest(&config, &[&shorter]), vec![config, layer]).is_err());
    }
}
