use std::time::Duration;

use kmod_query::registry::NoCredentials;
use kmod_query::{Endpoints, Http, HttpOptions, Registries, RetryPolicy};
use tempfile::TempDir;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Short delays. Timeouts stay long: a busy machine is slow.
pub(crate) fn retry_policy() -> RetryPolicy {
    RetryPolicy {
        attempts: 3,
        first_delay: Duration::from_millis(1),
        longest_delay: Duration::from_secs(2),
        ..RetryPolicy::default()
    }
}

pub(crate) fn options() -> HttpOptions {
    HttpOptions { retry_policy: retry_policy(), max_body: 64 * 1024, ..HttpOptions::default() }
}

pub(crate) fn registries() -> Registries {
    Registries::new(NoCredentials, retry_policy())
}

pub(crate) fn http() -> Http {
    Http::new(options()).unwrap()
}

/// With a cache.
pub(crate) fn cached_http() -> (TempDir, Http) {
    let directory = tempfile::tempdir().unwrap();
    let http = Http::new(HttpOptions { cache: Some(directory.path().to_owned()), ..options() });
    (directory, http.unwrap())
}

pub(crate) fn endpoints(server: &MockServer) -> Endpoints {
    let below = |path: &str| format!("{}/{path}", server.uri());
    Endpoints {
        coreos: below("coreos/"),
        github_api: below("github"),
        openzfs_key: below("keys/{fingerprint}"),
        fedora: below("fedora"),
        updates_archive: below("archive"),
        coreos_pool: below("pool"),
        koji: below("koji"),
        coreos_image: format!("{}/fedora/fedora-coreos", server.address()),
        signing_key_ids: std::collections::BTreeMap::new(),
        builder_image: format!("{}/fedora:{{fedora}}", server.address()),
    }
}

pub(crate) fn json(text: impl Into<String>) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(text.into(), "application/json")
}

pub(crate) async fn get(server: &MockServer, at: &str, response: ResponseTemplate) {
    Mock::given(method("GET")).and(path(at)).respond_with(response).mount(server).await;
}

pub(crate) async fn asked(server: &MockServer, at: &str) -> usize {
    let requests = server.received_requests().await.unwrap();
    requests.iter().filter(|request| request.url.path() == at).count()
}
