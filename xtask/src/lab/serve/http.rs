//! The HTTP server: files below a directory, and GitHub's REST API. It supports what large sites do (HEAD, ETag, gzip for
//! JSON) and logs requests with the size of the response.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use flate2::{Compression, write::GzEncoder};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    IF_NONE_MATCH, LINK,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::error::{Context, Result};
use crate::lab::environment;
use crate::lab::serve::github;
use crate::lab::serve::issues::Issues;

/// A line for each request: method, URL, status, bytes of the body.
pub(crate) const LOG: &str = "requests.log";
/// A file with ends of paths, one per line. They are answered with 404, as files that upstream removed.
pub(crate) const GONE: &str = "gone";

struct Site {
    www: PathBuf,
    gone: PathBuf,
    issues: Issues,
    log: Mutex<File>,
}

/// Serves `run/www` until the process ends.
pub(crate) fn serve(run: &Path) -> Result {
    let log = File::options().create(true).append(true).open(run.join(LOG))?;
    let site = Arc::new(Site {
        www: run.join("www"),
        gone: run.join(GONE),
        issues: Issues::new(run),
        log: Mutex::new(log),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(environment::HTTP).await.context(environment::HTTP)?;
        loop {
            let (stream, _) = listener.accept().await?;
            let site = Arc::clone(&site);
            let service = service_fn(move |request| {
                let site = Arc::clone(&site);
                async move { Ok::<_, Infallible>(respond(site, request).await) }
            });
            tokio::spawn(async move {
                // An aborted connection concerns only its client.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

/// Answers a request on a thread for blocking work.
async fn respond(site: Arc<Site>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let request = match body.collect().await {
        Ok(body) => LabRequest {
            method: head.method,
            url: head.uri.to_string(),
            headers: head.headers,
            body: body.to_bytes().to_vec(),
        },
        Err(_) => return Response::default(),
    };
    let answered = tokio::task::spawn_blocking(move || site.answer(&request).ok()).await;
    let LabResponse { status, headers, body } =
        answered.ok().flatten().unwrap_or_else(|| LabResponse::of(StatusCode::INTERNAL_SERVER_ERROR));
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

struct LabRequest {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl LabRequest {
    fn header_has(&self, name: HeaderName, value: &str) -> bool {
        self.headers.get(name).and_then(|found| found.to_str().ok()).is_some_and(|text| text.contains(value))
    }
}

struct LabResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl LabResponse {
    fn of(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Vec::new() }
    }

    fn with(mut self, name: HeaderName, value: &str) -> Result<Self> {
        self.headers.insert(name, HeaderValue::from_str(value)?);
        Ok(self)
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

impl Site {
    fn answer(&self, request: &LabRequest) -> Result<LabResponse> {
        let answer = self.find(request)?;
        let sent = if request.method == Method::HEAD { 0 } else { answer.body.len() };
        let line = format!("{} {} {} {sent}\n", request.method, request.url, answer.status.as_u16());
        self.log.lock().map_err(|_| "the log is gone")?.write_all(line.as_bytes())?;
        Ok(answer)
    }

    fn find(&self, request: &LabRequest) -> Result<LabResponse> {
        const JSON: &str = "application/json; charset=utf-8";
        let (path, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
        let has_token = request.headers.contains_key(AUTHORIZATION);
        if let Some((status, value)) =
            self.issues.answer(request.method.as_str(), path, query, &request.body, has_token)
        {
            return Ok(LabResponse::of(StatusCode::from_u16(status)?)
                .with(CONTENT_TYPE, JSON)?
                .body(value.to_string()));
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Ok(LabResponse::of(StatusCode::METHOD_NOT_ALLOWED));
        }
        let path = decoded(path);
        if let Some((value, link)) = github::answer(&self.www, &path, query) {
            let answer = json(request, value.to_string().into_bytes())?;
            return match link {
                Some(link) => answer.with(LINK, &link),
                None => Ok(answer),
            };
        }
        if path.starts_with("/github/") {
            let body = r#"{"message":"Not Found","documentation_url":"https://docs.github.com/rest","status":"404"}"#;
            return Ok(LabResponse::of(StatusCode::NOT_FOUND).with(CONTENT_TYPE, JSON)?.body(body));
        }
        let Some((file, metadata)) = self.file(&path) else {
            return Ok(LabResponse::of(StatusCode::NOT_FOUND).body("not here\n"));
        };
        if file.extension().is_some_and(|extension| extension == "json") {
            return json(request, fs::read(file)?);
        }
        let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let tag = format!("\"{:x}-{changed:x}\"", metadata.len());
        if request.header_has(IF_NONE_MATCH, &tag) {
            return LabResponse::of(StatusCode::NOT_MODIFIED).with(ETAG, &tag);
        }
        Ok(LabResponse::of(StatusCode::OK).with(ETAG, &tag)?.body(fs::read(file)?))
    }

    /// None for paths that lead out of the site.
    fn file(&self, path: &str) -> Option<(PathBuf, fs::Metadata)> {
        let gone = fs::read_to_string(&self.gone).unwrap_or_default();
        if gone.lines().any(|end| path.ends_with(end)) {
            return None;
        }
        let relative = Path::new(path.trim_start_matches('/'));
        if !relative.components().all(|component| matches!(component, Component::Normal(_))) {
            return None;
        }
        let file = self.www.join(relative);
        let metadata = fs::metadata(&file).ok()?;
        metadata.is_file().then_some((file, metadata))
    }
}

fn json(request: &LabRequest, body: Vec<u8>) -> Result<LabResponse> {
    let tag = format!("\"{}\"", &crate::lab::cache::digest(&body)[..32]);
    if request.header_has(IF_NONE_MATCH, &tag) {
        return LabResponse::of(StatusCode::NOT_MODIFIED).with(ETAG, &tag);
    }
    let answer = LabResponse::of(StatusCode::OK)
        .with(CONTENT_TYPE, "application/json; charset=utf-8")?
        .with(ETAG, &tag)?;
    if !request.header_has(ACCEPT_ENCODING, "gzip") {
        return Ok(answer.body(body));
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&body)?;
    Ok(answer.with(CONTENT_ENCODING, "gzip")?.body(packed.finish()?))
}

/// Decodes percent-encoding: dnf sends `%2B` for `+`.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'%' && after.len() >= 2)
            .then(|| std::str::from_utf8(&after[..2]).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Number of requests in the log, and bytes sent for them.
pub(crate) fn counted(run: &Path) -> Result<(u64, u64)> {
    let text = fs::read_to_string(run.join(LOG)).context(LOG)?;
    let bytes =
        |line: &str| line.rsplit(' ').next().and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or_default();
    Ok(text.lines().fold((0, 0), |(count, sum), line| (count + 1, sum + bytes(line))))
}
