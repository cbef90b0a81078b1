//! The HTTP server of the lab: files below a directory, and GitHub's answers. It behaves as large sites do (HEAD,
//! ETag, gzip for JSON) and writes down what was asked and how much was sent.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::UNIX_EPOCH,
};

use flate2::{Compression, write::GzEncoder};
use tiny_http::{Header, Method, Request, Response, Server, StatusCode};

use crate::{
    fail::{Context, Result},
    lab::{github, issues::Issues, world},
};

/// The program asks for several things at once.
const WORKERS: usize = 8;
/// A line for each request: method, path, status, bytes of the body.
pub(crate) const LOG: &str = "requests.log";
/// A file with the ends of paths, one a line, that are answered 404: what upstream has dropped.
pub(crate) const GONE: &str = "gone";

struct Site {
    www: PathBuf,
    gone: PathBuf,
    issues: Issues,
    log: Mutex<File>,
}

/// Serves `run/www` until the process is ended.
pub(crate) fn serve(run: &Path) -> Result {
    let server = Server::http(world::HTTP).map_err(|error| format!("{}: {error}", world::HTTP))?;
    let log = File::options().create(true).append(true).open(run.join(LOG))?;
    let site = Arc::new(Site {
        www: run.join("www"),
        gone: run.join(GONE),
        issues: Issues::new(run),
        log: Mutex::new(log),
    });
    let server = Arc::new(server);
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (server, site) = (Arc::clone(&server), Arc::clone(&site));
            thread::spawn(move || {
                while let Ok(request) = server.recv() {
                    // A client that hangs up is no reason to stop.
                    let _ = site.answer(request);
                }
            })
        })
        .collect();
    workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker of the server died".into()))
}

/// What is sent for one request.
enum Body {
    Bytes(Vec<u8>),
    File(File, u64),
}

impl Site {
    fn answer(&self, mut request: Request) -> Result {
        let url = request.url().to_owned();
        let (path, query) = url.split_once('?').unwrap_or((&url, ""));
        let mut body = Vec::new();
        request.as_reader().read_to_end(&mut body)?;
        let has_token = request.headers().iter().any(|header| header.field.equiv("Authorization"));
        let method = request.method().to_string();
        if let Some((status, value)) = self.issues.answer(&method, path, query, &body, has_token) {
            let headers = header("Content-Type", "application/json; charset=utf-8").into_iter().collect();
            return self.send(request, status, headers, Body::Bytes(value.to_string().into_bytes()));
        }
        if !matches!(request.method(), Method::Get | Method::Head) {
            return self.send(request, 405, Vec::new(), Body::Bytes(Vec::new()));
        }
        let path = decoded(path);
        let mut headers = Vec::new();
        if let Some((value, link)) = github::answer(&self.www, &path, query) {
            headers.extend(link.and_then(|link| header("Link", &link)));
            return self.json(request, headers, value.to_string().into_bytes());
        }
        if path.starts_with("/github/") {
            let body = br#"{"message":"Not Found","documentation_url":"https://docs.github.com/rest","status":"404"}"#;
            headers.extend(header("Content-Type", "application/json"));
            return self.send(request, 404, headers, Body::Bytes(body.to_vec()));
        }
        let Some((file, metadata)) = self.file(&path) else {
            return self.send(request, 404, headers, Body::Bytes(b"not here\n".to_vec()));
        };
        if file.extension().is_some_and(|extension| extension == "json") {
            return self.json(request, headers, fs::read(file)?);
        }
        let changed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let tag = format!("\"{:x}-{changed:x}\"", metadata.len());
        headers.extend(header("ETag", &tag));
        if asks(&request, "If-None-Match", &tag) {
            return self.send(request, 304, headers, Body::Bytes(Vec::new()));
        }
        self.send(request, 200, headers, Body::File(File::open(file)?, metadata.len()))
    }

    fn json(&self, request: Request, mut headers: Vec<Header>, body: Vec<u8>) -> Result {
        let tag = format!("\"{}\"", &crate::lab::cache::digest(&body)[..32]);
        headers.extend(header("Content-Type", "application/json; charset=utf-8"));
        headers.extend(header("ETag", &tag));
        if asks(&request, "If-None-Match", &tag) {
            return self.send(request, 304, headers, Body::Bytes(Vec::new()));
        }
        if !asks(&request, "Accept-Encoding", "gzip") {
            return self.send(request, 200, headers, Body::Bytes(body));
        }
        headers.extend(header("Content-Encoding", "gzip"));
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&body)?;
        self.send(request, 200, headers, Body::Bytes(packed.finish()?))
    }

    /// The file at a path, unless the path leads out of the site.
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

    fn send(&self, request: Request, status: u16, headers: Vec<Header>, body: Body) -> Result {
        let length = match &body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File(_, length) => *length,
        };
        let sent = if *request.method() == Method::Head { 0 } else { length };
        let line = format!("{} {} {status} {sent}\n", request.method(), request.url());
        self.log.lock().map_err(|_| "the log is gone")?.write_all(line.as_bytes())?;
        let length = Some(usize::try_from(length)?);
        let code = StatusCode(status);
        match body {
            Body::Bytes(bytes) => {
                request.respond(Response::new(code, headers, bytes.as_slice(), length, None))?;
            }
            // Not chunked, however large: clients check what they got against the length.
            Body::File(file, _) => {
                let response = Response::new(code, headers, file, length, None);
                request.respond(response.with_chunked_threshold(usize::MAX))?;
            }
        }
        Ok(())
    }
}

fn header(name: &str, value: &str) -> Option<Header> {
    Header::from_bytes(name, value).ok()
}

fn asks(request: &Request, name: &str, value: &str) -> bool {
    request.headers().iter().any(|header| {
        header.field.to_string().eq_ignore_ascii_case(name) && header.value.as_str().contains(value)
    })
}

/// `%2B` and their like, which dnf sends for `+`.
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

/// How many requests are in the log, and how many bytes were sent for them.
pub(crate) fn counted(run: &Path) -> Result<(u64, u64)> {
    let text = fs::read_to_string(run.join(LOG)).context(LOG)?;
    let bytes =
        |line: &str| line.rsplit(' ').next().and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or_default();
    Ok(text.lines().fold((0, 0), |(count, sum), line| (count + 1, sum + bytes(line))))
}
