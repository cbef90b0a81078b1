//! Publishing with faults of the registry and killed programs.

mod debian;
mod faults;
mod kills;
mod runs;

use std::path::Path;
use std::time::Duration;

use kmod_builder::io::publish::{PublishError, publish, remote_state};
use kmod_builder::io::registry::{
    Access, Credential, NoCredentials, Registries, RegistryWriter, RetryPolicy, Secret, UploadProgress,
};
use kmod_builder::model::Digest;
use kmod_builder::model::evidence::{StatementSubject, artifact};
use kmod_builder::model::image::{Repository, Tag};
use kmod_builder::model::manifest::{Blob, ManifestWithBlobs, RawManifest};
use kmod_builder::model::oci::MANIFEST;
use kmod_builder::model::publish::{Evidence, Publication, PublishStep, PublishedImage, TagConflictPolicy};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::registry_server::{Options, PASSWORD, Server, Store, USER};

const TAG: &str = "candidate-zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64";

/// Short delays, but enough attempts for each fault.
pub(crate) fn impatient() -> RetryPolicy {
    RetryPolicy {
        attempts: 4,
        first_delay: Duration::from_millis(2),
        longest_delay: Duration::from_millis(20),
        read_timeout: Duration::from_millis(150),
        read_backs: 10,
        ..RetryPolicy::default()
    }
}

pub(crate) fn open(repository: &Repository, retry_policy: RetryPolicy) -> RegistryWriter {
    sign_in(&Registries::new(NoCredentials, retry_policy), repository)
}

pub(crate) async fn serve(options: Options) -> (Server, RegistryWriter) {
    let server = Server::start(options).await;
    let registry = open(&server.repository(), impatient());
    (server, registry)
}

/// Reuses connections.
fn sign_in(registries: &Registries, repository: &Repository) -> RegistryWriter {
    let secret = Secret::Password { user: USER.into(), password: PASSWORD.into() };
    let credential = Credential { secret, origin: "the test".into() };
    RegistryWriter::open_with(registries, repository, Access::Delete, Some(credential)).unwrap()
}

fn descriptor(kind: &str, blob: &Blob) -> Value {
    json!({ "mediaType": kind, "digest": blob.digest.as_str(), "size": blob.size })
}

fn manifest_with_blobs(mut manifest: Value, config: Blob, layers: &[Blob]) -> ManifestWithBlobs {
    manifest["schemaVersion"] = 2.into();
    manifest["mediaType"] = MANIFEST.into();
    manifest["config"] = descriptor("application/vnd.oci.image.config.v1+json", &config);
    manifest["layers"] = layers.iter().map(|layer| descriptor("application/octet-stream", layer)).collect();
    let blobs = layers.iter().cloned().chain([config]).collect();
    ManifestWithBlobs::new(RawManifest::new(manifest.to_string(), MANIFEST), blobs).unwrap()
}

fn publication_of(size: u64) -> (TempDir, Publication) {
    let directory = tempfile::tempdir().unwrap();
    let publication = publication(&image(directory.path(), size));
    (directory, publication)
}

/// The second layer is a file of this size in the directory.
pub(crate) fn image(directory: &Path, size: u64) -> ManifestWithBlobs {
    let path = directory.join("layer");
    let content: Vec<u8> = (0..size).map(|position| u8::try_from(position % 251).unwrap()).collect();
    std::fs::write(&path, &content).unwrap();
    let file = Blob::file(path, Digest::of(&content), size);
    manifest_with_blobs(json!({}), Blob::of("{\"os\":\"linux\"}"), &[Blob::of("userland"), file])
}

pub(crate) fn referrer(image: &ManifestWithBlobs, kind: &str) -> ManifestWithBlobs {
    let size = image.manifest().bytes.len();
    let subject = json!({ "mediaType": MANIFEST, "digest": image.digest().as_str(), "size": size });
    let manifest = json!({
        "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json", "subject": subject,
        "annotations": { "dev.sigstore.bundle.predicateType": kind },
    });
    manifest_with_blobs(manifest, Blob::of("{}"), &[Blob::of(format!("a bundle with {kind}"))])
}

pub(crate) fn signature(image: &ManifestWithBlobs, signature: &str) -> (Tag, ManifestWithBlobs) {
    let tag = format!("sha256-{}.sig", image.digest().hex()).parse().unwrap();
    let payload = Blob::of(format!("payload for {}", image.digest()));
    let config = Blob::of(format!("config of {signature}"));
    let mut layer = descriptor("application/vnd.dev.cosign.simplesigning.v1+json", &payload);
    layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer],
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
    });
    let manifest = RawManifest::new(manifest.to_string(), MANIFEST);
    (tag, ManifestWithBlobs::new(manifest, vec![payload, config]).unwrap())
}

pub(crate) fn publication(image: &ManifestWithBlobs) -> Publication {
    let made = ["provenance", "sbom"].map(|kind| referrer(image, kind)).to_vec();
    let evidence = Evidence { made, signature: Some(signature(image, "ours")), ..Evidence::default() };
    let publication =
        Publication::new(image.clone(), evidence, TAG.parse().unwrap(), TagConflictPolicy::Refuse).unwrap();
    publication.with(inputs(image)).unwrap()
}

fn inputs(image: &ManifestWithBlobs) -> ManifestWithBlobs {
    let size = image.manifest().bytes.len() as u64;
    let subject = StatementSubject::image("owner/zfs-kmods", image.digest().clone(), size);
    artifact::inputs(&crate::images::inputs(), &subject)
}

pub(crate) async fn run(
    registry: &RegistryWriter,
    publication: &Publication,
    on_step: impl FnMut(&PublishStep),
) -> Result<PublishedImage, PublishError> {
    let (signature_tag, _) = publication.evidence().signature.as_ref().unwrap();
    let (remote, _) =
        remote_state(registry, publication.image().digest(), publication.tag(), signature_tag).await?;
    publish(registry, publication, &remote, &UploadProgress::none(), on_step).await
}

fn is_complete(store: &Store, publication: &Publication) -> bool {
    publication.attachments().chain([publication.image()]).all(|part| {
        store.manifests.contains_key(part.digest())
            && part.blobs().iter().all(|blob| store.blobs.contains_key(&blob.digest))
    })
}

/// Invariant at every moment: no tag without its image and all its evidence.
#[track_caller]
fn check_no_tag_without_evidence(store: &Store, publication: &Publication, has_referrers_api: bool) {
    let Some(tagged) = store.tags.get(TAG) else { return };
    assert_eq!(tagged, publication.image().digest());
    let (signature_tag, _) = publication.evidence().signature.as_ref().unwrap();
    assert!(store.tags.contains_key(signature_tag.as_str()), "a tag without its signature");
    assert!(is_complete(store, publication), "a tag without its evidence");
    if !has_referrers_api {
        let index = &store.tags[&format!("sha256-{}", tagged.hex())];
        let index = String::from_utf8(store.manifests[index].1.to_vec()).unwrap();
        let listed = |attached: &ManifestWithBlobs| index.contains(attached.digest().as_str());
        assert!(publication.attachments().all(listed), "a tag whose evidence nothing lists");
    }
}

type Tags = Vec<(String, Digest)>;

/// Runs again and checks the final state.
async fn check_next_run(
    server: &Server,
    registry: &RegistryWriter,
    publication: &Publication,
    has_referrers_api: bool,
    good: &[(String, Digest)],
    what: &str,
) {
    run(registry, publication, |_| {})
        .await
        .unwrap_or_else(|error| panic!("{what}, and the next run: {error}"));
    let state = end_state(&server.stored(), publication, has_referrers_api);
    assert_eq!(state.as_deref(), Some(good), "{what}, and the next run");
}

/// The tags of a complete registry; `None` if anything is missing.
///
/// Ignores the referrers index if the registry has the API: a client that did not receive `OCI-Subject` writes a
/// redundant one.
fn end_state(store: &Store, publication: &Publication, has_referrers_api: bool) -> Option<Tags> {
    let index = format!("sha256-{}", publication.image().digest().hex());
    let tags = store.tags.iter().filter(|(tag, _)| !has_referrers_api || **tag != index);
    (is_complete(store, publication) && store.tags.contains_key(TAG))
        .then(|| tags.map(|(tag, digest)| (tag.clone(), digest.clone())).collect())
}
