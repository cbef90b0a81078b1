//! Consecutive publications.

use kmod_builder::io::registry::ContentCache;
use kmod_builder::model::image::TagOrDigest;

use super::*;

fn token_registry(referrers_api: bool) -> Options {
    Options { referrers_api, token: Some(10_000), page: 100, ..Options::default() }
}

#[tokio::test]
async fn the_second_run_sends_nothing() {
    for referrers_api in [false, true] {
        let (_directory, publication) = publication_of(1 << 20);
        let server = Server::start(token_registry(referrers_api)).await;
        let first = run(&open(&server.repository(), impatient()), &publication, |_| {}).await.unwrap();
        assert_eq!(first.pinned().digest, *publication.image().digest());
        let before = server.stored();
        server.forget_log();
        let second = run(&open(&server.repository(), impatient()), &publication, |_| {}).await.unwrap();
        assert_eq!(second.steps(), 0);
        let log = server.log();
        // Three bundles read to be verified are still within twelve.
        assert!(log.len() <= 9, "{log:#?}");
        assert!(log.iter().all(|line| line.starts_with("GET ") || line.starts_with("HEAD ")), "{log:#?}");
        let after = server.stored();
        assert_eq!((before.tags, before.manifests), (after.tags, after.manifests));
    }
}

#[tokio::test]
async fn a_reader_who_remembers_asks_for_tags_and_lists_only() {
    let (directory, publication) = publication_of(10);
    let image = publication.image().digest();
    let tag = TagOrDigest::Tag(TAG.parse().unwrap());
    for referrers_api in [false, true] {
        let server = Server::start(Options { referrers_api, page: 100, ..Options::default() }).await;
        let publisher = open(&server.repository(), impatient());
        run(&publisher, &publication, |_| {}).await.unwrap();
        let documents = ContentCache::new(directory.path().join(format!("documents-{referrers_api}")));
        let read = async || {
            server.forget_log();
            let reader = open(&server.repository(), impatient()).cached_by(documents.clone());
            assert_eq!(reader.resolve(&tag).await.unwrap().as_ref(), Some(image));
            let referrers = reader.referrers(image).await.unwrap();
            for blob in publication.evidence().made.iter().flat_map(ManifestWithBlobs::blobs) {
                assert!(reader.small_blob(&blob.digest, blob.size).await.unwrap().is_some());
            }
            reader.referrers(image).await.unwrap();
            (referrers, server.log())
        };
        let (first, log) = read().await;
        assert_eq!(first.found.len(), publication.attachments().count());
        assert!(log.len() > 6, "{log:#?}");
        let (second, log) = read().await;
        assert_eq!(first, second);
        // Whether a token is wanted, the tag, the list, and the list again: by the API, or by it once and by tag twice.
        assert_eq!(log.len(), if referrers_api { 4 } else { 5 }, "{log:#?}");
        // What nothing lists any more is not found, whatever is remembered.
        if !referrers_api {
            let index = TagOrDigest::Tag(format!("sha256-{}", image.hex()).parse().unwrap());
            let index = publisher.resolve(&index).await.unwrap().unwrap();
            publisher.delete_manifest(&index).await.unwrap();
            assert_eq!(read().await.0.found, []);
        }
    }
}

#[tokio::test]
async fn a_tag_of_another_image_is_not_moved_unless_told() {
    let ((_one, first), (_two, second)) = (publication_of(10), publication_of(20));
    let (server, registry) = serve(Options::default()).await;
    run(&registry, &first, |_| {}).await.unwrap();
    let before = server.stored();
    let error = run(&registry, &second, |_| {}).await.unwrap_err().to_string();
    let named = |publication: &Publication| error.contains(publication.image().digest().as_str());
    assert!(named(&first) && named(&second), "{error}");
    assert_eq!(before.manifests, server.stored().manifests, "nothing is sent for a tag that is taken");
    let (image, evidence) = (second.image().clone(), second.evidence().clone());
    let moved = Publication::new(image, evidence, TAG.parse().unwrap(), TagConflictPolicy::Replace);
    run(&registry, &moved.unwrap(), |_| {}).await.unwrap();
    assert_eq!(server.stored().tags[TAG], *second.image().digest());
}

#[tokio::test]
async fn a_token_that_runs_out_is_renewed() {
    let (_directory, publication) = publication_of(1 << 20);
    let server = Server::start(Options { token: Some(12), ..Options::default() }).await;
    run(&open(&server.repository(), impatient()), &publication, |_| {}).await.unwrap();
    assert!(server.log().iter().filter(|line| *line == "GET /token").count() >= 3);
}

#[tokio::test]
async fn what_other_clients_wrote_stays() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), 10);
    let (server, registry) = serve(Options::default()).await;
    // Another client: a referrer of its own, its entry as go-containerregistry writes it, and a signature.
    let theirs = referrer(&image, "theirs");
    let (signature_tag, signed) = signature(&image, "theirs");
    for written in [&theirs, &signed] {
        registry.send_blobs(written.blobs(), &UploadProgress::none()).await.unwrap();
        registry.put_manifest(written.manifest()).await.unwrap();
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "annotations": { "kept": "yes" },
        "manifests": [{
            "mediaType": MANIFEST, "digest": theirs.digest().as_str(), "size": theirs.manifest().bytes.len(),
            "artifactType": "application/vnd.oci.empty.v1+json",
        }],
    });
    let index_tag: Tag = format!("sha256-{}", image.digest().hex()).parse().unwrap();
    registry.put_tag(&index_tag, &RawManifest::new(index.to_string(), "")).await.unwrap();
    registry.put_tag(&signature_tag, signed.manifest()).await.unwrap();

    let publication = publication(&image);
    run(&registry, &publication, |_| {}).await.unwrap();

    let stored = server.stored();
    let document = |tag: &Tag| -> Value {
        serde_json::from_slice(&stored.manifests[&stored.tags[tag.as_str()]].1).unwrap()
    };
    let index = document(&index_tag);
    assert_eq!(index["annotations"]["kept"], "yes");
    let kind = |entry: &Value| {
        [&entry["artifactType"], &entry["annotations"]["dev.sigstore.bundle.predicateType"]].map(Value::clone)
    };
    let kinds: Vec<_> = index["manifests"].as_array().unwrap().iter().map(kind).collect();
    let bundle = json!("application/vnd.dev.sigstore.bundle.v0.3+json");
    let expected = ["theirs", "provenance", "sbom"].map(|kind| [bundle.clone(), kind.into()]);
    assert_eq!(kinds, [&expected[..], &[[artifact::INPUTS.into(), Value::Null]]].concat());
    let signatures = document(&signature_tag)["layers"].as_array().unwrap().len();
    assert_eq!(signatures, 2);
    let referrers = registry.referrers(image.digest()).await.unwrap();
    assert_eq!(referrers.found.len(), 4);

    assert!(registry.delete_manifest(theirs.digest()).await.unwrap());
    assert!(!registry.delete_manifest(theirs.digest()).await.unwrap());
    let referrers = registry.referrers(image.digest()).await.unwrap();
    assert_eq!((referrers.found.len(), referrers.dangling.len()), (3, 1));
}

#[tokio::test]
async fn a_reused_layer_is_neither_read_nor_uploaded() {
    use kmod_builder::model::manifest::BlobSource;
    let directory = tempfile::tempdir().unwrap();
    let whole = image(directory.path(), 10);
    let blobs = whole.blobs().iter().cloned().map(|blob| match blob.source {
        BlobSource::File(_) => Blob { source: BlobSource::InRegistry, ..blob },
        _ => blob,
    });
    let thin = ManifestWithBlobs::new(whole.manifest().clone(), blobs.collect()).unwrap();
    let (_server, registry) = serve(Options::default()).await;
    let error = run(&registry, &publication(&thin), |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("there is no local copy"), "{error}");
    registry.send_blobs(whole.blobs(), &UploadProgress::none()).await.unwrap();
    run(&registry, &publication(&thin), |_| {}).await.unwrap();
}
