//! Sends requests to GitHub, with rate limits and retries.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use kmod_query::reference::is_loopback;
use kmod_query::{RetryPolicy, client_builder, error_chain, link_target, retry_after};
use reqwest::header::{ACCEPT, AUTHORIZATION, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::GithubError;

/// The wait if GitHub gives no duration; GitHub recommends at least a minute.
const DEFAULT_WAIT: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug)]
pub struct RateLimitPolicy {
    /// Minimum time between two changes; GitHub recommends one second ([best
    /// practices](https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api)).
    pub between_changes: Duration,
    /// The longest delay is also the longest wait for a rate limit; a longer one ends the run.
    pub retry: RetryPolicy,
}

impl Default for RateLimitPolicy {
    fn default() -> Self {
        let retry = RetryPolicy {
            attempts: 5,
            longest_delay: Duration::from_mins(10),
            read_timeout: Duration::from_secs(30),
            ..RetryPolicy::default()
        };
        Self { between_changes: Duration::from_secs(1), retry }
    }
}

#[derive(Debug)]
pub(super) struct GithubClient {
    http: Client,
    /// Without a trailing slash.
    base: String,
    policy: RateLimitPolicy,
    /// For requests that GitHub rejects.
    help: &'static str,
    last_change: tokio::sync::Mutex<Option<Instant>>,
    server_time: Mutex<Option<Timestamp>>,
}

/// A response that is neither a rate limit nor a server error.
pub(super) struct GithubResponse {
    pub(super) status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl GithubClient {
    pub(super) fn new(
        base: &str,
        token: Option<SecretString>,
        policy: RateLimitPolicy,
        help: &'static str,
    ) -> Result<Self, GithubError> {
        let base = base.trim_end_matches('/').to_owned();
        let http = http_client(&base, token, &policy.retry)
            .map_err(|reason| GithubError::Client { base: base.clone(), reason })?;
        let (last_change, server_time) = (tokio::sync::Mutex::default(), Mutex::default());
        Ok(Self { http, base, policy, help, last_change, server_time })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// GitHub's clock, from the last response.
    pub(super) fn server_time(&self) -> Option<Timestamp> {
        *self.server_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `what` continues "cannot …" in errors.
    pub(super) async fn get(&self, what: &str, url: &str) -> Result<GithubResponse, GithubError> {
        self.policy.retry.retry(|| self.send(what, Method::GET, url, None)).await
    }

    pub(super) async fn get_json<T: DeserializeOwned>(
        &self,
        what: &str,
        url: &str,
    ) -> Result<T, GithubError> {
        self.json(what, &self.get(what, url).await?)
    }

    /// Sends changes one after the other, at the rate that GitHub recommends.
    ///
    /// Every change can be repeated: a repeated deletion gets 404, and a duplicate issue is closed by its reporter.
    pub(super) async fn change(
        &self,
        what: &str,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<GithubResponse, GithubError> {
        let mut last = self.last_change.lock().await;
        if let Some(last) = *last {
            tokio::time::sleep(self.policy.between_changes.saturating_sub(last.elapsed())).await;
        }
        let response = self.policy.retry.retry(|| self.send(what, method.clone(), url, body)).await;
        *last = Some(Instant::now());
        response
    }

    /// Retries only rate limits: after any other failure, GitHub may have accepted the request.
    pub(super) async fn post_once(
        &self,
        what: &str,
        url: &str,
        body: &Value,
    ) -> Result<GithubResponse, GithubError> {
        let send = async || match self.send(what, Method::POST, url, Some(body)).await {
            Err(error) if !error.is_limit() => Ok(Err(error)),
            response => response.map(Ok),
        };
        self.policy.retry.retry(send).await?
    }

    async fn send(
        &self,
        what: &str,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<GithubResponse, GithubError> {
        let request = what.to_owned();
        let mut builder = self.http.request(method, url);
        if let Some(body) = body {
            builder = builder.json(body);
        }
        let received = async {
            let response = builder.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok(GithubResponse { status, headers, body: response.bytes().await? })
        };
        let response = match received.await {
            Ok(response) => response,
            Err(error) => {
                let error: reqwest::Error = error;
                return Err(GithubError::Unreachable { request, reason: error_chain(&error) });
            }
        };
        let date = response.headers.get(DATE).and_then(|date| date.to_str().ok());
        if let Some(date) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) {
            *self.server_time.lock().unwrap_or_else(PoisonError::into_inner) = Some(date.timestamp());
        }
        let message = || response.message();
        if let Some(wait) = rate_limit(response.status, &response.headers, message, Timestamp::now()) {
            return Err(GithubError::RateLimited { request, wait });
        }
        if response.status >= 500 {
            let reason = format!("GitHub answered {}: {}", response.status, response.message());
            return Err(GithubError::Unreachable { request, reason });
        }
        Ok(response)
    }

    /// Fails unless the status is a success.
    pub(super) fn json<T: DeserializeOwned>(
        &self,
        what: &str,
        response: &GithubResponse,
    ) -> Result<T, GithubError> {
        self.accept(what, response)?;
        serde_json::from_slice(&response.body).map_err(|error| invalid_response(what, &error.to_string()))
    }

    pub(super) fn accept(&self, what: &str, response: &GithubResponse) -> Result<(), GithubError> {
        if (200..300).contains(&response.status) {
            return Ok(());
        }
        let (request, message) = (what.to_owned(), response.message());
        Err(GithubError::Rejected { request, status: response.status, message, help: self.help })
    }
}

impl GithubResponse {
    /// GitHub's message, else the start of the body.
    pub(super) fn message(&self) -> String {
        #[derive(Deserialize)]
        struct Body {
            message: String,
        }
        if let Ok(body) = serde_json::from_slice::<Body>(&self.body) {
            return body.message;
        }
        let text = String::from_utf8_lossy(&self.body);
        text.chars().filter(|letter| !letter.is_control()).take(200).collect()
    }

    /// The number of the page with this relation (`next`, `last`), from the `Link` header.
    pub(super) fn page(&self, relation: &str) -> Option<u32> {
        let url = Url::parse(&link_target(&self.headers, relation)?).ok()?;
        url.query_pairs().find(|(name, _)| name == "page")?.1.parse().ok()
    }
}

pub(super) fn invalid_response(what: &str, reason: &str) -> GithubError {
    GithubError::InvalidResponse { request: what.to_owned(), reason: reason.to_owned() }
}

fn http_client(base: &str, token: Option<SecretString>, policy: &RetryPolicy) -> Result<Client, String> {
    let url = Url::parse(base).map_err(|error| error.to_string())?;
    let is_local = url.host_str().is_some_and(is_loopback);
    if url.scheme() != "https" && !is_local {
        return Err("a token must not be sent unencrypted".to_owned());
    }
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
    headers.insert("x-github-api-version", HeaderValue::from_static("2022-11-28"));
    if let Some(token) = token {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
            .map_err(|_| "the token is not a header value")?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    let builder = client_builder(policy.connect_timeout)
        .read_timeout(policy.read_timeout)
        .timeout(Duration::from_mins(2))
        .default_headers(headers);
    let builder = if is_local { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| error_chain(&error))
}

/// How long to wait before a retry; `None` if this is not a rate limit.
///
/// A plain 403 is a rejection. The secondary limit is a 403 with `Retry-After` while requests remain
/// (kairos-io/kairos#4651), or with only its message.
fn rate_limit(
    status: u16,
    headers: &HeaderMap,
    message: impl Fn() -> String,
    now: Timestamp,
) -> Option<Duration> {
    let exhausted = || headers.get("x-ratelimit-remaining").is_some_and(|remaining| remaining == "0");
    let is_secondary = || {
        let message = message().to_ascii_lowercase();
        message.contains("secondary rate limit") || message.contains("abuse detection")
    };
    let is_limit = match status {
        429 => true,
        403 => headers.contains_key(RETRY_AFTER) || exhausted() || is_secondary(),
        _ => false,
    };
    is_limit.then(|| retry_after(headers, now).unwrap_or(DEFAULT_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(headers: &[(&'static str, &str)]) -> GithubResponse {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        GithubResponse { status: 200, headers: headers.collect(), body: Bytes::new() }
    }

    #[test]
    fn rate_limits_are_distinguished_from_rejections() {
        const REMAINING: &str = "x-ratelimit-remaining";
        const RESET: &str = "x-ratelimit-reset";
        const SECONDARY: &str = "You have exceeded a secondary rate limit.";
        for (status, headers, message, expected) in [
            (403, &[("retry-after", "7"), (REMAINING, "4000")][..], "secondary", Some(7)),
            (403, &[(REMAINING, "0"), (RESET, "1000090")], "", Some(90)),
            (403, &[(REMAINING, "0"), (RESET, "1")], "", Some(0)),
            (429, &[], "", Some(60)),
            (403, &[], SECONDARY, Some(60)),
            (403, &[(REMAINING, "4999"), (RESET, "1000090")], "Resource not accessible", None),
            (404, &[("retry-after", "1")], "", None),
            (200, &[(REMAINING, "0"), (RESET, "1000090")], "", None),
        ] {
            let now = Timestamp::from_second(1_000_000).unwrap();
            let wait = rate_limit(status, &response(headers).headers, || message.to_owned(), now);
            assert_eq!(wait.map(|wait| wait.as_secs()), expected, "{status} {headers:?} {message}");
        }
    }

    #[test]
    fn page_numbers_are_read_from_the_link_header() {
        let middle = "<https://x/versions?per_page=100&page=2>; rel=\"next\", \
                      <https://x/versions?per_page=100&page=7>; rel=\"last\"";
        let end = "<https://x/versions?page=6>; rel=\"prev\", <https://x/versions?page=1>; rel=\"first\"";
        for (link, next, last) in [(middle, Some(2), Some(7)), (end, None, None), ("", None, None)] {
            let response = response(&[("link", link)]);
            assert_eq!((response.page("next"), response.page("last")), (next, last), "{link}");
        }
    }
}
