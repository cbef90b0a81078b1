//! Publishing to docker-registry.

use kmod_builder::model::image::TagOrDigest;

use super::*;
use crate::docker::DockerRegistry;

#[tokio::test]
async fn a_real_registry_takes_it_once() {
    let running = DockerRegistry::start().await;
    let repository = format!("{}/owner/zfs-kmods", running.address()).parse().unwrap();
    let (_directory, publication) = publication_of(5 << 20);
    let patient = RetryPolicy { read_timeout: Duration::from_secs(20), ..impatient() };
    let registry = open(&repository, patient);
    assert_eq!(registry.tags().await.unwrap(), []);
    let first = run(&registry, &publication, |_| {}).await.unwrap();
    assert_eq!(first.steps(), 12);
    let second = run(&open(&repository, patient), &publication, |_| {}).await.unwrap();
    assert_eq!(second.steps(), 0);
    let tags: Vec<_> = registry.tags().await.unwrap().iter().map(ToString::to_string).collect();
    let hex = publication.image().digest().hex();
    assert_eq!(tags, [TAG.to_owned(), format!("sha256-{hex}"), format!("sha256-{hex}.sig")]);
    let referrers = registry.referrers(publication.image().digest()).await.unwrap();
    let kinds = referrers.found.iter().map(|found| {
        let predicate = found.annotations.get("dev.sigstore.bundle.predicateType");
        predicate.unwrap_or(&found.artifact_type).as_str()
    });
    assert!(kinds.eq(["provenance", "sbom", artifact::INPUTS]), "{referrers:?}");
    assert!(registry.delete_manifest(publication.image().digest()).await.unwrap());
    assert_eq!(registry.resolve(&TagOrDigest::Tag(TAG.parse().unwrap())).await.unwrap(), None);
}
