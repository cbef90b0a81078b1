use std::time::Duration;

use kmod_query::{Endpoints, Http, HttpOptions};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Limits that let a test fail soon. Only tests of timeouts shorten those: a busy machine is slow as well.
pub(crate) fn options() -> HttpOptions {
    HttpOptions {
        first_delay: Duration::from_millis(1),
        longest_wait: Duration::from_secs(2),
        max_body: 64 * 1024,
        attempts: 3,
        ..HttpOptions::default()
    }
}

pub(crate) fn http() -> Http {
    Http::new(options()).unwrap()
}

/// Every address on the one server, each below a path of its own.
pub(crate) fn endpoints(server: &MockServer) -> Endpoints {
    let below = |path: &str| format!("{}/{path}", server.uri());
    Endpoints {
        coreos: below("coreos/"),
        github_api: below("github"),
        fedora: below("fedora"),
        updates_archive: below("archive"),
        coreos_pool: below("pool"),
        koji: below("koji"),
        coreos_image: format!("{}/fedora/fedora-coreos", server.address()),
        builder_image: format!("{}/fedora:{{fedora}}", server.address()),
    }
}

pub(crate) fn json(text: impl Into<String>) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(text.into(), "application/json")
}

pub(crate) async fn get(server: &MockServer, at: &str, response: ResponseTemplate) {
    Mock::given(method("GET")).and(path(at)).respond_with(response).mount(server).await;
}

/// How often an address was asked.
pub(crate) async fn asked(server: &MockServer, at: &str) -> usize {
    let requests = server.received_requests().await.unwrap();
    requests.iter().filter(|request| request.url.path() == at).count()
}
