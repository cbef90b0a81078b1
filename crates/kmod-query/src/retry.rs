//! Timeouts, retries, and delays that servers ask for.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder, Retryable as _};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{HeaderMap, RETRY_AFTER};

#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    pub attempts: usize,
    /// Doubled after each further failure.
    pub first_delay: Duration,
    pub longest_delay: Duration,
    pub connect_timeout: Duration,
    /// Registries take tens of seconds to commit a large blob (GoogleContainerTools/jib#4301), hence at least two
    /// minutes there.
    pub read_timeout: Duration,
    /// How often written content is read back (tags are stale for seconds on GHCR: NVIDIA/nodewright-packages#132).
    pub read_backs: usize,
}

impl Default for RetryPolicy {
    /// For registries.
    fn default() -> Self {
        Self {
            attempts: 6,
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(150),
            read_backs: 8,
        }
    }
}

pub trait RetryableError: std::fmt::Display {
    fn is_retryable(&self, policy: &RetryPolicy) -> bool;

    /// The delay that the server asks for.
    fn wanted_delay(&self) -> Option<Duration>;
}

impl RetryPolicy {
    /// Retries temporary errors with growing delays or those that the server asks for.
    pub async fn retry<T, E: RetryableError, F>(&self, attempt: impl FnMut() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let (mut retry, retries) = (0, self.attempts.saturating_sub(1));
        attempt
            .retry(self.delays(self.attempts))
            .when(|error: &E| error.is_retryable(self))
            .adjust(|error, planned| {
                // GHCR asks for microseconds, but then limits the next request too.
                let wanted = |wait: Duration, planned: Duration| {
                    wait.clamp(planned.min(self.first_delay), self.longest_delay)
                };
                planned.map(|planned| error.wanted_delay().map_or(planned, |wait| wanted(wait, planned)))
            })
            .notify(|error, delay| {
                retry += 1;
                tracing::warn!(
                    "retrying in {:.0} s ({retry}/{retries}): {error}",
                    delay.as_secs_f64().ceil()
                );
            })
            .await
    }

    /// Checks until true, with growing delays: after writes, tags and lists may be stale for seconds.
    pub async fn poll_until<E>(&self, mut check: impl AsyncFnMut() -> Result<bool, E>) -> Result<bool, E> {
        if check().await? {
            return Ok(true);
        }
        for delay in self.delays(self.read_backs).build() {
            tokio::time::sleep(delay).await;
            if check().await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn delays(&self, attempts: usize) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_min_delay(self.first_delay)
            .with_max_delay(self.longest_delay)
            .with_max_times(attempts.saturating_sub(1))
            .with_jitter()
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), or GitHub's rate limit headers. Zero for a time in the
/// past.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let until = if let Some(wait) = text(RETRY_AFTER.as_str()) {
        if let Ok(seconds) = wait.parse::<u32>() {
            return Some(Duration::from_secs(seconds.into()));
        }
        DateTimeParser::new().relaxed_weekday(true).parse_timestamp(wait).ok()?
    } else {
        let reset = text("x-ratelimit-reset").filter(|_| text("x-ratelimit-remaining") == Some("0"))?;
        Timestamp::from_second(reset.parse().ok()?).ok()?
    };
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &str)], seconds: Option<u64>) {
        let now: Timestamp = "2026-11-20T18:00:00Z".parse().unwrap();
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        assert_eq!(retry_after(&headers.collect(), now), seconds.map(Duration::from_secs));
    }

    #[test]
    fn every_way_of_asking_to_wait_is_understood() {
        check(&[("retry-after", "90")], Some(90));
        check(&[("retry-after", "Fri, 20 Nov 2026 18:41:12 GMT")], Some(41 * 60 + 12));
        check(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], Some(0));
        check(&[("retry-after", "soon")], None);
        check(&[("retry-after", "-1")], None);
        check(&[("retry-after", "99999999999999999999")], None);
        check(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795200000")], Some(40 * 60));
        check(&[("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "1795200000")], None);
        check(&[], None);
    }
}
