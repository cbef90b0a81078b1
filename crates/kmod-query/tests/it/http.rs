use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use kmod_query::coreos::fetch_index;
use kmod_query::{Http, HttpOptions, QueryError, RetryPolicy, Stream};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{asked, cached_http, endpoints, get, http, json, options, retry_policy};

const INDEX: &str = "/coreos/prod/streams/stable/releases.json";
/// One release with an image.
const SMALL: &str = r#"{"releases": [{"version": "43.20260301.3.1", "oci-images": [{"architecture": "x86_64",
    "digest-ref": "a.example/b@sha256:1111111111111111111111111111111111111111111111111111111111111111"}]}]}"#;

async fn ask(http: &Http, server: &MockServer) -> Result<usize, QueryError> {
    let index = fetch_index(http, &endpoints(server), Stream::Stable).await?;
    Ok(index.releases.len())
}

/// The error message for a response, without the request that follows in every message.
async fn words_for(response: ResponseTemplate) -> String {
    let server = MockServer::start().await;
    get(&server, INDEX, response).await;
    let error = ask(&http(), &server).await.unwrap_err();
    let text = error.to_string().replace(&server.uri(), "URI");
    let asked =
        "URI/coreos/prod/streams/stable/releases.json (expected the release index of Fedora CoreOS stable)";
    let (words, rest) = text.split_at(text.find(": URI").unwrap());
    assert_eq!(&rest[2..], asked);
    assert!(miette::Diagnostic::help(&error).is_some(), "no help: {text}");
    words.to_owned()
}

#[tokio::test]
async fn each_failure_has_its_own_words() {
    let mut words = Vec::new();
    for response in [
        ResponseTemplate::new(404),
        ResponseTemplate::new(401),
        ResponseTemplate::new(403),
        ResponseTemplate::new(418),
        ResponseTemplate::new(500),
        ResponseTemplate::new(429),
        ResponseTemplate::new(200).set_body_raw("<!DOCTYPE html>", "text/html; charset=utf-8"),
        json("\n <html>"),
        json(r#"{"releases": ["#),
        json("nonsense"),
        json("{}"),
        json(r#"{"releases": 1}"#),
        json(format!("\"{}\"", "x".repeat(70_000))),
    ] {
        words.push(words_for(response).await);
    }
    insta::assert_snapshot!(words.join("\n"), @"
    not found (404)
    not authorized (401)
    access denied (403)
    unexpected status 418
    unexpected status 500
    too many requests
    got a web page instead of JSON
    got a web page instead of JSON
    the JSON is cut off at line 1, column 14
    not valid JSON: expected ident at line 1 column 2
    the field `releases` is missing
    the field `releases` is invalid: expected a list
    the response is larger than 65536 bytes
    ");
}

#[tokio::test]
async fn only_temporary_errors_are_retried() {
    for (status, is_temporary, requests) in [(404, false, 1), (429, true, 3)] {
        let server = MockServer::start().await;
        get(&server, INDEX, ResponseTemplate::new(status)).await;
        let http = http();
        let error = ask(&http, &server).await.unwrap_err();
        assert_eq!((error.is_temporary(), error.until()), (is_temporary, None), "{error}");
        assert_eq!(http.stats().requests, requests, "{status}");
    }
}

#[tokio::test]
async fn what_is_temporary_is_asked_again() {
    let server = MockServer::start().await;
    let failing = Mock::given(path(INDEX)).respond_with(ResponseTemplate::new(503));
    failing.up_to_n_times(2).mount(&server).await;
    get(&server, INDEX, json(SMALL)).await;
    let http = http();
    assert_eq!(ask(&http, &server).await.unwrap(), 1);
    assert_eq!((http.stats().requests, http.stats().bytes), (3, SMALL.len() as u64));
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let server = MockServer::start().await;
    let limited = ResponseTemplate::new(429).insert_header("Retry-After", "1");
    Mock::given(path(INDEX)).respond_with(limited).up_to_n_times(1).mount(&server).await;
    get(&server, INDEX, json(SMALL)).await;
    let start = Instant::now();
    assert_eq!(ask(&http(), &server).await.unwrap(), 1);
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_not_waited_for_but_told() {
    let server = MockServer::start().await;
    let date = "Fri, 20 Nov 2126 18:41:12 GMT";
    get(&server, INDEX, ResponseTemplate::new(429).insert_header("Retry-After", date)).await;
    let http = http();
    let error = ask(&http, &server).await.unwrap_err();
    assert!(error.to_string().contains("(asks to wait until 2126-11-20T18:41:12Z)"), "{error}");
    assert_eq!(http.stats().requests, 1);
}

#[tokio::test]
async fn a_slow_server_is_not_waited_for() {
    let server = MockServer::start().await;
    get(&server, INDEX, json(SMALL).set_delay(Duration::from_secs(30))).await;
    let retry_policy =
        RetryPolicy { attempts: 2, read_timeout: Duration::from_millis(300), ..retry_policy() };
    let http = Http::new(HttpOptions { retry_policy, ..options() }).unwrap();
    let start = Instant::now();
    assert!(matches!(ask(&http, &server).await, Err(QueryError::Timeout { .. })));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(http.stats().requests, 2);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_asked_for_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for _ in 0..3 {
            let mut connection = listener.accept().unwrap().0;
            let _ = connection.read(&mut [0; 4096]).unwrap();
            connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"releases\"").unwrap();
        }
    });
    let endpoints = kmod_query::Endpoints { coreos: base, ..Default::default() };
    let http = http();
    let error = fetch_index(&http, &endpoints, Stream::Stable).await.unwrap_err();
    assert!(matches!(error, QueryError::Unreachable { .. }), "{error}");
    assert_eq!(http.stats().requests, 3);
    server.join().unwrap();
}

#[tokio::test]
async fn the_size_is_bounded_after_decompression() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b' '; 1024 * 1024]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 4096);
    let server = MockServer::start().await;
    let response = ResponseTemplate::new(200).set_body_raw(bomb, "application/json");
    get(&server, INDEX, response.insert_header("Content-Encoding", "gzip")).await;
    assert!(matches!(ask(&http(), &server).await, Err(QueryError::TooLarge { limit: 65_536, .. })));
}

#[tokio::test]
async fn no_connection_and_no_name_are_unreachable() {
    // A port that was free a moment ago, and a name that can never resolve (RFC 6761).
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for base in [format!("http://{free}"), "http://name.invalid".to_owned()] {
        let endpoints = kmod_query::Endpoints { coreos: base.clone(), ..Default::default() };
        let error = fetch_index(&http(), &endpoints, Stream::Stable).await.unwrap_err();
        assert!(matches!(error, QueryError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains(&base), "{error}");
    }
}

#[tokio::test]
async fn an_unusable_base_url_is_said_to_be_one() {
    let endpoints = kmod_query::Endpoints { coreos: "builds.example.org".to_owned(), ..Default::default() };
    let error = fetch_index(&http(), &endpoints, Stream::Stable).await.unwrap_err();
    assert!(matches!(error, QueryError::InvalidUrl { .. }), "{error}");
}

#[tokio::test]
async fn an_unchanged_document_comes_from_the_cache() {
    let (directory, http) = cached_http();
    let server = MockServer::start().await;
    let unchanged = Mock::given(method("GET")).and(path(INDEX)).and(header("If-None-Match", "\"one\""));
    unchanged.respond_with(ResponseTemplate::new(304)).with_priority(1).mount(&server).await;
    get(&server, INDEX, json(SMALL).insert_header("ETag", "\"one\"")).await;
    assert_eq!(ask(&http, &server).await.unwrap(), 1);
    assert_eq!(ask(&http, &server).await.unwrap(), 1);
    assert_eq!((http.stats().requests, http.stats().bytes), (2, SMALL.len() as u64));

    // Damage is no error, only a reason to fetch the document again.
    let entry = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(entry, "garbage").unwrap();
    assert_eq!(ask(&http, &server).await.unwrap(), 1);
    assert_eq!(http.stats().bytes, 2 * SMALL.len() as u64);
    assert_eq!(asked(&server, INDEX).await, 3);
}

#[tokio::test]
async fn without_a_server_the_cache_is_no_answer() {
    let (_directory, http) = cached_http();
    let server = MockServer::start().await;
    get(&server, INDEX, json(SMALL).insert_header("ETag", "\"one\"")).await;
    ask(&http, &server).await.unwrap();
    server.reset().await;
    get(&server, INDEX, ResponseTemplate::new(500)).await;
    assert!(ask(&http, &server).await.is_err());
}
