//! The HTTP server: files below a directory, and GitHub's REST API. It supports what large sites do (HEAD, ETag, gzip for
//! JSON) and logs requests with the size of the response.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use fake_sigstore::server;
use flate2::{Compression, write::GzEncoder};
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, LINK,
};
use hyper::http::response::Builder;
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::error::{Context, Result};
use crate::lab::serve::github;
use crate::lab::serve::issues::IssueStore;
use crate::lab::{cache, environment};

const JSON: &str = "application/json; charset=utf-8";
/// A line for each request: method, URL, status, bytes of the body.
pub(crate) const LOG: &str = "requests.log";
/// A file with ends of paths, one per line. They are answered with 404, as files that upstream removed.
pub(crate) const GONE: &str = "gone";

struct Site {
    www: PathBuf,
    gone: PathBuf,
    issues: IssueStore,
    log: Mutex<File>,
}

/// Serves `run/www` until the process ends.
pub(crate) fn serve(run: &Path) -> Result {
    let log = File::options().create(true).append(true).open(run.join(LOG))?;
    let (www, gone) = (run.join("www"), run.join(GONE));
    let site = Site { www, gone, issues: IssueStore::new(run), log: Mutex::new(log) };
    let listener = TcpListener::bind(environment::HTTP).context(environment::HTTP)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(server::serve(listener, move |request| {
        site.answer(request).unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR))
    }))?;
    Ok(())
}

impl Site {
    fn answer(&self, request: &Request<Bytes>) -> Result<Response<Vec<u8>>> {
        let answer = self.find(request)?;
        let sent = if request.method() == Method::HEAD { 0 } else { answer.body().len() };
        let line = format!("{} {} {} {sent}\n", request.method(), request.uri(), answer.status().as_u16());
        self.log.lock().map_err(|_| "the log is locked")?.write_all(line.as_bytes())?;
        Ok(answer)
    }

    fn find(&self, request: &Request<Bytes>) -> Result<Response<Vec<u8>>> {
        let (method, path) = (request.method(), request.uri().path());
        let query = request.uri().query().unwrap_or_default();
        let has_token = request.headers().contains_key(AUTHORIZATION);
        if let Some((status, value)) =
            self.issues.answer(method.as_str(), path, query, request.body(), has_token)
        {
            return github_answer(StatusCode::from_u16(status)?, &value);
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Ok(empty(StatusCode::METHOD_NOT_ALLOWED));
        }
        // dnf sends `%2B` for `+`.
        let path = percent_decode_str(path).decode_utf8_lossy();
        if let Some((value, link)) = github::answer(&self.www, &path, query) {
            let mut answer = document(request, value.to_string().into_bytes())?;
            if let Some(link) = link {
                answer.headers_mut().insert(LINK, link.parse()?);
            }
            return Ok(answer);
        }
        if path.starts_with("/github/") {
            let address = "https://docs.github.com/rest";
            let body = json!({"message": "Not Found", "documentation_url": address, "status": "404"});
            return github_answer(StatusCode::NOT_FOUND, &body);
        }
        let Some((file, metadata)) = self.file(&path) else { return Ok(empty(StatusCode::NOT_FOUND)) };
        if file.extension().is_some_and(|extension| extension == "json") {
            return document(request, fs::read(file)?);
        }
        let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        tagged(request, &format!("\"{:x}-{changed:x}\"", metadata.len()), |answer| {
            Ok(answer.body(fs::read(file)?)?)
        })
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

fn empty(status: StatusCode) -> Response<Vec<u8>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn github_answer(status: StatusCode, value: &Value) -> Result<Response<Vec<u8>>> {
    let answer = Response::builder().status(status).header(CONTENT_TYPE, JSON);
    Ok(answer.body(value.to_string().into_bytes())?)
}

fn header_has(request: &Request<Bytes>, name: HeaderName, value: &str) -> bool {
    request.headers().get(name).and_then(|found| found.to_str().ok()).is_some_and(|text| text.contains(value))
}

/// The answer with an `ETag`, or 304 if the client has it.
fn tagged(
    request: &Request<Bytes>,
    tag: &str,
    whole: impl FnOnce(Builder) -> Result<Response<Vec<u8>>>,
) -> Result<Response<Vec<u8>>> {
    let answer = Response::builder().header(ETAG, tag);
    if header_has(request, IF_NONE_MATCH, tag) {
        return Ok(answer.status(StatusCode::NOT_MODIFIED).body(Vec::new())?);
    }
    whole(answer)
}

fn document(request: &Request<Bytes>, body: Vec<u8>) -> Result<Response<Vec<u8>>> {
    tagged(request, &format!("\"{}\"", &cache::digest(&body)[..32]), |answer| {
        let answer = answer.header(CONTENT_TYPE, JSON);
        if !header_has(request, ACCEPT_ENCODING, "gzip") {
            return Ok(answer.body(body)?);
        }
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&body)?;
        Ok(answer.header(CONTENT_ENCODING, "gzip").body(packed.finish()?)?)
    })
}

/// Number of requests in the log, and bytes sent for them.
pub(crate) fn counted(run: &Path) -> Result<(u64, u64)> {
    let text = fs::read_to_string(run.join(LOG)).context(LOG)?;
    let bytes =
        |line: &str| line.rsplit(' ').next().and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or_default();
    Ok(text.lines().fold((0, 0), |(count, sum), line| (count + 1, sum + bytes(line))))
}
