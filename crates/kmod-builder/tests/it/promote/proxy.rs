use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use hyper::{Method, Request};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::docker::DockerRegistry;
use crate::http::{HttpResponse, forward, serve};

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
        let task = serve(listener, move |request| {
            let state = Arc::clone(&serving);
            async move { state.answer(request).await }
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
    async fn answer(&self, request: Request<Bytes>) -> HttpResponse {
        let is_put = request.method() == Method::PUT;
        let uri = request.uri().to_string();
        let hold = {
            let mut controls = self.controls.lock().unwrap();
            controls.log.push(format!("{} {uri}", request.method()));
            controls.hold.clone().filter(|(tag, _)| is_put && uri.ends_with(&format!("/manifests/{tag}")))
        };
        if let Some((_, HoldPoint::Before)) = hold {
            self.hold().await;
        }
        let response = forward(&self.client, &self.behind, request).await;
        if hold.is_some() {
            self.hold().await;
        }
        response
    }

    async fn hold(&self) {
        self.held.notify_one();
        std::future::pending::<()>().await;
    }
}
