//! HTTP documents with timeouts, size limits, retries, counting and a cache.

mod cache;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{ClientBuilder, Response, StatusCode, redirect};

use crate::error::error_chain;
use crate::reference::is_loopback;
use crate::retry::{RetryPolicy, retry_after};
use crate::stats::{RequestCounter, RequestStats};
use crate::{FormatError, QueryError, RequestInfo};
use cache::Cache;

#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// A server that asks for a longer wait than the longest delay is not asked again.
    pub retry_policy: RetryPolicy,
    /// For the request and its response.
    pub total_timeout: Duration,
    /// In bytes, after decompression.
    pub max_body: u64,
    /// The directory of cached responses.
    pub cache: Option<PathBuf>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            retry_policy: RetryPolicy {
                attempts: 4,
                read_timeout: Duration::from_secs(30),
                ..RetryPolicy::default()
            },
            total_timeout: Duration::from_mins(2),
            max_body: 16 * 1024 * 1024,
            cache: None,
        }
    }
}

/// The settings of every HTTP client: user agent, connection timeout, no redirection to plain HTTP.
pub fn client_builder(connect_timeout: Duration) -> ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("zfs-kmods/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect_timeout)
        .redirect(redirect::Policy::custom(follow))
}

/// Clones share connections, limits and counters.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    options: Arc<HttpOptions>,
    cache: Option<Cache>,
    counter: RequestCounter,
}

/// A complete response.
pub(crate) struct HttpResponse {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    pub fn new(options: HttpOptions) -> Result<Self, QueryError> {
        let client = client_builder(options.retry_policy.connect_timeout)
            .read_timeout(options.retry_policy.read_timeout)
            .timeout(options.total_timeout)
            .build()
            .map_err(|error| QueryError::Client { reason: error_chain(&error) })?;
        let cache = options.cache.clone().map(|directory| Cache::new(directory, options.max_body));
        Ok(Self { client, options: Arc::new(options), cache, counter: RequestCounter::default() })
    }

    /// Includes requests to GitHub and, in [`Upstream`](crate::Upstream), to registries.
    pub fn stats(&self) -> RequestStats {
        self.counter.stats()
    }

    /// Uses the cache if the server answers 304.
    pub(crate) async fn get(&self, url: &str, request: &RequestInfo) -> Result<HttpResponse, QueryError> {
        self.get_cached(url, request, |conditions| async move {
            let sent = self.client.get(url).headers(conditions).send().await;
            sent.map_err(|error| transport(request, &error))
        })
        .await
    }

    /// For documents that never change: a cached one is not requested again.
    pub(crate) async fn get_immutable(
        &self,
        url: &str,
        request: &RequestInfo,
    ) -> Result<HttpResponse, QueryError> {
        match self.load(url).await {
            Some(entry) => Ok(HttpResponse { headers: entry.headers(), body: entry.body }),
            None => self.get(url, request).await,
        }
    }

    /// For documents that never change once they pass the check: a cached one is not requested again.
    pub(crate) async fn get_checked<T>(
        &self,
        url: &str,
        request: &RequestInfo,
        check: impl Fn(&HttpResponse) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        if let Some(entry) = self.load(url).await
            && let Ok(checked) = check(&HttpResponse { headers: entry.headers(), body: entry.body })
        {
            return Ok(checked);
        }
        let response = self.get(url, request).await?;
        let checked = check(&response)?;
        self.store(url, &response, Cache::store_always).await;
        Ok(checked)
    }

    pub(crate) async fn head(&self, url: &str, request: &RequestInfo) -> Result<HeaderMap, QueryError> {
        let send =
            || async { self.client.head(url).send().await.map_err(|error| transport(request, &error)) };
        self.options
            .retry_policy
            .retry(|| async { Ok(self.accept(request, send().await)?.headers().clone()) })
            .await
    }

    /// Like [`Http::get`], for requests that another client sends.
    pub(crate) async fn get_cached<S, F>(
        &self,
        url: &str,
        request: &RequestInfo,
        send: S,
    ) -> Result<HttpResponse, QueryError>
    where
        S: Fn(HeaderMap) -> F,
        F: Future<Output = Result<Response, QueryError>>,
    {
        let entry = self.load(url).await;
        let conditions = entry.as_ref().map(cache::Entry::conditions).unwrap_or_default();
        let fetched = self
            .options
            .retry_policy
            .retry(|| async {
                let response = self.accept(request, send(conditions.clone()).await)?;
                match response.status() {
                    StatusCode::NOT_MODIFIED => Ok(None),
                    _ => self.read(request, response).await.map(Some),
                }
            })
            .await?;
        match (fetched, entry) {
            (Some(answer), _) => {
                self.store(url, &answer, Cache::store).await;
                Ok(answer)
            }
            (None, Some(entry)) => Ok(HttpResponse { headers: entry.headers(), body: entry.body }),
            (None, None) => Err(QueryError::Status { request: request.clone(), status: 304, until: None }),
        }
    }

    /// For octocrab's requests.
    pub(crate) const fn client(&self) -> &reqwest::Client {
        &self.client
    }

    pub(crate) const fn counter(&self) -> &RequestCounter {
        &self.counter
    }

    /// Counts a request. Every status but success and `304 Not Modified` is an error.
    fn accept(
        &self,
        request: &RequestInfo,
        sent: Result<Response, QueryError>,
    ) -> Result<Response, QueryError> {
        self.counter.count_request();
        let response = sent?;
        let status = response.status();
        tracing::debug!(url = request.url, status = status.as_u16(), "response");
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        Err(refusal(request.clone(), status, response.headers()))
    }

    async fn read(&self, request: &RequestInfo, mut response: Response) -> Result<HttpResponse, QueryError> {
        let headers = std::mem::take(response.headers_mut());
        let limit = self.options.max_body;
        let mut body = BytesMut::new();
        while let Some(part) = response.chunk().await.map_err(|error| transport(request, &error))? {
            self.counter.count_bytes(part.len());
            body.extend_from_slice(&part);
            // Checked while reading: `Content-Length` may be missing or wrong.
            if body.len() as u64 > limit {
                return Err(QueryError::TooLarge { request: request.clone(), limit });
            }
        }
        Ok(HttpResponse { headers, body: body.freeze() })
    }

    async fn load(&self, url: &str) -> Option<cache::Entry> {
        let (cache, url) = (self.cache.clone()?, url.to_owned());
        tokio::task::spawn_blocking(move || cache.load(&url)).await.ok()?
    }

    async fn store(
        &self,
        url: &str,
        answer: &HttpResponse,
        store: impl Fn(&Cache, &str, &HeaderMap, &Bytes) -> std::io::Result<()> + Send + 'static,
    ) {
        let Some(cache) = self.cache.clone() else { return };
        let (url, headers, body) = (url.to_owned(), answer.headers.clone(), answer.body.clone());
        let stored = tokio::task::spawn_blocking(move || store(&cache, &url, &headers, &body)).await;
        if let Ok(Err(error)) = stored {
            tracing::debug!(%error, "not cached");
        }
    }
}

impl HttpResponse {
    /// The text of a JSON document. [`QueryError::Html`] for a web page.
    pub(crate) fn json(&self, request: &RequestInfo) -> Result<&str, QueryError> {
        let content_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let first = self.body.iter().find(|byte| !byte.is_ascii_whitespace());
        if content_type.to_ascii_lowercase().contains("html") || first == Some(&b'<') {
            return Err(QueryError::Html { request: request.clone() });
        }
        std::str::from_utf8(&self.body)
            .map_err(|error| FormatError::Json { reason: error.to_string() }.at(request))
    }
}

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let from_here = attempt.previous().iter().all(is_loopback_url);
    if !(attempt.url().scheme() == "https" || from_here && is_loopback_url(attempt.url())) {
        attempt.error("refused to be redirected to plain HTTP")
    } else if attempt.previous().len() > 10 {
        attempt.error("redirected more than ten times")
    } else {
        attempt.follow()
    }
}

fn is_loopback_url(url: &reqwest::Url) -> bool {
    url.host_str().is_some_and(is_loopback)
}

/// Whether a URL is `https`, or on this machine.
pub fn is_protected(url: &str) -> bool {
    url.parse().is_ok_and(|url: reqwest::Url| {
        url.scheme() == "https" || url.scheme() == "http" && is_loopback_url(&url)
    })
}

/// The error of a request without a complete response. The URL is in `request`.
pub(crate) fn transport(request: &RequestInfo, error: &reqwest::Error) -> QueryError {
    let request = request.clone();
    let reason = || std::error::Error::source(error).map_or_else(|| error.to_string(), error_chain);
    if error.is_timeout() {
        QueryError::Timeout { request }
    } else if error.is_builder() || error.is_redirect() {
        QueryError::InvalidUrl { url: request.url, reason: reason() }
    } else {
        QueryError::Unreachable { request, reason: reason() }
    }
}

fn refusal(request: RequestInfo, status: StatusCode, headers: &HeaderMap) -> QueryError {
    let now = Timestamp::now();
    let until = retry_after(headers, now).and_then(|wait| now.checked_add(wait).ok());
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => QueryError::NotFound { request },
        StatusCode::TOO_MANY_REQUESTS => QueryError::TooManyRequests { request, until },
        // GitHub also answers 403 when a rate limit is exceeded, with its reset time.
        StatusCode::FORBIDDEN if until.is_some() => QueryError::TooManyRequests { request, until },
        StatusCode::FORBIDDEN => QueryError::Forbidden { request },
        StatusCode::UNAUTHORIZED => QueryError::Unauthorized { request },
        _ => QueryError::Status { request, status: status.as_u16(), until },
    }
}
