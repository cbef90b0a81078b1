//! The one HTTP client: timeouts, size caps, repetitions, counting and the cache live here and nowhere else.

mod cache;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::{Bytes, BytesMut};
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode, redirect};
use sha2::{Digest, Sha256};

use crate::{Asked, QueryError};
use cache::Cache;

/// The limits of the client.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Sent with every request, so that upstream can tell who asks.
    pub user_agent: String,
    /// The longest time until a connection stands.
    pub connect_timeout: Duration,
    /// The longest silence: until the answer begins, and between two parts of it.
    pub read_timeout: Duration,
    /// The longest time for a whole request with its answer.
    pub total_timeout: Duration,
    /// The largest body, counted after decompression, that is read.
    pub max_body: u64,
    /// How often a request is made at most, when the failures are temporary.
    pub attempts: usize,
    /// The pause before the first repetition; each further one is twice as long.
    pub first_delay: Duration,
    /// The longest pause. A server that asks for a longer one is not asked again.
    pub longest_wait: Duration,
    /// Where answers are kept, for conditional requests. None keeps nothing.
    pub cache: Option<PathBuf>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            user_agent: USER_AGENT.to_owned(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_mins(2),
            max_body: 16 * 1024 * 1024,
            attempts: 4,
            first_delay: Duration::from_millis(500),
            longest_wait: Duration::from_mins(1),
            cache: None,
        }
    }
}

pub(crate) const USER_AGENT: &str = concat!("zfs-kmods/", env!("CARGO_PKG_VERSION"));

/// What was spent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests sent, repetitions included, redirections not.
    pub requests: u64,
    /// Bytes of bodies read, after decompression; so rather more than went over the wire.
    pub bytes: u64,
}

/// The client. Clones share connections, limits and counters.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    options: Arc<HttpOptions>,
    cache: Option<Cache>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// A successful answer, whole.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    /// A client with these limits.
    pub fn new(options: HttpOptions) -> Result<Self, QueryError> {
        let client = reqwest::Client::builder()
            .user_agent(&options.user_agent)
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout)
            .timeout(options.total_timeout)
            .redirect(redirect::Policy::custom(follow))
            .build()
            .map_err(|error| QueryError::Client { reason: chain(&error) })?;
        let cache = options.cache.clone().map(|directory| Cache::new(directory, options.max_body));
        Ok(Self { client, options: Arc::new(options), cache, counters: Arc::default() })
    }

    /// Requests and bytes so far, those for GitHub and registries included.
    pub fn usage(&self) -> Usage {
        Usage {
            requests: self.counters.requests.load(Ordering::Relaxed),
            bytes: self.counters.bytes.load(Ordering::Relaxed),
        }
    }

    /// Fetches a public document, from the cache if the server says that it has not changed.
    pub(crate) async fn get(&self, url: &str, asked: &Asked) -> Result<Answer, QueryError> {
        self.get_cached(url, asked, |conditions| async move {
            let request = self.client.get(url).headers(conditions);
            request.send().await.map_err(|error| transport(asked, &error))
        })
        .await
    }

    /// Fetches a public document that never changes once it is there: what the cache has is not asked for again.
    pub(crate) async fn get_settled(&self, url: &str, asked: &Asked) -> Result<Answer, QueryError> {
        match self.load(url).await {
            Some(entry) => Ok(Answer { headers: entry.headers(), body: entry.body }),
            None => self.get(url, asked).await,
        }
    }

    /// Asks only whether something is there.
    pub(crate) async fn head(&self, url: &str, asked: &Asked) -> Result<HeaderMap, QueryError> {
        let send = || async { self.client.head(url).send().await.map_err(|error| transport(asked, &error)) };
        self.retry(|| async { Ok(self.accept(asked, send().await)?.headers().clone()) }).await
    }

    /// Like [`Http::get`], for requests that someone else's client sends.
    pub(crate) async fn get_cached<S, F>(
        &self,
        url: &str,
        asked: &Asked,
        send: S,
    ) -> Result<Answer, QueryError>
    where
        S: Fn(HeaderMap) -> F,
        F: Future<Output = Result<Response, QueryError>>,
    {
        let entry = self.load(url).await;
        let conditions = entry.as_ref().map(cache::Entry::conditions).unwrap_or_default();
        let fetched = self
            .retry(|| async {
                let response = self.accept(asked, send(conditions.clone()).await)?;
                match response.status() {
                    StatusCode::NOT_MODIFIED => Ok(None),
                    _ => self.read(asked, response).await.map(Some),
                }
            })
            .await?;
        match (fetched, entry) {
            (Some(answer), _) => {
                self.store(url, &answer).await;
                Ok(answer)
            }
            (None, Some(entry)) => Ok(Answer { headers: entry.headers(), body: entry.body }),
            (None, None) => Err(QueryError::Status { asked: asked.clone(), status: 304, until: None }),
        }
    }

    /// A request that must not be cached, whole with its answer.
    pub(crate) async fn exchange<S, F>(&self, asked: &Asked, send: S) -> Result<Answer, QueryError>
    where
        S: Fn() -> F,
        F: Future<Output = Result<Response, reqwest::Error>>,
    {
        self.retry(|| async {
            let outcome = send().await.map_err(|error| transport(asked, &error));
            let response = self.accept(asked, outcome)?;
            self.read(asked, response).await
        })
        .await
    }

    /// Repeats what fails for a while, with growing pauses or those that the server asks for.
    pub(crate) async fn retry<T, S, F>(&self, action: S) -> Result<T, QueryError>
    where
        S: FnMut() -> F,
        F: Future<Output = Result<T, QueryError>>,
    {
        let policy = ExponentialBuilder::default()
            .with_min_delay(self.options.first_delay)
            .with_max_delay(self.options.longest_wait)
            .with_max_times(self.options.attempts.saturating_sub(1))
            .with_jitter();
        action
            .retry(policy)
            .when(QueryError::is_temporary)
            .adjust(|error, pause| self.pause(error, pause))
            .notify(|error, pause| tracing::debug!(%error, ?pause, "asking again"))
            .await
    }

    /// None ends the repetitions.
    fn pause(&self, error: &QueryError, pause: Option<Duration>) -> Option<Duration> {
        let pause = pause?;
        let Some(until) = error.until() else { return Some(pause) };
        // A date in the past asks for no pause at all, but a server in trouble is better left alone a moment.
        let wanted = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
        (wanted <= self.options.longest_wait).then(|| wanted.max(self.options.first_delay))
    }

    /// The underlying client, for requests that go through [`Http::exchange`] and its like.
    pub(crate) const fn client(&self) -> &reqwest::Client {
        &self.client
    }

    pub(crate) fn options(&self) -> &HttpOptions {
        &self.options
    }

    pub(crate) fn count_requests(&self, requests: u64) {
        self.counters.requests.fetch_add(requests, Ordering::Relaxed);
    }

    /// Counts, and turns every status but success and `304 Not Modified` into its error.
    fn accept(&self, asked: &Asked, sent: Result<Response, QueryError>) -> Result<Response, QueryError> {
        self.count_requests(1);
        let response = sent?;
        let status = response.status();
        tracing::debug!(url = asked.url, status = status.as_u16(), "asked");
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        Err(refusal(asked.clone(), status, response.headers()))
    }

    async fn read(&self, asked: &Asked, mut response: Response) -> Result<Answer, QueryError> {
        let headers = std::mem::take(response.headers_mut());
        let limit = self.options.max_body;
        let mut body = BytesMut::new();
        while let Some(part) = response.chunk().await.map_err(|error| transport(asked, &error))? {
            self.counters.bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
            body.extend_from_slice(&part);
            // Checked while reading, after decompression: the announced length may be absent or a lie.
            if body.len() as u64 > limit {
                return Err(QueryError::TooLarge { asked: asked.clone(), limit });
            }
        }
        Ok(Answer { headers, body: body.freeze() })
    }

    async fn load(&self, url: &str) -> Option<cache::Entry> {
        let (cache, url) = (self.cache.clone()?, url.to_owned());
        tokio::task::spawn_blocking(move || cache.load(&url)).await.ok()?
    }

    async fn store(&self, url: &str, answer: &Answer) {
        let Some(cache) = self.cache.clone() else { return };
        let (url, headers, body) = (url.to_owned(), answer.headers.clone(), answer.body.clone());
        let stored = tokio::task::spawn_blocking(move || cache.store(&url, &headers, &body)).await;
        if let Ok(Err(error)) = stored {
            tracing::debug!(%error, "the answer could not be cached");
        }
    }
}

impl Answer {
    /// The text of a JSON document. A web page in its place is told apart from broken JSON.
    pub(crate) fn json(&self, asked: &Asked) -> Result<&str, QueryError> {
        let content_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let first = self.body.iter().find(|byte| !byte.is_ascii_whitespace());
        if content_type.to_ascii_lowercase().contains("html") || first == Some(&b'<') {
            return Err(QueryError::Html { asked: asked.clone() });
        }
        std::str::from_utf8(&self.body)
            .map_err(|error| QueryError::InvalidJson { asked: asked.clone(), reason: error.to_string() })
    }
}

pub(crate) fn sha256_hex(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}

/// What came over an authenticated connection must not be replaced by what comes over an open one.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let secure = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if secure && attempt.url().scheme() != "https" {
        attempt.error("refused to be redirected from https to http")
    } else if attempt.previous().len() > 10 {
        attempt.error("redirected more than ten times")
    } else {
        attempt.follow()
    }
}

/// The error of a request that got no answer, or only part of one.
pub(crate) fn transport(asked: &Asked, error: &reqwest::Error) -> QueryError {
    let asked = asked.clone();
    if error.is_timeout() {
        QueryError::Timeout { asked }
    } else if error.is_builder() || error.is_redirect() {
        QueryError::InvalidUrl { url: asked.url, reason: chain(error) }
    } else {
        QueryError::Unreachable { asked, reason: chain(error) }
    }
}

/// The causes of an error, which the libraries leave out of its own text.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    // Wrappers repeat the text of what they wrap.
    texts.dedup();
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

fn refusal(asked: Asked, status: StatusCode, headers: &HeaderMap) -> QueryError {
    let until = asked_to_wait(headers, Timestamp::now());
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => QueryError::NotFound { asked },
        StatusCode::TOO_MANY_REQUESTS => QueryError::TooManyRequests { asked, until },
        // GitHub says "rate limit exceeded" with 403 as well; only then it also says until when.
        StatusCode::FORBIDDEN if until.is_some() => QueryError::TooManyRequests { asked, until },
        StatusCode::FORBIDDEN => QueryError::Forbidden { asked },
        StatusCode::UNAUTHORIZED => QueryError::Unauthorized { asked },
        _ => QueryError::Status { asked, status: status.as_u16(), until },
    }
}

/// `Retry-After` in both its forms, or GitHub's own headers when its limit is used up.
fn asked_to_wait(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(wait) = text(RETRY_AFTER.as_str()) {
        return match wait.parse::<u32>() {
            Ok(seconds) => now.checked_add(SignedDuration::from_secs(seconds.into())).ok(),
            // Nobody needs the weekday, so nobody is refused for a wrong one.
            Err(_) => DateTimeParser::new().relaxed_weekday(true).parse_timestamp(wait).ok(),
        };
    }
    let exhausted = text("x-ratelimit-remaining") == Some("0");
    let reset = text("x-ratelimit-reset").filter(|_| exhausted)?;
    Timestamp::from_second(reset.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &str)], expected: Option<&str>) {
        let now: Timestamp = "2026-11-20T18:00:00Z".parse().unwrap();
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let expected = expected.map(|text| text.parse().unwrap());
        assert_eq!(asked_to_wait(&headers.collect(), now), expected);
    }

    #[test]
    fn every_way_of_asking_to_wait() {
        check(&[("retry-after", "90")], Some("2026-11-20T18:01:30Z"));
        check(&[("retry-after", "Fri, 20 Nov 2026 18:41:12 GMT")], Some("2026-11-20T18:41:12Z"));
        check(&[("retry-after", "soon")], None);
        check(&[("retry-after", "-1")], None);
        check(&[("retry-after", "99999999999999999999")], None);
        check(
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795200000")],
            Some("2026-11-20T18:40:00Z"),
        );
        check(&[("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "1795200000")], None);
        check(&[], None);
    }
}
