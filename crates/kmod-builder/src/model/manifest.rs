use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Digest, oci};
use bytes::Bytes;

pub use oci::RawManifest;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    pub source: BlobSource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobSource {
    Bytes(Bytes),
    /// Streamed during the upload.
    File(PathBuf),
    /// Only in the registry: a layer reused by digest that was never downloaded.
    InRegistry,
}

impl Blob {
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { digest: Digest::of(&bytes), size: bytes.len() as u64, source: BlobSource::Bytes(bytes) }
    }

    pub fn descriptor(&self, media_type: &str) -> oci::Descriptor {
        oci::Descriptor::new(media_type, self.digest.clone(), self.size)
    }

    pub fn file(path: impl Into<PathBuf>, digest: Digest, size: u64) -> Self {
        Self { digest, size, source: BlobSource::File(path.into()) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestWithBlobs {
    manifest: RawManifest,
    blobs: Vec<Blob>,
    subject: Option<Digest>,
}

impl ManifestWithBlobs {
    /// Requires every blob that the manifest names, with the same size. Other blobs are dropped.
    pub fn new(manifest: RawManifest, blobs: Vec<Blob>) -> Result<Self, IncompleteManifest> {
        let fail = |reason: String| IncompleteManifest { digest: manifest.digest.clone(), reason };
        let parsed: oci::Manifest =
            serde_json::from_slice(&manifest.bytes).map_err(|error| fail(error.to_string()))?;
        let given: BTreeMap<Digest, Blob> =
            blobs.into_iter().map(|blob| (blob.digest.clone(), blob)).collect();
        let mut needed = Vec::<Blob>::new();
        for oci::Descriptor { digest, size, .. } in std::iter::once(parsed.config).chain(parsed.layers) {
            match given.get(&digest) {
                Some(blob) if blob.size != size => {
                    let reason = format!("{digest} has {} bytes, but {size} in the manifest", blob.size);
                    return Err(fail(reason));
                }
                Some(blob) if !needed.contains(blob) => needed.push(blob.clone()),
                Some(_) => {}
                None => return Err(fail(format!("its blob {digest} is missing"))),
            }
        }
        let subject = parsed.subject.map(|subject| subject.digest);
        Ok(Self { manifest, blobs: needed, subject })
    }

    pub fn manifest(&self) -> &RawManifest {
        &self.manifest
    }

    pub fn digest(&self) -> &Digest {
        &self.manifest.digest
    }

    /// Each once, the configuration first.
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    pub fn subject(&self) -> Option<&Digest> {
        self.subject.as_ref()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("incomplete manifest {digest}: {reason}")]
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
    fn each_named_blob_is_contained_once() {
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
