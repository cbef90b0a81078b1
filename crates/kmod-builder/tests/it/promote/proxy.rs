use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::docker::DockerRegistry;

/// Logs every request to the registry, and can hold one forever.
pub(super) struct RegistryProxy {
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

struct State {
    port: u16,
    behind: String,
    client: reqwest::Client,
    controls: Mutex<ProxyControls>,
    held: Notify,
}

#[derive(Default)]
struct ProxyControls {
    log: Vec<String>,
    hold: Option<(String, HoldPoint)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HoldPoint {
    /// Before it is forwarded to the registry.
    Before,
    /// After the registry executed it, before the response is sent.
    After,
}

impl RegistryProxy {
    pub(super) async fn start(registry: &DockerRegistry) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = Arc::new(State {
            port: listener.local_addr().unwrap().port(),
            behind: registry.address(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            controls: Mutex::default(),
            held: Notify::new(),
        });
        let serving = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, Infallible>(state.answer(request).await) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    connection.await.ok();
                });
            }
        });
        Self { state, task }
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.state.port)
    }

    pub(super) fn hold(&self, tag: &str, hold_point: HoldPoint) {
        self.controls().hold = Some((tag.to_owned(), hold_point));
    }

    pub(super) fn release(&self) {
        self.controls().hold = None;
    }

    pub(super) async fn held(&self) {
        self.state.held.notified().await;
    }

    pub(super) fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.controls().log)
    }

    fn controls(&self) -> MutexGuard<'_, ProxyControls> {
        self.state.controls.lock().unwrap()
    }
}

impl Drop for RegistryProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let (is_put, is_head) = (parts.method == Method::PUT, parts.method == Method::HEAD);
        let uri = parts.uri.to_string();
        let hold = {
            let mut controls = self.controls.lock().unwrap();
            controls.log.push(format!("{} {uri}", parts.method));
            controls.hold.clone().filter(|(tag, _)| is_put && uri.ends_with(&format!("/manifests/{tag}")))
        };
        if let Some((_, HoldPoint::Before)) = hold {
            self.hold().await;
        }
        // With the host that the client named, so that addresses in answers lead back here.
        let mut headers = parts.headers;
        headers.remove("transfer-encoding");
        let url = format!("http://{}{uri}", self.behind);
        let answer = self.client.request(parts.method, url).headers(headers).body(body).send().await.unwrap();
        let mut passed = Response::builder().status(answer.status());
        *passed.headers_mut().unwrap() = answer.headers().clone();
        passed.headers_mut().unwrap().remove("transfer-encoding");
        let body = answer.bytes().await.unwrap();
        if !is_head {
            passed.headers_mut().unwrap().remove("content-length");
        }
        if hold.is_some() {
            self.hold().await;
        }
        passed.body(Full::new(body)).unwrap()
    }

    async fn hold(&self) {
        self.held.notify_one();
        std::future::pending::<()>().await;
    }
}
