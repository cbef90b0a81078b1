//! GitHub's packages API and registry. Behind it is a real docker-registry, from which deleted manifests cannot be
//! pulled; without one, manifests are in memory.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::package::{Owner, Package, Verdict, Version};
use crate::docker::DockerRegistry;
use crate::http::{HttpResponse, forward, serve};

/// Serves the package `owner/zfs-kmods`.
#[derive(Clone)]
pub(super) struct Github {
    state: Arc<State>,
}

struct State {
    package: Mutex<Package>,
    registry: Option<DockerRegistry>,
    port: u16,
    client: reqwest::Client,
}

impl Github {
    pub(super) async fn start(registry: Option<DockerRegistry>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let state = Arc::new(State { package: Mutex::default(), registry, port, client });
        let github = Self { state };
        let serving = github.clone();
        serve(listener, move |request| {
            let github = serving.clone();
            async move { github.answer(request).await }
        });
        github
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.state.port)
    }

    pub(super) fn package(&self) -> MutexGuard<'_, Package> {
        self.state.package.lock().unwrap()
    }

    async fn answer(&self, request: Request<Bytes>) -> HttpResponse {
        self.package().log.push(format!("{} {}", request.method(), request.uri()));
        let mut answer = if request.uri().path().starts_with("/v2/") {
            self.registry(request).await
        } else {
            let query = request.uri().query().unwrap_or_default();
            self.api(request.method(), request.uri().path(), query).await
        };
        let date = Timestamp::now() + SignedDuration::from_hours(self.package().faults.clock);
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        answer.headers_mut().insert("date", date.parse().unwrap());
        answer
    }

    async fn api(&self, method: &Method, path: &str, query: &str) -> HttpResponse {
        let owner = self.package().owner;
        let (kind, folder) = match owner {
            Owner::User => ("User", "users"),
            Owner::Organization => ("Organization", "orgs"),
        };
        if path == "/users/owner" {
            return json_answer(200, &json!({ "login": "owner", "type": kind }));
        }
        let Some(rest) = path.strip_prefix(&format!("/{folder}/owner/packages/container/zfs-kmods/versions"))
        else {
            return message(404, "Not Found");
        };
        let rest = rest.trim_start_matches('/');
        if rest.is_empty() {
            return self.list(path, query);
        }
        let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
        let Ok(id) = id.parse::<u64>() else { return message(404, "Not Found") };
        match (method, action) {
            (&Method::GET, "") => {
                let package = self.package();
                match package.versions.get(&id).filter(|version| !version.deleted) {
                    Some(version) => json_answer(200, &package.wire(id, version)),
                    None => message(404, "Package not found."),
                }
            }
            (&Method::DELETE, "") => self.delete(id).await,
            (&Method::POST, "restore") => self.restore(id).await,
            _ => message(404, "Not Found"),
        }
    }

    fn list(&self, path: &str, query: &str) -> HttpResponse {
        let parameter = |name: &str| {
            query
                .split('&')
                .find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse::<usize>().ok())
        };
        let (number, per_page) =
            (parameter("page").unwrap_or(1), parameter("per_page").unwrap_or(30).min(100));
        let mut package = self.package();
        if package.faults.broken_page.is_some_and(|broken| broken as usize == number) {
            return message(500, "Server Error");
        }
        let (page, pages) = package.page(number, per_page);
        package.shift(number);
        let mut answer = json_answer(200, &page);
        if number < pages {
            let url = format!("http://{}{path}?per_page={per_page}", self.address());
            let link = |page: usize, relation: &str| format!("<{url}&page={page}>; rel=\"{relation}\"");
            let links = format!("{}, {}", link(number + 1, "next"), link(pages, "last"));
            answer.headers_mut().insert("link", links.parse().unwrap());
        }
        answer
    }

    async fn delete(&self, id: u64) -> HttpResponse {
        let slow = self.package().faults.slow_deletions;
        tokio::time::sleep(slow).await;
        if let Some(answer) = self.limit() {
            return answer;
        }
        let (verdict, version) = {
            let mut package = self.package();
            if package.faults.forbidden_after.is_some_and(|after| package.changes > after) {
                return message(403, "Resource not accessible by integration");
            }
            let verdict = package.may_delete(id);
            // At once, because the request of a killed program may overlap that of the next run.
            let version = package.versions.get_mut(&id).filter(|_| verdict == Verdict::Delete);
            (
                verdict,
                version.map(|version| {
                    version.deleted = true;
                    version.clone()
                }),
            )
        };
        if let Some(version) = version {
            self.change(Method::DELETE, &version, version.digest.as_str()).await;
        }
        match verdict {
            Verdict::Missing => message(404, "Package not found."),
            Verdict::Refuse(why) => message(400, why),
            Verdict::Delete => empty(204),
        }
    }

    async fn restore(&self, id: u64) -> HttpResponse {
        if let Some(answer) = self.limit() {
            return answer;
        }
        let version = self.package().versions.get(&id).filter(|version| version.deleted).cloned();
        let Some(version) = version else { return message(404, "Package not found.") };
        for reference in version.tags.iter().map(String::as_str).chain([version.digest.as_str()]) {
            self.change(Method::PUT, &version, reference).await;
        }
        self.package().versions.get_mut(&id).unwrap().deleted = false;
        empty(204)
    }

    /// The same change of the real registry.
    async fn change(&self, method: Method, version: &Version, reference: &str) {
        let Some(registry) = &self.state.registry else { return };
        let url = format!("http://{}/v2/owner/zfs-kmods/manifests/{reference}", registry.address());
        let request = self.state.client.request(method, url).header("content-type", &version.media_type);
        let status = request.body(version.bytes.clone()).send().await.unwrap().status();
        assert!(status.is_success(), "{reference}: {status}");
    }

    fn limit(&self) -> Option<HttpResponse> {
        let seconds = self.package().limited()?;
        let mut answer = message(403, "You have exceeded a secondary rate limit. Please wait a few minutes.");
        answer.headers_mut().insert("retry-after", seconds.into());
        answer.headers_mut().insert("x-ratelimit-remaining", "4321".parse().unwrap());
        Some(answer)
    }

    /// GHCR has no referrers API and deletes nothing over the registry protocol.
    async fn registry(&self, request: Request<Bytes>) -> HttpResponse {
        let (method, uri) = (request.method().clone(), request.uri().to_string());
        if uri.contains("/referrers/") {
            return oci_error(404, "MANIFEST_UNKNOWN");
        }
        if method == Method::DELETE {
            return oci_error(405, "UNSUPPORTED");
        }
        let reference = uri.rsplit_once("/manifests/").map(|(_, reference)| reference);
        if let Some(status) = self.package().manifest_fault(reference) {
            return oci_error(status, "DENIED");
        }
        let lost = self.package().faults.lost_blob.clone();
        if lost.is_some_and(|lost| method != Method::PUT && uri.ends_with(&format!("/blobs/{lost}"))) {
            return oci_error(404, "BLOB_UNKNOWN");
        }
        if let (Some(reference), &Method::GET) = (reference, &method)
            && let Some(version) = self.package().find(reference)
        {
            version.downloads += 1;
        }
        let media_type = request.headers().get("content-type").and_then(|value| value.to_str().ok());
        let (media_type, body) = (media_type.unwrap_or_default().to_owned(), request.body().clone());
        let answer = match &self.state.registry {
            Some(registry) => forward(&self.state.client, &registry.address(), request).await,
            None if method == Method::PUT => empty(201),
            None => self.in_memory(&method, reference),
        };
        if let (Some(reference), &Method::PUT, StatusCode::CREATED) = (reference, &method, answer.status()) {
            self.package().pushed(reference, &media_type, &body);
        }
        answer
    }

    /// Every blob exists.
    fn in_memory(&self, method: &Method, reference: Option<&str>) -> HttpResponse {
        let Some(reference) = reference else { return empty(200) };
        let mut package = self.package();
        let Some(version) = package.find(reference) else { return oci_error(404, "MANIFEST_UNKNOWN") };
        Response::builder()
            .header("content-type", &version.media_type)
            .header("docker-content-digest", version.digest.as_str())
            .body(Full::new(if method == Method::HEAD { Bytes::new() } else { version.bytes.clone() }))
            .unwrap()
    }
}

fn json_answer(status: u16, value: &Value) -> HttpResponse {
    let body = Full::new(Bytes::from(value.to_string()));
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

fn message(status: u16, text: &str) -> HttpResponse {
    json_answer(status, &json!({ "message": text, "documentation_url": "https://docs.github.com/rest" }))
}

fn oci_error(status: u16, code: &str) -> HttpResponse {
    json_answer(status, &json!({ "errors": [{ "code": code, "message": "no" }] }))
}

fn empty(status: u16) -> HttpResponse {
    Response::builder().status(status).body(Full::new(Bytes::new())).unwrap()
}
