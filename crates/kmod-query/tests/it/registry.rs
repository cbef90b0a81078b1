//! A registry that wants its clients to send requests and credentials elsewhere.

use kmod_query::registry::{Access, Credential, NoCredentials, Registries, Registry, RegistryError, Secret};
use kmod_query::{Digest, RetryPolicy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

fn policy() -> RetryPolicy {
    let delay = std::time::Duration::from_millis(1);
    let read_timeout = std::time::Duration::from_millis(300);
    RetryPolicy {
        attempts: 2,
        first_delay: delay,
        longest_delay: delay,
        read_timeout,
        ..RetryPolicy::default()
    }
}

fn open(address: &str, secret: Option<Secret>) -> Registry {
    let credential = secret.map(|secret| Credential { secret, origin: "the test".to_owned() });
    let repository = format!("{address}/owner/zfs-kmods").parse().unwrap();
    Registries::new(NoCredentials, policy()).open_with(&repository, Access::Pull, credential).unwrap()
}

async fn answer(server: &MockServer, at: &str, response: ResponseTemplate) {
    Mock::given(path(at)).respond_with(response).mount(server).await;
}

async fn requests(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

async fn challenging(realm: &str) -> MockServer {
    let server = MockServer::start().await;
    let challenge = format!("Bearer realm=\"{realm}\",service=\"x\"");
    answer(&server, "/v2/", ResponseTemplate::new(401).insert_header("www-authenticate", challenge)).await;
    server
}

fn refresh_token() -> Secret {
    Secret::IdentityToken("refresh-token".into())
}

async fn tags(server: &MockServer, secret: Option<Secret>) -> Result<(), RegistryError> {
    open(&server.address().to_string(), secret).tags().await.map(drop)
}

#[tokio::test]
async fn a_token_request_is_not_redirected() {
    let elsewhere = MockServer::start().await;
    let server = MockServer::start().await;
    let challenge = format!("Bearer realm=\"{}/token\"", server.uri());
    answer(&server, "/v2/", ResponseTemplate::new(401).insert_header("www-authenticate", challenge)).await;
    let away = ResponseTemplate::new(307).insert_header("location", format!("{}/x", elsewhere.uri()));
    answer(&server, "/token", away).await;
    let error = tags(&server, Some(refresh_token())).await.unwrap_err().to_string();
    assert!(error.contains("answered 307"), "{error}");
    assert_eq!(requests(&elsewhere).await, 0);
}

#[tokio::test]
async fn a_refresh_token_is_not_sent_to_another_host() {
    let server = challenging("https://tokens.example.org/token").await;
    let error = tags(&server, Some(refresh_token())).await.unwrap_err().to_string();
    assert!(error.contains("does not get its refresh token"), "{error}");
}

#[tokio::test]
async fn the_token_service_is_no_address_of_a_machine() {
    for realm in
        ["https://169.254.169.254/latest", "https://user@example.org/token", "http://example.org/token"]
    {
        let server = challenging(realm).await;
        let error = tags(&server, None).await.unwrap_err().to_string();
        assert!(error.contains("invalid response: its address"), "{realm}: {error}");
    }
}

#[tokio::test]
async fn a_token_may_live_for_ever() {
    let server = MockServer::start().await;
    let challenge = format!("Bearer realm=\"{}/token\"", server.uri());
    answer(&server, "/v2/", ResponseTemplate::new(401).insert_header("www-authenticate", challenge)).await;
    let token = serde_json::json!({ "token": "t", "expires_in": u64::MAX });
    answer(&server, "/token", ResponseTemplate::new(200).set_body_json(token)).await;
    let list = serde_json::json!({ "tags": ["stable"] });
    answer(&server, "/v2/owner/zfs-kmods/tags/list", ResponseTemplate::new(200).set_body_json(list)).await;
    tags(&server, None).await.unwrap();
}

#[tokio::test]
async fn the_next_page_is_on_the_same_host() {
    let (server, elsewhere) = (MockServer::start().await, MockServer::start().await);
    answer(&server, "/v2/", ResponseTemplate::new(200)).await;
    let page = ResponseTemplate::new(200)
        .set_body_json(serde_json::json!({ "tags": ["stable"] }))
        .insert_header("link", format!("<{}/v2/x/tags/list>; rel=\"next\"", elsewhere.uri()));
    answer(&server, "/v2/owner/zfs-kmods/tags/list", page).await;
    let error = tags(&server, None).await.unwrap_err().to_string();
    assert!(error.contains("the next page is on another host"), "{error}");
    assert_eq!(requests(&elsewhere).await, 0);
}

/// Answers everything with one more byte every 100 ms.
#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                let first = String::from_utf8_lossy(&request[..read]).into_owned();
                if first.starts_with("GET /v2/ ") {
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                        .await
                        .ok();
                    return;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await.ok();
                while stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            });
        }
    });
    let registry = open(&address.to_string(), None);
    let all = async {
        (registry.tags().await.map(drop), registry.small_blob(&Digest::of(b""), 1 << 20).await.map(drop))
    };
    let (list, blob) = tokio::time::timeout(std::time::Duration::from_secs(30), all).await.unwrap();
    for error in [list.unwrap_err().to_string(), blob.unwrap_err().to_string()] {
        assert!(error.contains("bytes were transferred in"), "{error}");
    }
}

#[tokio::test]
async fn the_pages_of_a_list_are_limited_together() {
    let server = MockServer::start().await;
    answer(&server, "/v2/", ResponseTemplate::new(200)).await;
    let names = vec!["x".repeat(100); 70_000];
    let body = serde_json::to_vec(&serde_json::json!({ "tags": names })).unwrap();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let page = move |_: &wiremock::Request| {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let link = format!("</v2/owner/zfs-kmods/tags/list?last={number}>; rel=\"next\"");
        ResponseTemplate::new(200).set_body_bytes(body.clone()).insert_header("link", link)
    };
    Mock::given(path("/v2/owner/zfs-kmods/tags/list")).respond_with(page).mount(&server).await;
    let error = tags(&server, None).await.unwrap_err().to_string();
    assert!(error.contains("too large together"), "{error}");
    assert!(requests(&server).await < 15);
}
