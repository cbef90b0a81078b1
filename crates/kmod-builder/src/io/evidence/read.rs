use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use kmod_query::error_chain;
use kmod_query::registry::RegistryErrorKind;

use crate::io::registry::{Referrers, Registry};
use crate::model::evidence::lifecycle::{self, ImageHistory};
use crate::model::evidence::simple_signing::{self, SimpleSignature};
use crate::model::evidence::verify::{Lookup, StoredBundle, StoredEvidence, TrustPolicy};
use crate::model::evidence::{artifact, summary};
use crate::model::image::TagOrDigest;
use crate::model::manifest::RawManifest;
use crate::model::reconcile::FailedAttempt;
use crate::model::verify::Inspection;
use crate::model::{Digest, compose};

/// Bytes. The SBOM of a thousand packages has about 500 KB.
const LARGEST_BUNDLE: u64 = 16 << 20;
/// Bytes.
const LARGEST_PAYLOAD: u64 = 64 << 10;
const CONCURRENT: usize = 4;

/// Evidence that the registry fails to provide is an error, never absent.
pub async fn stored_evidence(registry: &Registry, image: &Digest) -> StoredEvidence {
    let tag = TagOrDigest::Tag(simple_signing::tag(image));
    let simple_signatures = async {
        let manifest = registry.manifest(&tag).await.map_err(|error| error_chain(&error))?;
        simple_signatures(registry, manifest.as_ref(), None).await
    };
    let (bundles, simple_signatures) = tokio::join!(stored_bundles(registry, image), simple_signatures);
    StoredEvidence { bundles, simple_signatures }
}

/// The bundles alone: all statements, and no simple signatures.
pub async fn stored_statements(registry: &Registry, subject: &Digest) -> StoredEvidence {
    let bundles = stored_bundles(registry, subject).await;
    StoredEvidence { bundles, simple_signatures: Ok(Vec::new()) }
}

pub async fn stored_bundles(registry: &Registry, image: &Digest) -> Lookup<Vec<StoredBundle>> {
    let referrers = registry.referrers(image).await.map_err(|error| error_chain(&error))?;
    bundles(registry, &referrers).await
}

/// Failed boot tests of the image that are stated about its inputs only.
pub async fn missing_boot_tests(
    registry: &Registry,
    inspection: &Inspection,
    history: &ImageHistory,
    trust: &TrustPolicy,
    now: Timestamp,
) -> Lookup<Vec<FailedAttempt>> {
    let image = &inspection.image.digest;
    let annotations = &inspection.manifest.as_ref().map_err(Clone::clone)?.annotations;
    let Some(inputs) = annotations.get(compose::INPUTS).and_then(|digest| digest.parse().ok()) else {
        return Ok(Vec::new());
    };
    let evidence = stored_statements(registry, &inputs).await;
    lifecycle::missing_boot_tests(&inputs, image, &evidence, history, trust, now)
}

/// Skips referrers of other kinds.
pub async fn bundles(registry: &Registry, referrers: &Referrers) -> Lookup<Vec<StoredBundle>> {
    let carriers = referrers.found.iter().filter_map(|referrer| {
        let bundle = artifact::carried_bundle(&referrer.manifest.bytes)?;
        Some((referrer.manifest.digest.clone(), bundle))
    });
    stream::iter(carriers.collect::<Vec<_>>())
        .map(async |(referrer, bundle)| {
            let json = content(registry, &bundle, LARGEST_BUNDLE).await?;
            Ok(json.map(|json| StoredBundle { referrer, json: json.to_vec() }))
        })
        .buffered(CONCURRENT)
        .try_filter_map(async |bundle| Ok(bundle))
        .try_collect()
        .await
}

/// The signatures in the manifest at the image's signature tag.
///
/// The `known` payload is not read again.
pub async fn simple_signatures(
    registry: &Registry,
    manifest: Option<&RawManifest>,
    known: Option<&[u8]>,
) -> Lookup<Vec<SimpleSignature>> {
    let Some(manifest) = manifest else { return Ok(Vec::new()) };
    let (layers, faults) = simple_signing::signature_layers(&manifest.bytes);
    for fault in faults {
        tracing::warn!("{fault}; the other signatures count");
    }
    stream::iter(layers)
        .map(async |layer| {
            let payload = match known {
                Some(known) if Digest::of(known) == layer.payload => Some(known.to_vec()),
                _ => content(registry, &layer.payload, LARGEST_PAYLOAD).await?.map(|bytes| bytes.to_vec()),
            };
            Ok(payload.map(|payload| SimpleSignature { payload, signature: layer.signature }))
        })
        .buffered(CONCURRENT)
        .try_filter_map(async |signature| Ok(signature))
        .try_collect()
        .await
}

/// Unverified claims of each bundle, or why it is invalid.
pub fn summaries(bundles: &[StoredBundle], image: &Digest) -> Vec<(Digest, Lookup<summary::BundleSummary>)> {
    let summary = |stored: &StoredBundle| (stored.referrer.clone(), summary::summary(&stored.json, image));
    bundles.iter().map(summary).collect()
}

/// Writes `DIGEST.sigstore.json` for each bundle and returns the paths.
pub fn write_bundles(directory: &Path, bundles: &[StoredBundle]) -> std::io::Result<Vec<Option<PathBuf>>> {
    std::fs::create_dir_all(directory)?;
    let write = |bundle: &StoredBundle| {
        let path = directory.join(format!("{}.sigstore.json", bundle.referrer.hex()));
        std::fs::write(&path, &bundle.json)?;
        Ok(Some(path))
    };
    bundles.iter().map(write).collect()
}

/// `None` for content that no registry can provide: missing, too large, or with another digest. Everyone who may push
/// can attach such a bundle, and the others must still count. The error is a failure of the registry.
async fn content(registry: &Registry, digest: &Digest, largest: u64) -> Lookup<Option<Bytes>> {
    let fault = match registry.small_blob(digest, largest).await {
        Ok(Some(bytes)) => return Ok(Some(bytes)),
        Ok(None) => "the registry lists it, but does not have it".to_owned(),
        Err(error) if is_fault_of_the_content(error.kind()) => error_chain(&error),
        Err(error) => return Err(error_chain(&error)),
    };
    tracing::warn!("evidence with the content {digest} is ignored: {fault}");
    Ok(None)
}

fn is_fault_of_the_content(kind: &RegistryErrorKind) -> bool {
    matches!(kind, RegistryErrorKind::Malformed(_) | RegistryErrorKind::WrongContent { .. })
}
