use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::io::registry::{Referrers, Registry, RegistryError};
use crate::model::Digest;
use crate::model::evidence::simple_signing::{self, SimpleSignature};
use crate::model::evidence::verify::{Lookup, StoredBundle, StoredEvidence};
use crate::model::evidence::{artifact, summary};
use crate::model::image::TagOrDigest;
use crate::model::manifest::RawManifest;

/// Bytes. The SBOM of a thousand packages has about 500 KB.
const LARGEST_BUNDLE: u64 = 16 << 20;
/// Bytes.
const LARGEST_PAYLOAD: u64 = 64 << 10;
const CONCURRENT: usize = 4;

/// Unreadable evidence is an error, never absent.
pub async fn stored_evidence(registry: &Registry, image: &Digest) -> StoredEvidence {
    let tag = TagOrDigest::Tag(simple_signing::tag(image));
    let simple_signatures = async {
        let manifest = registry.manifest(&tag).await.map_err(|error| error_chain(&error))?;
        simple_signatures(registry, manifest.as_ref(), None).await
    };
    let (bundles, simple_signatures) = tokio::join!(stored_bundles(registry, image), simple_signatures);
    StoredEvidence { bundles, simple_signatures }
}

pub async fn stored_bundles(registry: &Registry, image: &Digest) -> Lookup<Vec<StoredBundle>> {
    let referrers = registry.referrers(image).await.map_err(|error| error_chain(&error))?;
    bundles(registry, &referrers).await
}

/// Skips referrers of other kinds.
pub async fn bundles(registry: &Registry, referrers: &Referrers) -> Lookup<Vec<StoredBundle>> {
    let carriers = referrers.found.iter().filter_map(|referrer| {
        let (bundle, _) = artifact::carried_bundle(&referrer.manifest.bytes)?;
        Some((referrer.manifest.digest.clone(), bundle))
    });
    stream::iter(carriers.collect::<Vec<_>>())
        .map(async |(referrer, bundle)| {
            let json = blob(registry, &bundle, LARGEST_BUNDLE).await?;
            Ok(StoredBundle { referrer, json: json.to_vec() })
        })
        .buffered(CONCURRENT)
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
    let layers = simple_signing::signature_layers(&manifest.bytes).map_err(|error| error.to_string())?;
    stream::iter(layers)
        .map(async |layer| {
            let payload = match known {
                Some(known) if Digest::of(known) == layer.payload => known.to_vec(),
                _ => blob(registry, &layer.payload, LARGEST_PAYLOAD).await?.to_vec(),
            };
            Ok(SimpleSignature { payload, signature: layer.signature })
        })
        .buffered(CONCURRENT)
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

async fn blob(registry: &Registry, digest: &Digest, largest: u64) -> Lookup<Bytes> {
    match registry.small_blob(digest, largest).await {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => {
            Err(format!("the registry lists evidence with the content {digest}, but does not have it"))
        }
        Err(error) => Err(error_chain(&error)),
    }
}

fn error_chain(error: &RegistryError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use wiremock::matchers::{method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::io::registry::{Access, NoCredentials, Registries, RetryPolicy};
    use crate::model::evidence::verify::{ImageFacts, TrustPolicy, verify_evidence};
    use crate::model::evidence::{EvidenceKind, SigningKey, Statement, StatementSubject};
    use crate::model::manifest::{BlobSource, ManifestWithBlobs};
    use crate::model::verify::CheckStatus;

    async fn put(server: &MockServer, at: String, answer: ResponseTemplate) {
        Mock::given(method("GET")).and(path(at)).respond_with(answer).mount(server).await;
    }

    /// Serves the blobs, and the manifest under these names.
    async fn store(server: &MockServer, manifest_with_blobs: &ManifestWithBlobs, names: &[&str]) {
        for blob in manifest_with_blobs.blobs() {
            let BlobSource::Bytes(bytes) = &blob.source else { panic!("{manifest_with_blobs:?}") };
            let answer = ResponseTemplate::new(200).set_body_bytes(bytes.clone());
            put(server, format!("/v2/r/blobs/{}", blob.digest), answer).await;
        }
        for name in names {
            let manifest = manifest_with_blobs.manifest();
            let answer =
                ResponseTemplate::new(200).set_body_raw(manifest.bytes.clone(), &manifest.media_type);
            put(server, format!("/v2/r/manifests/{name}"), answer).await;
        }
    }

    fn registry(server: &MockServer) -> Registry {
        let repository = format!("{}/r", server.address()).parse().unwrap();
        let retry_policy =
            RetryPolicy { attempts: 1, first_delay: Duration::from_millis(1), ..RetryPolicy::default() };
        Registries::new(NoCredentials, retry_policy).open_with(&repository, Access::Pull, None).unwrap()
    }

    #[tokio::test]
    async fn what_is_stored_is_found_and_what_is_refused_is_unknown() {
        let server = MockServer::start().await;
        put(&server, "/v2/".to_owned(), ResponseTemplate::new(200)).await;
        let registry = registry(&server);
        let key = SigningKey::generate().unwrap();
        let repository = registry.repository().to_string();
        let subject = StatementSubject::image(&repository, Digest::of(b"image"), 5);
        let bundle = key.sign(&Statement::signature(&subject)).unwrap();
        let time = jiff::Timestamp::UNIX_EPOCH;
        let referrer = artifact::referrer(&bundle, EvidenceKind::Signature, &subject, time);
        let signature = simple_signing::manifest_with_blobs(&key.sign_simple(&subject).unwrap());
        store(&server, &referrer, &[referrer.digest().as_str()]).await;
        store(&server, &signature, &[simple_signing::tag(&subject.digest).as_str()]).await;
        let entry = json!({"mediaType": "x", "digest": referrer.digest(), "size": 1});
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        let answer =
            ResponseTemplate::new(200).set_body_raw(index, "application/vnd.oci.image.index.v1+json");
        put(&server, format!("/v2/r/referrers/{}", subject.digest), answer).await;

        let stored_evidence = super::stored_evidence(&registry, &subject.digest).await;
        let found = stored_evidence.bundles.clone().unwrap();
        assert_eq!(found, [StoredBundle { referrer: referrer.digest().clone(), json: bundle }]);
        let (_, summary) = summaries(&found, &subject.digest).remove(0);
        assert_eq!(summary.unwrap().signer, summary::ClaimedSigner::Key(key.public().hint()));
        let image = ImageFacts {
            repository,
            digest: subject.digest.clone(),
            inputs_label: Ok(None),
            rpms: Err("not read".into()),
        };
        let answers = verify_evidence(&image, &stored_evidence, &TrustPolicy::Key(key.public().clone()));
        let passed: Vec<_> = answers
            .iter()
            .filter(|answer| *answer.outcome() == CheckStatus::Passed)
            .map(|answer| answer.check)
            .collect();
        assert_eq!(passed, ["signature is good", "signature for podman and bootc is good"]);

        let other = Digest::of(b"other");
        put(&server, format!("/v2/r/referrers/{other}"), ResponseTemplate::new(403)).await;
        put(&server, format!("/v2/r/manifests/{}", simple_signing::tag(&other)), ResponseTemplate::new(403))
            .await;
        let refused = super::stored_evidence(&registry, &other).await;
        assert!(refused.bundles.is_err() && refused.simple_signatures.is_err(), "{refused:?}");
    }
}
