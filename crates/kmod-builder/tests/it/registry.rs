use std::time::{Duration, Instant};

use jiff::Timestamp;
use kmod_builder::io::evidence::attach::attach;
use kmod_builder::io::evidence::{stored_evidence, summaries};
use kmod_builder::io::registry::{
    Access, CredentialSources, NoCredentials, Registries, RegistryErrorKind, RetryPolicy, Secret,
    UploadProgress,
};
use kmod_builder::model::Digest;
use kmod_builder::model::evidence::summary::ClaimedSigner;
use kmod_builder::model::evidence::verify::{ImageFacts, StoredBundle, TrustPolicy, verify_evidence};
use kmod_builder::model::evidence::{
    EvidenceKind, SigningKey, Statement, StatementSubject, artifact, simple_signing,
};
use kmod_builder::model::image::TagOrDigest;
use kmod_builder::model::manifest::{Blob, RawManifest};
use kmod_builder::model::verify::CheckStatus;
use secrecy::ExposeSecret as _;
use tokio::io::AsyncReadExt as _;

use crate::command_output::write_program;
use crate::publish::{image, impatient, open, referrer, serve};
use crate::registry_server::{Fault, Options, Server};

#[tokio::test]
async fn a_refused_sign_in_is_told_as_one() {
    let server = Server::start(Options { token: Some(100), ..Options::default() }).await;
    let registries = Registries::new(NoCredentials, impatient());
    let anonymous = registries.open(&server.repository(), Access::Pull).await.unwrap();
    let error = anonymous.tags().await.unwrap_err();
    assert!(matches!(error.kind(), RegistryErrorKind::Token { .. }), "{error}");
    assert!(!error.is_temporary());
    let sentence = format!("{error}");
    assert!(sentence.contains("could not obtain a token from http://127.0.0.1"), "{sentence}");
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("podman login 127.0.0.1"), "{help}");
    assert_eq!(server.log(), ["GET /v2/", "GET /token"], "a refusal is final");
}

#[tokio::test]
async fn a_token_endpoint_that_is_down_is_no_refusal() {
    let server = Server::start(Options { token: Some(100), ..Options::default() }).await;
    (1..20).step_by(2).for_each(|request| server.fault_at(request, Fault::Internal));
    let error = open(&server.repository(), impatient()).tags().await.unwrap_err();
    assert!(error.is_temporary() && matches!(error.kind(), RegistryErrorKind::Token { .. }), "{error}");
    assert!(error.to_string().contains("the registry answered 500: <html>oops</html>"), "{error}");
}

#[tokio::test]
async fn lists_are_read_to_their_end() {
    let (_server, registry) = serve(Options { referrers_api: true, ..Options::default() }).await;
    assert_eq!(registry.tags().await.unwrap(), [], "`tags: null` is no tags");
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), 10);
    registry.send_blobs(image.blobs(), &UploadProgress::none()).await.unwrap();
    for tag in ["a", "b", "c", "d", "e"] {
        registry.put_tag(&tag.parse().unwrap(), image.manifest()).await.unwrap();
    }
    let tags = registry.tags().await.unwrap();
    assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
    for kind in ["one", "two", "three"] {
        let referrer = referrer(&image, kind);
        registry.send_blobs(referrer.blobs(), &UploadProgress::none()).await.unwrap();
        let response = registry.put_manifest(referrer.manifest()).await.unwrap();
        assert_eq!(response.oci_subject.as_deref(), Some(image.digest().as_str()));
    }
    let referrers = registry.referrers(image.digest()).await.unwrap();
    assert_eq!(referrers.found.len(), 3);
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    assert!(referrers.found.iter().all(|found| found.artifact_type == bundle), "the manifest's word counts");
}

/// Else a clean-up would delete too much, and a plan would build again.
#[tokio::test]
async fn no_failure_is_taken_for_none() {
    let server = Server::start(Options::default()).await;
    let subject = Digest::of(b"image");
    for fault in [Fault::Forbidden, Fault::TooMany, Fault::Internal, Fault::Truncated] {
        // 0 asks how to sign in, 1 the referrers API, 2 the fallback tag; and each again.
        for first in [1, 2] {
            server.forget_log();
            (first..40).for_each(|request| server.fault_at(request, fault));
            let answer = open(&server.repository(), impatient()).referrers(&subject).await;
            // An empty 404 stays one when its body is cut.
            assert!(answer.is_err() || fault == Fault::Truncated, "{fault} at {first}: {answer:?}");
        }
    }
    server.forget_log();
    let none = open(&server.repository(), impatient()).referrers(&subject).await.unwrap();
    assert!(none.found.is_empty() && none.dangling.is_empty());
}

#[tokio::test]
async fn stored_evidence_is_found_and_a_rejection_is_unknown() {
    let (server, registry) = serve(Options { referrers_api: true, ..Options::default() }).await;
    let key = SigningKey::generate().unwrap();
    let (repository, digest) = (server.repository().to_string(), Digest::of(b"image"));
    let subject = StatementSubject::image(&repository, digest.clone(), 5);
    let bundle = key.sign(&Statement::signature(&subject)).unwrap();
    let referrer =
        artifact::referrer(&bundle, EvidenceKind::Signature, &subject, jiff::Timestamp::UNIX_EPOCH);
    attach(&registry, &digest, std::slice::from_ref(&referrer)).await.unwrap();
    let signature = simple_signing::manifest_with_blobs(&key.sign_simple(&subject).unwrap());
    let tag = simple_signing::tag(&digest);
    registry.add_signatures(&tag, &signature, &UploadProgress::none()).await.unwrap();

    let stored = stored_evidence(&registry, &digest).await;
    let found = stored.bundles.clone().unwrap();
    assert_eq!(found, [StoredBundle { referrer: referrer.digest().clone(), json: bundle }]);
    let (_, summary) = summaries(&found, &digest).remove(0);
    assert_eq!(summary.unwrap().signer, ClaimedSigner::Key(key.public().hint()));
    let (inputs_label, rpms) = (Ok(None), Err("not read".into()));
    let image = ImageFacts { repository, digest, inputs_label, rpms };
    let results = verify_evidence(&image, &stored, &TrustPolicy::key(key.public().clone()), Timestamp::now());
    let passed = results.iter().filter(|result| *result.outcome() == CheckStatus::Passed);
    let passed: Vec<_> = passed.map(|result| result.check).collect();
    assert_eq!(
        passed,
        ["signature is good", "signature for podman and bootc is good", "image is not withdrawn"]
    );

    server.forget_log();
    (0..40).for_each(|request| server.fault_at(request, Fault::Forbidden));
    let rejected = stored_evidence(&registry, &Digest::of(b"other")).await;
    assert!(rejected.bundles.is_err() && rejected.simple_signatures.is_err(), "{rejected:?}");
}

#[tokio::test]
async fn a_download_is_resumed_and_its_end_checked() {
    let (server, registry) = serve(Options::default()).await;
    let content = vec![7_u8; 300_000];
    let blob = Blob::of(content.clone());
    registry.send_blobs(std::slice::from_ref(&blob), &UploadProgress::none()).await.unwrap();
    let read = async |fault: Option<Fault>| {
        server.forget_log();
        if let Some(fault) = fault {
            server.fault_at(0, fault);
        }
        let mut bytes = Vec::new();
        let mut reader = registry.blob(&blob.digest).await?.expect("it is there");
        reader.read_to_end(&mut bytes).await.map_err(|error| error.downcast().unwrap())?;
        assert_eq!(bytes, content);
        Ok(())
    };
    let _: Result<(), kmod_builder::io::registry::RegistryError> = read(None).await;
    read(Some(Fault::ResetMidBody)).await.unwrap();
    assert_eq!(server.log().len(), 2);
    for fault in [Fault::Truncated, Fault::WrongDigest] {
        let error = read(Some(fault)).await.unwrap_err();
        assert!(matches!(error.kind(), RegistryErrorKind::WrongContent { .. }), "{error}");
    }
    assert!(registry.blob(&Digest::of(b"other")).await.unwrap().is_none());
    server.forget_log();
    server.fault_at(0, Fault::WrongDigest);
    assert_eq!(registry.small_blob(&blob.digest, 300_000).await.unwrap().unwrap(), content);
    assert!(registry.small_blob(&blob.digest, 299_999).await.is_err());
}

#[tokio::test]
async fn a_manifest_is_what_its_digest_says() {
    let (server, registry) = serve(Options::default()).await;
    let manifest = RawManifest::new(&b"{}"[..], "application/vnd.oci.image.index.v1+json");
    registry.put_tag(&"tag".parse().unwrap(), &manifest).await.unwrap();
    let selectors = [TagOrDigest::Tag("tag".parse().unwrap()), TagOrDigest::Digest(manifest.digest.clone())];
    for tag_or_digest in selectors {
        server.forget_log();
        (0..20).for_each(|request| server.fault_at(request, Fault::WrongDigest));
        let error = registry.manifest(&tag_or_digest).await.unwrap_err();
        assert!(matches!(error.kind(), RegistryErrorKind::WrongContent { .. }), "{error}");
        server.forget_log();
        assert_eq!(registry.manifest(&tag_or_digest).await.unwrap().as_ref(), Some(&manifest));
        assert_eq!(registry.resolve(&tag_or_digest).await.unwrap().as_ref(), Some(&manifest.digest));
    }
}

#[tokio::test]
async fn a_registry_is_left_alone_as_long_as_it_asks() {
    let retry_policy = RetryPolicy { longest_delay: Duration::from_millis(300), ..impatient() };
    let server = Server::start(Options::default()).await;
    server.fault_at(1, Fault::TooManyRetryAfter);
    let begun = Instant::now();
    open(&server.repository(), retry_policy).tags().await.unwrap();
    // It asks for longer than anybody waits; without a word, the first wait would be of milliseconds.
    assert!(begun.elapsed() >= retry_policy.longest_delay);
}

/// Registries redirect uploads to storage on other hosts, which must not get the token.
#[tokio::test]
async fn the_token_goes_to_the_registry_only() {
    use wiremock::matchers::{header, header_exists, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};
    let (registry, storage) = (MockServer::start().await, MockServer::start().await);
    let base = registry.uri();
    let answer = |status: u16| ResponseTemplate::new(status);
    let challenge = format!("Basic realm=x, Bearer realm=\"{base}/token\", service=\"a,b\"");
    let ping = answer(401).insert_header("www-authenticate", challenge);
    let token = answer(200).set_body_string(r#"{"access_token":"t"}"#);
    let session = answer(202).insert_header("location", format!("{}/session?a=b", storage.uri()));
    Mock::given(path("/v2/")).respond_with(ping).mount(&registry).await;
    Mock::given(path("/token")).respond_with(token).mount(&registry).await;
    let with_token = || header("authorization", "Bearer t");
    Mock::given(method("HEAD")).and(with_token()).respond_with(answer(404)).mount(&registry).await;
    Mock::given(method("POST")).and(with_token()).respond_with(session).mount(&registry).await;
    Mock::given(header_exists("authorization")).respond_with(answer(500)).expect(0).mount(&storage).await;
    let upload = Mock::given(method("PUT")).and(path("/session"));
    upload.respond_with(answer(201)).expect(1).mount(&storage).await;
    let repository = format!("{}/x", base.trim_start_matches("http://")).parse().unwrap();
    open(&repository, impatient()).send_blobs(&[Blob::of("blob")], &UploadProgress::none()).await.unwrap();
}

/// Run by [`helpers`] with its own `PATH`.
#[tokio::test]
async fn helpers_child() {
    let Ok(file) = std::env::var("ZFS_KMODS_TEST_HELPERS") else { return };
    let variable = |name: &str| (name == "REGISTRY_AUTH_FILE").then(|| file.clone().into());
    let sources = CredentialSources::from_variables(variable);
    let find = async |repository: &str| sources.find(&repository.parse().unwrap()).await;
    let found = find("ghcr.io/owner/x").await.unwrap().unwrap();
    assert_eq!(found.origin, "`docker-credential-good`");
    let Secret::Password { user, password } = found.secret else { panic!("no password") };
    assert_eq!((user.as_str(), password.expose_secret()), ("me", "for ghcr.io"));
    assert!(find("quay.io/x").await.unwrap().is_none(), "the store has none");
    let error = find("broken.example/x").await.unwrap_err().to_string();
    assert!(error.contains("`docker-credential-broken get` failed"), "{error}");
    assert!(error.contains("no keychain"), "{error}");
    let error = find("missing.example/x").await.unwrap_err().to_string();
    assert!(error.contains("`docker-credential-missing` was not found"), "{error}");
}

#[tokio::test]
async fn helpers() {
    let directory = tempfile::tempdir().unwrap();
    let program = |name: &str, text: &str| {
        let path = directory.path().join(format!("docker-credential-{name}"));
        write_program(&path, &format!("#!/bin/sh\n{text}\n"));
    };
    let found = r#"echo "{\"ServerURL\":\"$host\",\"Username\":\"me\",\"Secret\":\"for $host\"}""#;
    program("good", &format!("read -r host; {found}"));
    program("none", "echo credentials not found in native keychain; exit 1");
    program("broken", "echo no keychain >&2; exit 2");
    let file = directory.path().join("auth.json");
    let config = r#"{"credsStore":"none","credHelpers":{"ghcr.io":"good","broken.example":"broken","missing.example":"missing"}}"#;
    std::fs::write(&file, config).unwrap();
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "registry::helpers_child"]).env("ZFS_KMODS_TEST_HELPERS", &file);
    command.env("PATH", format!("{}:/usr/bin:/bin", directory.path().display()));
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
