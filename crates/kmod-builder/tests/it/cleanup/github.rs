//! GitHub's packages API and registry in this process. The registry's side is a real docker-registry behind it, so that
//! what is deleted here cannot be pulled any more; without one, manifests come from memory.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::docker::DockerRegistry;

use super::package::{Owner, Package, Verdict};

/// The running stand-in, for `owner/zfs-kmods`.
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

type Answer = Response<Full<Bytes>>;

impl Github {
    pub(super) async fn start(registry: Option<DockerRegistry>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let state = Arc::new(State { package: Mutex::default(), registry, port, client });
        let github = Self { state };
        let serving = github.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let github = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let github = github.clone();
                        async move { Ok::<_, Infallible>(github.answer(request).await) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    connection.await.ok();
                });
            }
        });
        github
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.state.port)
    }

    pub(super) fn package(&self) -> MutexGuard<'_, Package> {
        self.state.package.lock().unwrap()
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let path = parts.uri.path().to_owned();
        self.package().log.push(format!("{} {}", parts.method, parts.uri));
        let mut answer = if path.starts_with("/v2/") {
            self.registry(&parts.method, &parts.uri.to_string(), &parts.headers, body).await
        } else {
            let query = parts.uri.query().unwrap_or_default();
            self.api(&parts.method, &path, query).await
        };
        let date = Timestamp::now() + SignedDuration::from_hours(self.package().faults.clock);
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        answer.headers_mut().insert("date", date.parse().unwrap());
        answer
    }

    async fn api(&self, method: &Method, path: &str, query: &str) -> Answer {
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
            return json_answer(404, &json!({ "message": "Not Found" }));
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

    fn list(&self, path: &str, query: &str) -> Answer {
        let parameter = |name: &str| {
            query
                .split('&')
                .find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse::<usize>().ok())
        };
        let (number, per_page) =
            (parameter("page").unwrap_or(1), parameter("per_page").unwrap_or(30).min(100));
        let package = self.package();
        if package.faults.broken_page.is_some_and(|broken| broken as usize == number) {
            return message(500, "Server Error");
        }
        let (page, pages) = package.page(number, per_page);
        let mut answer = json_answer(200, &page);
        if number < pages {
            let link = |page: usize, relation: &str| {
                format!(
                    "<http://{}{path}?per_page={per_page}&page={page}>; rel=\"{relation}\"",
                    self.address()
                )
            };
            let links = format!("{}, {}", link(number + 1, "next"), link(pages, "last"));
            answer.headers_mut().insert("link", links.parse().unwrap());
        }
        answer
    }

    async fn delete(&self, id: u64) -> Answer {
        let slow = self.package().faults.slow_deletions;
        tokio::time::sleep(slow).await;
        if let Some(answer) = self.limit() {
            return answer;
        }
        let (verdict, digest) = {
            let package = self.package();
            (package.may_delete(id), package.versions.get(&id).map(|version| version.digest.clone()))
        };
        match verdict {
            Verdict::Missing => message(404, "Package not found."),
            Verdict::Refuse(why) => message(400, why),
            Verdict::Delete => {
                if let (Some(registry), Some(digest)) = (&self.state.registry, digest) {
                    let url = format!("http://{}/v2/owner/zfs-kmods/manifests/{digest}", registry.address());
                    let deleted = self.state.client.delete(url).send().await.unwrap();
                    assert_eq!(deleted.status(), 202, "the registry does not delete {digest}");
                }
                if let Some(version) = self.package().versions.get_mut(&id) {
                    version.deleted = true;
                }
                empty(204)
            }
        }
    }

    async fn restore(&self, id: u64) -> Answer {
        if let Some(answer) = self.limit() {
            return answer;
        }
        let version = {
            let package = self.package();
            package.versions.get(&id).filter(|version| version.deleted).cloned()
        };
        let Some(version) = version else { return message(404, "Package not found.") };
        if let Some(registry) = &self.state.registry {
            for reference in version.tags.iter().cloned().chain([version.digest.to_string()]) {
                let url = format!("http://{}/v2/owner/zfs-kmods/manifests/{reference}", registry.address());
                let put = self.state.client.put(url).header("content-type", &version.media_type);
                assert!(put.body(version.bytes.clone()).send().await.unwrap().status().is_success());
            }
        }
        if let Some(version) = self.package().versions.get_mut(&id) {
            version.deleted = false;
        }
        empty(204)
    }

    fn limit(&self) -> Option<Answer> {
        let seconds = self.package().limited()?;
        let mut answer = message(403, "You have exceeded a secondary rate limit. Please wait a few minutes.");
        answer.headers_mut().insert("retry-after", seconds.into());
        answer.headers_mut().insert("x-ratelimit-remaining", "4321".parse().unwrap());
        Some(answer)
    }

    /// GHCR has no referrers API and deletes nothing over the registry protocol.
    async fn registry(&self, method: &Method, uri: &str, headers: &HeaderMap, body: Bytes) -> Answer {
        if uri.contains("/referrers/") {
            return json_answer(
                404,
                &json!({ "errors": [{ "code": "MANIFEST_UNKNOWN", "message": "manifest unknown" }] }),
            );
        }
        if method == Method::DELETE {
            return json_answer(
                405,
                &json!({ "errors": [{ "code": "UNSUPPORTED", "message": "The operation is unsupported." }] }),
            );
        }
        let reference = uri.rsplit_once("/manifests/").map(|(_, reference)| reference.to_owned());
        if let Some(status) = reference.as_ref().and_then(|reference| self.broken(reference)) {
            return json_answer(status, &json!({ "errors": [{ "code": "DENIED", "message": "no" }] }));
        }
        if let (Some(reference), true) = (&reference, method == Method::GET) {
            self.count_download(reference);
        }
        let answer = match &self.state.registry {
            Some(registry) => self.pass_on(registry, method, uri, headers, body.clone()).await,
            None => self.remembered(method, reference.as_deref(), headers, &body),
        };
        if let (Some(reference), &Method::PUT, StatusCode::CREATED) = (reference, method, answer.status()) {
            let media_type =
                headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
            self.package().pushed(&reference, media_type, &body);
        }
        answer
    }

    fn broken(&self, reference: &str) -> Option<u16> {
        let package = self.package();
        package
            .faults
            .manifest
            .as_ref()
            .filter(|(digest, _)| digest.as_str() == reference)
            .map(|(_, status)| *status)
    }

    fn count_download(&self, reference: &str) {
        if let Some(version) = self.package().find(reference) {
            version.downloads += 1;
        }
    }

    async fn pass_on(
        &self,
        registry: &DockerRegistry,
        method: &Method,
        uri: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Answer {
        let url = format!("http://{}{uri}", registry.address());
        // With the host that the client named, so that addresses in answers lead back here.
        let mut headers = headers.clone();
        headers.remove("transfer-encoding");
        let answer = self.state.client.request(method.clone(), url).headers(headers).body(body).send().await;
        let answer = answer.unwrap();
        let mut passed = Response::builder().status(answer.status());
        *passed.headers_mut().unwrap() = answer.headers().clone();
        let is_head = method == Method::HEAD;
        let body = answer.bytes().await.unwrap();
        if !is_head {
            passed.headers_mut().unwrap().remove("content-length");
        }
        passed.headers_mut().unwrap().remove("transfer-encoding");
        passed.body(Full::new(body)).unwrap()
    }

    fn remembered(
        &self,
        method: &Method,
        reference: Option<&str>,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Answer {
        let Some(reference) = reference else { return empty(200) };
        if method == Method::PUT {
            let media_type =
                headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let digest = self.package().pushed(reference, media_type, body);
            let mut answer = empty(201);
            answer.headers_mut().insert("docker-content-digest", digest.as_str().parse().unwrap());
            return answer;
        }
        let mut package = self.package();
        let Some(version) = package.find(reference) else {
            return json_answer(404, &json!({ "errors": [{ "code": "MANIFEST_UNKNOWN" }] }));
        };
        Response::builder()
            .header("content-type", &version.media_type)
            .header("docker-content-digest", version.digest.as_str())
            .body(Full::new(if method == Method::HEAD { Bytes::new() } else { version.bytes.clone() }))
            .unwrap()
    }
}

fn json_answer(status: u16, value: &Value) -> Answer {
    let body = Full::new(Bytes::from(value.to_string()));
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

fn message(status: u16, text: &str) -> Answer {
    json_answer(status, &json!({ "message": text, "documentation_url": "https://docs.github.com/rest" }))
}

fn empty(status: u16) -> Answer {
    Response::builder().status(status).body(Full::new(Bytes::new())).unwrap()
}
