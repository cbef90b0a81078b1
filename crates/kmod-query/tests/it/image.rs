use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use kmod_compat::Arch;
use kmod_query::image::{resolve, resolve_digest};
use kmod_query::reference::Repository;
use kmod_query::registry::{
    Credential, CredentialLookupError, CredentialProvider, RegistryErrorKind, Secret,
};
use kmod_query::{KernelSource, PinnedImage, QueryError, Registries, ResolvedImage};
use sha2::{Digest, Sha256};
use wiremock::matchers::{basic_auth, bearer_token, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{asked, endpoints, get, http, json, registries, retry_policy};

const CONFIG: &str = r#"{"architecture": "amd64", "os": "linux", "created": "2026-03-01T12:00:00Z",
    "rootfs": {"type": "layers", "diff_ids": []},
    "config": {"Labels": {"ostree.linux": "6.18.13-200.fc43.x86_64", "org.opencontainers.image.version": "43.1"}}}"#;

pub(crate) fn digest(content: &str) -> String {
    format!("sha256:{:x}", Sha256::digest(content))
}

/// The credential of one registry host.
#[derive(Debug)]
struct Account(String);

impl CredentialProvider for Account {
    fn lookup<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> BoxFuture<'a, Result<Option<Credential>, CredentialLookupError>> {
        let secret = Secret::Password { user: "user".to_owned(), password: "secret".into() };
        let credential = Credential { secret, origin: "the test".to_owned() };
        ready(Ok(Some(credential).filter(|_| repository.host() == self.0))).boxed()
    }
}

async fn image_of(reference: &str, arch: Arch) -> Result<ResolvedImage, QueryError> {
    resolve(&registries(), &reference.parse()?, arch).await
}

async fn digest_of(reference: &str) -> Result<PinnedImage, QueryError> {
    resolve_digest(&registries(), &reference.parse()?).await
}

fn is_wrong_content(error: &QueryError) -> bool {
    let QueryError::Registry(error) = error else { return false };
    matches!(error.kind(), RegistryErrorKind::WrongContent { .. })
}

fn manifest(config: &str) -> String {
    format!(
        r#"{{"schemaVersion": 2, "config": {{"digest": "{}", "size": {}}}, "layers": []}}"#,
        digest(config),
        config.len()
    )
}

async fn challenge(server: &MockServer) {
    let challenge = format!("Bearer realm=\"{}/token\",service=\"s\"", server.uri());
    let response = ResponseTemplate::new(401).insert_header("WWW-Authenticate", challenge.as_str());
    get(server, "/v2/", response).await;
}

/// Issues the token `opaque` to `user` for the repository `x/private`.
async fn serve_token(server: &MockServer) {
    challenge(server).await;
    Mock::given(path("/token"))
        .and(basic_auth("user", "secret"))
        .and(query_param("scope", "repository:x/private:pull"))
        .respond_with(json(r#"{"token": "opaque"}"#))
        .mount(server)
        .await;
    let rejected = ResponseTemplate::new(401).set_body_string(r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
    get(server, "/token", rejected).await;
}

/// Serves an image by its digest, and returns the manifest.
pub(crate) async fn serve_image(server: &MockServer, repository: &str, config: &str) -> String {
    get(server, "/v2/", ResponseTemplate::new(200)).await;
    let manifest = manifest(config);
    get(server, &format!("/v2/{repository}/blobs/{}", digest(config)), json(config)).await;
    get(server, &format!("/v2/{repository}/manifests/{}", digest(&manifest)), json(&manifest)).await;
    manifest
}

/// Serves an index tagged `43` with an image for amd64; returns the digest of the image.
async fn serve_index(server: &MockServer) -> String {
    let image = digest(&serve_image(server, "x/kinoite", CONFIG).await);
    let index = format!(
        r#"{{"manifests": [{{"digest": "sha256:{}", "size": 1, "platform": {{"os": "linux", "architecture": "s390x"}}}},
            {{"digest": "{image}", "size": 1, "platform": {{"os": "linux", "architecture": "amd64"}}}}]}}"#,
        "9".repeat(64)
    );
    get(server, "/v2/x/kinoite/manifests/43", json(index)).await;
    image
}

#[tokio::test]
async fn a_tag_of_an_index_becomes_the_image_for_the_architecture() {
    let server = MockServer::start().await;
    let image = serve_index(&server).await;
    let reference = format!("docker://{}/x/kinoite:43", server.address());
    let source = image_of(&reference, Arch::X86_64).await.unwrap().into_source().unwrap();
    assert_eq!(source.image.to_string(), format!("{}/x/kinoite@{image}", server.address()));
    assert_eq!(
        (source.kernel.to_string().as_str(), source.kernel_source),
        ("6.18.13-200.fc43.x86_64", KernelSource::ImageLabel)
    );
    assert_eq!(
        (source.version.as_deref(), source.created.map(jiff::Timestamp::as_second)),
        (Some("43.1"), Some(1_772_366_400))
    );
    let missing = image_of(&reference, Arch::Aarch64).await;
    assert!(matches!(missing, Err(QueryError::NoImage { arch: Arch::Aarch64, .. })));
    // A single image is for one architecture as well.
    let single = format!("{}/x/kinoite@{image}", server.address());
    assert!(matches!(image_of(&single, Arch::Aarch64).await, Err(QueryError::NoImage { .. })));
}

#[tokio::test]
async fn content_with_another_digest_is_rejected() {
    let server = MockServer::start().await;
    let image = serve_index(&server).await;
    server.reset().await;
    get(&server, "/v2/", ResponseTemplate::new(200)).await;
    get(&server, &format!("/v2/x/kinoite/manifests/{image}"), json(r#"{"config": {"digest": "x"}}"#)).await;
    let reference = format!("{}/x/kinoite@{image}", server.address());
    let error = image_of(&reference, Arch::X86_64).await.unwrap_err();
    assert!(is_wrong_content(&error), "{error}");

    let announced = json("{}").insert_header("Docker-Content-Digest", image.as_str());
    get(&server, "/v2/x/kinoite/manifests/43", announced).await;
    let reference = format!("{}/x/kinoite:43", server.address());
    let error = image_of(&reference, Arch::X86_64).await.unwrap_err();
    assert!(is_wrong_content(&error), "{error}");
}

#[tokio::test]
async fn resolving_a_tag_takes_one_head_request() {
    let server = MockServer::start().await;
    get(&server, "/v2/", ResponseTemplate::new(200)).await;
    let at = "/v2/fedora/manifests/43";
    let promised = format!("sha256:{}", "a".repeat(64));
    let response = ResponseTemplate::new(200).insert_header("Docker-Content-Digest", promised.as_str());
    Mock::given(method("HEAD")).and(path(at)).respond_with(response).expect(1).mount(&server).await;
    let image = digest_of(&format!("{}/fedora:43", server.address())).await.unwrap();
    assert_eq!(image.digest.as_str(), promised);
}

#[tokio::test]
async fn the_manifest_is_read_if_the_registry_names_no_digest() {
    let server = MockServer::start().await;
    get(&server, "/v2/", ResponseTemplate::new(200)).await;
    let at = "/v2/fedora/manifests/43";
    Mock::given(method("HEAD")).and(path(at)).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    get(&server, at, json("{}")).await;
    let image = digest_of(&format!("{}/fedora:43", server.address())).await.unwrap();
    assert_eq!(image.digest.as_str(), digest("{}"));
}

#[tokio::test]
async fn the_credential_goes_to_its_registry_and_the_token_to_the_repository() {
    let server = MockServer::start().await;
    serve_token(&server).await;
    let promised = format!("sha256:{}", "a".repeat(64));
    Mock::given(method("HEAD"))
        .and(path("/v2/x/private/manifests/1"))
        .and(bearer_token("opaque"))
        .respond_with(ResponseTemplate::new(200).insert_header("Docker-Content-Digest", promised.as_str()))
        .mount(&server)
        .await;
    let image = format!("{}/x/private:1", server.address()).parse().unwrap();
    let own = Registries::new(Account(server.address().to_string()), retry_policy());
    resolve_digest(&own, &image).await.unwrap();
    assert_eq!(own.stats().requests, 3);

    let other = Registries::new(Account("quay.io".to_owned()), retry_policy());
    let QueryError::Registry(error) = resolve_digest(&other, &image).await.unwrap_err() else {
        panic!("not an error of the registry")
    };
    assert!(matches!(error.kind(), RegistryErrorKind::Token { .. }) && !error.is_temporary(), "{error}");
    let help = miette::Diagnostic::help(&*error).unwrap().to_string();
    assert!(help.contains("podman login"), "{help}");
}

#[tokio::test]
async fn a_private_source_image_is_read_with_its_credential_only() {
    let server = MockServer::start().await;
    serve_token(&server).await;
    let manifest = manifest(CONFIG);
    let blob = format!("/v2/x/private/blobs/{}", digest(CONFIG));
    for (at, body) in [("/v2/x/private/manifests/43", manifest.as_str()), (&blob, CONFIG)] {
        let with_token = Mock::given(method("GET")).and(path(at)).and(bearer_token("opaque"));
        with_token.respond_with(json(body)).mount(&server).await;
        get(&server, at, ResponseTemplate::new(401)).await;
    }
    let reference = format!("{}/x/private:43", server.address());
    let upstream = |account: &str| {
        let account = Account(account.to_owned());
        kmod_query::Upstream::new(http(), endpoints(&server), None, account, retry_policy()).unwrap()
    };
    let own = upstream(&server.address().to_string());
    let image = own.image(&reference, Arch::X86_64).await.unwrap();
    assert_eq!(image.image.digest.as_str(), digest(&manifest));
    assert_eq!(own.http.stats().requests, 4, "challenge, token, manifest, configuration");
    let error = upstream("quay.io").image(&reference, Arch::X86_64).await.unwrap_err();
    assert!(matches!(&error, QueryError::Registry(error) if !error.is_temporary()), "{error}");
}

#[tokio::test]
async fn a_failing_token_server_is_no_anonymous_login() {
    let server = MockServer::start().await;
    challenge(&server).await;
    get(&server, "/token", ResponseTemplate::new(500)).await;
    let error = digest_of(&format!("{}/x:1", server.address())).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert_eq!(asked(&server, "/token").await, 3);
    assert_eq!(asked(&server, "/v2/x/manifests/1").await, 0);
}

#[tokio::test]
async fn invalid_references_are_rejected() {
    let sha512 = format!("quay.io/x@sha512:{}", "a".repeat(128));
    for text in ["", "quay.io/X Y", "fedora:43", "quay.io/x", "oci:dir:tag", &sha512] {
        let error = digest_of(text).await.unwrap_err();
        assert!(matches!(error, QueryError::InvalidReference { .. }), "{error}");
    }
}
