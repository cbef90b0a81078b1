//! An in-process registry with injected faults: OCI distribution 1.1, optional referrers API, token authentication, one
//! repository.

mod fault;
mod store;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RANGE};
use hyper::http::response;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kmod_builder::model::Digest;
use kmod_builder::model::image::Repository;
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};

pub(crate) use fault::Fault;
pub(crate) use store::Store;

/// The account of the token endpoint.
pub(crate) const USER: &str = "publisher";
pub(crate) const PASSWORD: &str = "open sesame";

/// Bytes. Longer bodies are hashed but not stored.
const LARGE: usize = 16 << 20;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Also sends `OCI-Subject`.
    pub(crate) referrers_api: bool,
    /// The number of requests for which a token is valid; `None` without authentication.
    pub(crate) token: Option<usize>,
    /// Entries per page.
    pub(crate) page: usize,
    pub(crate) slow: Duration,
    pub(crate) stale: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            referrers_api: false,
            token: None,
            page: 2,
            slow: Duration::from_millis(250),
            stale: Duration::from_millis(50),
        }
    }
}

/// Dropping it stops the registry.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    address: SocketAddr,
    options: Options,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    store: Store,
    faults: BTreeMap<usize, Fault>,
    /// Each for so many requests that begin with a text.
    lasting: Vec<(String, Fault, usize)>,
    log: Vec<String>,
    token: u64,
    token_uses: usize,
}

impl Server {
    pub(crate) async fn start(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { address, options, state: Mutex::default() });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    pub(crate) fn repository(&self) -> Repository {
        format!("{}/owner/zfs-kmods", self.address).parse().unwrap()
    }

    pub(crate) fn location(&self) -> String {
        format!("docker://{}", self.repository())
    }

    /// Schedules a fault at a request, counted from 0 and from the last [`Server::forget_log`].
    pub(crate) fn fault_at(&self, request: usize, fault: Fault) {
        self.state().faults.insert(request, fault);
    }

    /// Has a fault at every request whose line in the log begins with this.
    pub(crate) fn fault_when(&self, request: &str, fault: Fault) {
        self.state().lasting.push((request.to_owned(), fault, usize::MAX));
    }

    /// Like [`Self::fault_when`], at the first such request only.
    pub(crate) fn fault_once_when(&self, request: &str, fault: Fault) {
        self.state().lasting.push((request.to_owned(), fault, 1));
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Method and path of each request, with shortened digests.
    pub(crate) fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    /// Restarts the count of requests, without faults.
    pub(crate) fn forget_log(&self) {
        let mut state = self.state();
        state.log.clear();
        state.faults.clear();
    }

    pub(crate) fn stored(&self) -> Store {
        self.state().store.clone()
    }

    pub(crate) fn forget_blob(&self, digest: &Digest) {
        self.state().store.blobs.remove(digest);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Body = BoxBody<Bytes, io::Error>;

struct Reply {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Reply {
    fn new(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    fn text(status: StatusCode, text: &'static str) -> Self {
        Self::new(status).body(text)
    }

    fn error(status: StatusCode, code: &str) -> Self {
        let message = if code == "UNKNOWN" { "unknown blob" } else { "made up" };
        let errors = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
        Self::new(status).body(errors.to_string())
    }

    fn builder(&self) -> response::Builder {
        let builder = Response::builder().status(self.status);
        self.headers.iter().fold(builder, |builder, (name, value)| builder.header(name, value))
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let shared = Arc::clone(&shared);
        tokio::spawn(serve(stream, shared));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).ok();
    let service = service_fn(|request| answer(&shared, request));
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
    let (head, mut incoming) = request.into_parts();
    let fault = {
        let mut state = shared.state.lock().unwrap();
        let number = state.log.len();
        let line = format!("{} {}", head.method, shortened(head.uri.path()));
        let mut lasting = state.lasting.iter_mut();
        let lasting = lasting.find(|(request, _, times)| *times > 0 && line.starts_with(&**request));
        let lasting = lasting.map(|(_, fault, times)| {
            *times -= 1;
            *fault
        });
        let fault = lasting.or_else(|| state.faults.get(&number).copied());
        state.log.push(line);
        fault
    };
    let (mut hash, mut body, mut length) = (Sha256::new(), Vec::new(), 0);
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        hash.update(&data);
        length += data.len();
        if length <= LARGE {
            body.extend_from_slice(&data);
        }
    }
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let asked = store::Asked {
        method: &head.method,
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        content_type: text(CONTENT_TYPE),
        range_from: text(RANGE)
            .strip_prefix("bytes=")
            .and_then(|range| range.trim_end_matches('-').parse().ok()),
        digest: Digest::finish(hash),
        body: (length <= LARGE).then(|| body.into()),
    };
    let cut = || Err(io::Error::other("the connection ends here"));
    match fault {
        None => {}
        Some(Fault::Stall) => std::future::pending().await,
        Some(Fault::Reset) => return cut(),
        Some(fault) => {
            if let Some(reply) = instead(shared, fault, &asked) {
                return Ok(send(&head.method, reply));
            }
        }
    }
    let before = shared.state.lock().unwrap().store.tags.clone();
    let mut reply = carry_out(shared, &asked, text(AUTHORIZATION));
    match fault {
        Some(Fault::LostResponse) => return cut(),
        Some(Fault::ResetMidBody) => return half(&reply),
        Some(Fault::Truncated) => reply.body.truncate(reply.body.len() / 2),
        Some(Fault::WrongDigest) => {
            let mut bytes = reply.body.to_vec();
            if let Some(byte) = bytes.get_mut(length_of_half(&reply)) {
                *byte ^= 1;
            }
            let tells = reply.headers.iter().any(|(name, _)| name == "docker-content-digest");
            reply = reply.without("docker-content-digest").body(bytes);
            if tells {
                reply = reply.header("docker-content-digest", Digest::of(b"wrong").as_str());
            }
        }
        Some(Fault::Overwritten) => shared.state.lock().unwrap().store.tags = before,
        Some(Fault::Slow) => tokio::time::sleep(shared.options.slow).await,
        Some(Fault::NoLocation) => reply = reply.without("location"),
        Some(Fault::NoSubject) => reply = reply.without("oci-subject"),
        _ => {}
    }
    Ok(send(&head.method, reply))
}

fn length_of_half(reply: &Reply) -> usize {
    reply.body.len() / 2
}

/// The response of a fault that replaces the request.
fn instead(shared: &Shared, fault: Fault, asked: &store::Asked<'_>) -> Option<Reply> {
    let too_many = || Reply::error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS");
    let is_commit = *asked.method == Method::PUT && asked.path.contains("/blobs/uploads/");
    let is_manifest = *asked.method == Method::PUT && asked.path.contains("/manifests/");
    match fault {
        Fault::Forbidden => Some(Reply::error(StatusCode::FORBIDDEN, "DENIED")),
        Fault::TooMany => Some(too_many()),
        Fault::TooManyRetryAfter => Some(too_many().header("retry-after", "1")),
        Fault::NotFound => Some(Reply::error(StatusCode::NOT_FOUND, "UNKNOWN")),
        Fault::Internal => Some(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, "<html>oops</html>")),
        Fault::StaleTags => {
            let mut state = shared.state.lock().unwrap();
            let tags = state.store.tags.clone();
            state.store.stale = Some((Instant::now() + shared.options.stale, tags));
            None
        }
        Fault::CommitLost if is_commit => {
            carry_out(shared, asked, "");
            Some(Reply::error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"))
        }
        Fault::UploadLost if is_commit => Some(Reply::error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN")),
        Fault::BlobGone if is_manifest => {
            let document: serde_json::Value = serde_json::from_slice(asked.body.as_ref()?).ok()?;
            let config = document["config"]["digest"].as_str()?.parse().ok()?;
            shared.state.lock().unwrap().store.blobs.remove::<Digest>(&config);
            Some(Reply::error(StatusCode::NOT_FOUND, "UNKNOWN"))
        }
        _ => None,
    }
}

fn carry_out(shared: &Shared, asked: &store::Asked<'_>, authorization: &str) -> Reply {
    let mut state = shared.state.lock().unwrap();
    if let Some(uses) = shared.options.token {
        if asked.path == "/token" {
            // base64 of `publisher:open sesame`.
            if authorization != "Basic cHVibGlzaGVyOm9wZW4gc2VzYW1l" {
                return Reply::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
            }
            state.token += 1;
            state.token_uses = 0;
            let token = format!("token-{}", state.token);
            return Reply::new(StatusCode::OK)
                .body(serde_json::json!({ "token": token, "expires_in": 300 }).to_string());
        }
        state.token_uses += 1;
        let is_commit = asked.path.contains("/blobs/uploads/");
        if authorization != format!("Bearer token-{}", state.token) || state.token_uses > uses {
            // A commit that `Fault::CommitLost` repeats has been authorised.
            if !(is_commit && authorization.is_empty()) {
                let challenge =
                    format!("Bearer realm=\"http://{}/token\",service=\"made up\"", shared.address);
                return Reply::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED")
                    .header("www-authenticate", &challenge);
            }
        }
    }
    if asked.path == "/v2/" {
        return Reply::text(StatusCode::OK, "{}");
    }
    state.store.answer(&shared.options, asked)
}

fn send(method: &Method, reply: Reply) -> Response<Body> {
    let mut builder = reply.builder();
    let mut body = reply.body;
    if *method == Method::HEAD {
        builder = builder.header(CONTENT_LENGTH, body.len());
        body = Bytes::new();
    }
    builder.body(Full::new(body).map_err(|error: Infallible| match error {}).boxed()).unwrap()
}

/// Sends half of the body, then closes the connection.
fn half(reply: &Reply) -> Result<Response<Body>, io::Error> {
    if reply.body.is_empty() {
        return Err(io::Error::other("the connection ends here"));
    }
    let builder = reply.builder().header(CONTENT_LENGTH, reply.body.len());
    let first = reply.body.slice(..reply.body.len() / 2);
    let frames = stream::iter([Ok(Frame::data(first)), Err(io::Error::other("cut"))]).then(async |frame| {
        if frame.is_err() {
            // What was sent before shall arrive before the end does.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        frame
    });
    Ok(builder.body(http_body_util::BodyExt::boxed(StreamBody::new(frames))).unwrap())
}

/// Shortens digests and removes upload numbers, so that logs can be compared.
fn shortened(path: &str) -> String {
    if let Some((uploads, _)) = path.split_once("/blobs/uploads/") {
        return shortened(&format!("{uploads}/blobs/upload"));
    }
    let path = path.trim_start_matches("/v2/owner/zfs-kmods/");
    let mut short = String::new();
    for (position, part) in path.split("sha256").enumerate() {
        match part.split_at_checked(65) {
            Some((hex, rest)) if position > 0 => short.extend(["sha256", &hex[..9], rest]),
            _ => short.push_str(part),
        }
    }
    short
}
