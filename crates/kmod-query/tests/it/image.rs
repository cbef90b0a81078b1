use kmod_compat::Arch;
use kmod_query::{Credential, Credentials, KernelSource, QueryError, Registry};
use sha2::{Digest, Sha256};
use wiremock::matchers::{basic_auth, bearer_token, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{asked, get, http, json};

const CONFIG: &str = r#"{"architecture": "amd64", "created": "2026-03-01T12:00:00Z",
    "config": {"Labels": {"ostree.linux": "6.18.13-200.fc43.x86_64", "org.opencontainers.image.version": "43.1"}}}"#;

pub(crate) fn digest(content: &str) -> String {
    format!("sha256:{:x}", Sha256::digest(content))
}

/// Serves an image by its digest, and answers the manifest.
pub(crate) async fn serve_image(server: &MockServer, repository: &str, config: &str) -> String {
    get(server, "/v2/", ResponseTemplate::new(200)).await;
    let manifest = format!(
        r#"{{"schemaVersion": 2, "config": {{"digest": "{}", "size": {}}}, "layers": []}}"#,
        digest(config),
        config.len()
    );
    get(server, &format!("/v2/{repository}/blobs/{}", digest(config)), json(config)).await;
    get(server, &format!("/v2/{repository}/manifests/{}", digest(&manifest)), json(&manifest)).await;
    manifest
}

/// An image and an index with it for amd64, under the tag `43`; answers the digest of the image.
async fn serve_index(server: &MockServer) -> String {
    let image = digest(&serve_image(server, "x/kinoite", CONFIG).await);
    let index = format!(
        r#"{{"manifests": [{{"digest": "sha256:{}", "platform": {{"os": "linux", "architecture": "s390x"}}}},
            {{"digest": "{image}", "platform": {{"os": "linux", "architecture": "amd64"}}}}]}}"#,
        "9".repeat(64)
    );
    get(server, "/v2/x/kinoite/manifests/43", json(index)).await;
    image
}

fn registry() -> Registry {
    Registry::new(&http(), Credentials::default())
}

#[tokio::test]
async fn a_tag_of_an_index_becomes_the_image_for_the_architecture() {
    let server = MockServer::start().await;
    let image = serve_index(&server).await;
    let reference = format!("docker://{}/x/kinoite:43", server.address());
    let base = registry().resolve(&reference, Arch::X86_64).await.unwrap().into_base().unwrap();
    assert_eq!(base.image.to_string(), format!("{}/x/kinoite@{image}", server.address()));
    assert_eq!(
        (base.kernel.to_string().as_str(), base.kernel_source),
        ("6.18.13-200.fc43.x86_64", KernelSource::ImageLabel)
    );
    assert_eq!(
        (base.version.as_deref(), base.created.map(jiff::Timestamp::as_second)),
        (Some("43.1"), Some(1_772_366_400))
    );
    let missing = registry().resolve(&reference, Arch::Aarch64).await;
    assert!(matches!(missing, Err(QueryError::NoImage { arch: Arch::Aarch64, .. })));
    // A single image is for one architecture as well.
    let single = format!("{}/x/kinoite@{image}", server.address());
    assert!(matches!(registry().resolve(&single, Arch::Aarch64).await, Err(QueryError::NoImage { .. })));
}

#[tokio::test]
async fn what_does_not_fit_its_digest_is_refused() {
    let server = MockServer::start().await;
    let image = serve_index(&server).await;
    server.reset().await;
    get(&server, "/v2/", ResponseTemplate::new(200)).await;
    get(&server, &format!("/v2/x/kinoite/manifests/{image}"), json(r#"{"config": {"digest": "x"}}"#)).await;
    let reference = format!("{}/x/kinoite@{image}", server.address());
    let error = registry().resolve(&reference, Arch::X86_64).await.unwrap_err();
    assert!(matches!(error, QueryError::DigestMismatch { .. }), "{error}");

    let announced = json("{}").insert_header("Docker-Content-Digest", image.as_str());
    get(&server, "/v2/x/kinoite/manifests/43", announced).await;
    let reference = format!("{}/x/kinoite:43", server.address());
    let error = registry().resolve(&reference, Arch::X86_64).await.unwrap_err();
    assert!(matches!(error, QueryError::DigestMismatch { .. }), "{error}");
}

#[tokio::test]
async fn the_digest_of_a_tag_takes_one_head_request() {
    let server = MockServer::start().await;
    get(&server, "/v2/", ResponseTemplate::new(200)).await;
    let at = "/v2/fedora/manifests/43";
    let promised = format!("sha256:{}", "a".repeat(64));
    let response = ResponseTemplate::new(200).insert_header("Docker-Content-Digest", promised.as_str());
    Mock::given(method("HEAD")).and(path(at)).respond_with(response).expect(1).mount(&server).await;
    let image = registry().resolve_digest(&format!("{}/fedora:43", server.address())).await.unwrap();
    assert_eq!(image.digest(), promised);
}

#[tokio::test]
async fn a_registry_that_announces_no_digest_is_read() {
    let server = MockServer::start().await;
    get(&server, "/v2/", ResponseTemplate::new(200)).await;
    let at = "/v2/fedora/manifests/43";
    Mock::given(method("HEAD")).and(path(at)).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    get(&server, at, json("{}")).await;
    let image = registry().resolve_digest(&format!("{}/fedora:43", server.address())).await.unwrap();
    assert_eq!(image.digest(), digest("{}"));
}

#[tokio::test]
async fn the_credential_goes_to_its_registry_and_the_token_to_the_repository() {
    let server = MockServer::start().await;
    let challenge = format!("Bearer realm=\"{}/token\",service=\"s\"", server.uri());
    get(&server, "/v2/", ResponseTemplate::new(401).insert_header("WWW-Authenticate", challenge.as_str()))
        .await;
    Mock::given(path("/token"))
        .and(basic_auth("user", "secret"))
        .and(query_param("scope", "repository:x/private:pull"))
        .respond_with(json(r#"{"token": "opaque"}"#))
        .mount(&server)
        .await;
    let refused = ResponseTemplate::new(401).set_body_string(r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
    get(&server, "/token", refused).await;
    let promised = format!("sha256:{}", "a".repeat(64));
    Mock::given(method("HEAD"))
        .and(path("/v2/x/private/manifests/1"))
        .and(bearer_token("opaque"))
        .respond_with(ResponseTemplate::new(200).insert_header("Docker-Content-Digest", promised.as_str()))
        .mount(&server)
        .await;
    let reference = format!("{}/x/private:1", server.address());
    let credential = || Credential::Basic { username: "user".to_owned(), password: "secret".into() };
    let own = Credentials::default().with(&server.address().to_string(), credential());
    let http = http();
    Registry::new(&http, own).resolve_digest(&reference).await.unwrap();
    assert_eq!(http.usage().requests, 3);

    let others = Credentials::default().with("quay.io", credential());
    let error = Registry::new(&http, others).resolve_digest(&reference).await.unwrap_err();
    assert!(matches!(error, QueryError::Unauthorized { .. }), "{error}");
}

#[tokio::test]
async fn a_token_server_in_trouble_is_no_anonymous_login() {
    let server = MockServer::start().await;
    let challenge = format!("Bearer realm=\"{}/token\"", server.uri());
    get(&server, "/v2/", ResponseTemplate::new(401).insert_header("WWW-Authenticate", challenge.as_str()))
        .await;
    get(&server, "/token", ResponseTemplate::new(500)).await;
    let error = registry().resolve_digest(&format!("{}/x:1", server.address())).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert_eq!(asked(&server, "/token").await, 3);
    assert_eq!(asked(&server, "/v2/x/manifests/1").await, 0);
}

#[tokio::test]
async fn what_is_no_reference_is_refused() {
    for text in ["", "quay.io/X Y", &format!("quay.io/x@sha512:{}", "a".repeat(128))] {
        let error = registry().resolve_digest(text).await.unwrap_err();
        assert!(matches!(error, QueryError::InvalidReference { .. }), "{error}");
    }
}
