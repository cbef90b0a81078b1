use kmod_query::{Http, OpenZfs, QueryError, ZfsRelease};
use wiremock::matchers::{bearer_token, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{asked, cached_http, endpoints, get, http, json};

const TAGS: &str = "/github/repos/openzfs/zfs/git/matching-refs/tags/zfs-2.4.";
const RELEASES: &str = "/github/repos/openzfs/zfs/releases";

fn by_tag(version: &str) -> String {
    format!("{RELEASES}/tags/zfs-{version}")
}

fn release(version: &str) -> String {
    let tag = format!("zfs-{version}");
    let digest = "a".repeat(64);
    format!(
        r#"{{"tag_name": "{tag}", "draft": false, "prerelease": false, "published_at": "2026-06-12T18:00:10Z",
        "assets": [{{"name": "{tag}.tar.gz", "state": "uploaded", "size": 5, "digest": "sha256:{digest}",
        "browser_download_url": "https://example.org/{tag}.tar.gz"}}]}}"#
    )
}

fn openzfs(http: &Http, server: &MockServer) -> OpenZfs {
    OpenZfs::new(http, &endpoints(server), None).unwrap()
}

async fn newest(http: &Http, server: &MockServer) -> Result<ZfsRelease, QueryError> {
    openzfs(http, server).fetch_newest("2.4".parse().unwrap()).await
}

#[tokio::test]
async fn the_newest_of_a_line_takes_two_requests() {
    let server = MockServer::start().await;
    get(&server, TAGS, json(include_str!("../fixtures/openzfs-tags.json"))).await;
    get(&server, &by_tag("2.4.10"), json(release("2.4.10"))).await;
    let http = http();
    let newest = newest(&http, &server).await.unwrap();
    assert_eq!((newest.version.to_string().as_str(), newest.size), ("2.4.10", 5));
    assert_eq!(newest.tarball_url, "https://example.org/zfs-2.4.10.tar.gz");
    assert_eq!(newest.tarball_digest, Some("a".repeat(64)));
    assert_eq!(http.stats().requests, 2);
}

#[tokio::test]
async fn what_is_not_published_yet_is_passed_over() {
    let server = MockServer::start().await;
    get(&server, TAGS, json(include_str!("../fixtures/openzfs-tags.json"))).await;
    // 2.4.10 is a tag without a release, 2.4.3 has no tarball yet, 2.4.2 is a draft.
    get(&server, &by_tag("2.4.3"), json(release("2.4.3").replace(".tar.gz\", \"state", ".asc\", \"state")))
        .await;
    get(&server, &by_tag("2.4.2"), json(release("2.4.2").replace("\"draft\": false", "\"draft\": true")))
        .await;
    get(&server, &by_tag("2.4.1"), json(release("2.4.1"))).await;
    assert_eq!(newest(&http(), &server).await.unwrap().version.to_string(), "2.4.1");
}

#[tokio::test]
async fn trouble_with_the_newest_does_not_lead_to_an_older_one() {
    let server = MockServer::start().await;
    get(&server, TAGS, json(include_str!("../fixtures/openzfs-tags.json"))).await;
    get(&server, &by_tag("2.4.10"), ResponseTemplate::new(500)).await;
    get(&server, &by_tag("2.4.3"), json(release("2.4.3"))).await;
    assert!(matches!(newest(&http(), &server).await, Err(QueryError::Status { status: 500, .. })));
    // Octocrab repeats nothing of its own.
    assert_eq!(asked(&server, &by_tag("2.4.10")).await, 3);
    assert_eq!(asked(&server, &by_tag("2.4.3")).await, 0);
}

#[tokio::test]
async fn without_tags_the_list_of_releases_serves_with_all_its_pages() {
    let server = MockServer::start().await;
    get(&server, TAGS, ResponseTemplate::new(404)).await;
    let next = format!("<{}{RELEASES}?per_page=100&page=2>; rel=\"next\"", server.uri());
    let second = Mock::given(method("GET")).and(path(RELEASES)).and(query_param("page", "2"));
    let page = format!("[{}, {}]", release("2.4.10"), release("2.40.1"));
    second.respond_with(json(page)).with_priority(1).mount(&server).await;
    let first = json(include_str!("../fixtures/openzfs-releases.json")).insert_header("Link", next.as_str());
    get(&server, RELEASES, first).await;
    assert_eq!(newest(&http(), &server).await.unwrap().version.to_string(), "2.4.10");

    let all = openzfs(&http(), &server).fetch_all().await.unwrap();
    let all: Vec<String> = all.iter().map(|release| release.version.to_string()).collect();
    assert_eq!(all, ["2.40.1", "2.4.10", "2.4.3", "2.4.2", "2.3.8", "2.2.10", "2.2.9"]);
}

#[tokio::test]
async fn a_list_without_end_is_left() {
    let server = MockServer::start().await;
    let next = format!("<{}{RELEASES}?page=2>; rel=\"next\"", server.uri());
    get(&server, RELEASES, json("[]").insert_header("Link", next.as_str())).await;
    assert!(matches!(openzfs(&http(), &server).fetch_all().await, Err(QueryError::Format { .. })));
}

#[tokio::test]
async fn a_version_is_asked_for_by_name() {
    let server = MockServer::start().await;
    get(&server, &by_tag("2.4.3"), json(release("2.4.3"))).await;
    get(&server, &by_tag("2.4.4"), json(release("2.4.4").replace("uploaded", "starter"))).await;
    get(&server, &by_tag("2.4.2"), json(release("2.4.1"))).await;
    let openzfs = openzfs(&http(), &server);
    let ask = async |version: &str| openzfs.fetch_version(version.parse().unwrap()).await;
    assert_eq!(ask("2.4.3").await.unwrap().version.to_string(), "2.4.3");
    let error = ask("2.4.4").await.unwrap_err().to_string();
    assert!(
        error.contains("OpenZFS 2.4.4 cannot be used: its source tarball is not uploaded yet"),
        "{error}"
    );
    assert!(matches!(ask("2.4.2").await, Err(QueryError::Format { .. })));
    assert!(matches!(ask("2.4.9").await, Err(QueryError::NotFound { .. })));
}

#[tokio::test]
async fn nothing_of_a_line_is_said() {
    let server = MockServer::start().await;
    get(&server, TAGS, json("[]")).await;
    let error = newest(&http(), &server).await.unwrap_err().to_string();
    assert!(error.contains("there is no published release of OpenZFS 2.4"), "{error}");
}

#[tokio::test]
async fn a_used_up_limit_is_told_apart_from_a_refusal() {
    let server = MockServer::start().await;
    let limited = ResponseTemplate::new(403)
        .insert_header("x-ratelimit-remaining", "0")
        .insert_header("x-ratelimit-reset", "4951564872");
    get(&server, TAGS, limited).await;
    let error = newest(&http(), &server).await.unwrap_err();
    assert!(matches!(error, QueryError::TooManyRequests { until: Some(_), .. }), "{error}");
}

#[tokio::test]
async fn the_token_is_sent_only_where_it_is_safe() {
    let server = MockServer::start().await;
    let with_token = Mock::given(path(by_tag("2.4.3"))).and(bearer_token("secret"));
    with_token.respond_with(json(release("2.4.3"))).mount(&server).await;
    let openzfs = OpenZfs::new(&http(), &endpoints(&server), Some("secret".into())).unwrap();
    openzfs.fetch_version("2.4.3".parse().unwrap()).await.unwrap();

    let mut open = endpoints(&server);
    open.github_api = "http://github.example.org".to_owned();
    let error = OpenZfs::new(&http(), &open, Some("secret".into())).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(OpenZfs::new(&http(), &open, None).is_ok());
}

#[tokio::test]
async fn unchanged_answers_of_github_come_from_the_cache() {
    let (_directory, http) = cached_http();
    let server = MockServer::start().await;
    let at = by_tag("2.4.3");
    let unchanged = Mock::given(path(&at)).and(header("If-None-Match", "W/\"one\""));
    unchanged.respond_with(ResponseTemplate::new(304)).with_priority(1).mount(&server).await;
    get(&server, &at, json(release("2.4.3")).insert_header("ETag", "W/\"one\"")).await;
    let openzfs = openzfs(&http, &server);
    let first = openzfs.fetch_version("2.4.3".parse().unwrap()).await.unwrap();
    let bytes = http.stats().bytes;
    assert_eq!(openzfs.fetch_version("2.4.3".parse().unwrap()).await.unwrap(), first);
    assert_eq!(http.stats().bytes, bytes);
}
