//! How long and how often a registry is asked: the only place that retries.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::error::{OciError, RegistryError};

/// How patient the client is with a registry.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// How often a request is made before its failure is final.
    pub attempts: usize,
    /// The wait after the first failure; each further one is twice as long.
    pub first_delay: Duration,
    /// No wait is longer, whatever the registry asks for.
    pub longest_delay: Duration,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long nothing may move. Registries take tens of seconds to commit a large blob
    /// (GoogleContainerTools/jib#4301), hence no less than two minutes.
    pub read_timeout: Duration,
    /// How often what was written is read back before it counts as not settled
    /// (on GHCR tags show old answers for seconds: NVIDIA/nodewright-packages#132).
    pub read_backs: usize,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_mins(1),
            connect: Duration::from_secs(10),
            read_timeout: Duration::from_secs(150),
            read_backs: 8,
        }
    }
}

impl RetryPolicy {
    /// Makes an attempt until it succeeds, fails for good, or the attempts are used up.
    pub(super) async fn insist<T, F>(&self, attempt: impl FnMut() -> F) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>>,
    {
        attempt
            .retry(self.delays(self.attempts))
            .when(RegistryError::is_temporary)
            .adjust(|error, planned| {
                planned.map(|planned| match error.retry_after() {
                    // Microseconds are what GHCR asks for; its limit is gone by then, our next request is not.
                    Some(asked) => asked.clamp(planned.min(self.first_delay), self.longest_delay),
                    None => planned,
                })
            })
            .notify(|error, delay| tracing::warn!(%error, ?delay, "trying again"))
            .await
    }

    /// Reads until the answer is the one that was written: `Ok(true)`; `Ok(false)` where it never was.
    pub(super) async fn settle(
        &self,
        mut check: impl AsyncFnMut() -> Result<bool, RegistryError>,
    ) -> Result<bool, RegistryError> {
        use backon::BackoffBuilder as _;
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

/// How long the registry asks us to wait: the header `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), or
/// GHCR's `retry-after: 880.092µs` in the message of a 429 (dependabot/cli#380).
pub(super) fn retry_after(headers: &HeaderMap, oci_errors: &[OciError]) -> Option<Duration> {
    let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    header
        .and_then(|text| in_seconds(text).or_else(|| at_date(text)))
        .or_else(|| oci_errors.iter().find_map(|oci_error| in_words(&oci_error.message.to_ascii_lowercase())))
}

fn in_seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

fn at_date(text: &str) -> Option<Duration> {
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    // A date that has passed asks for no wait.
    Some(Duration::try_from(date.duration_since(jiff::Timestamp::now())).unwrap_or(Duration::ZERO))
}

fn in_words(message: &str) -> Option<Duration> {
    let (_, rest) = message.split_once("retry-after: ")?;
    let number_end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = rest.split_at(number_end);
    let unit_end = unit.find(|letter: char| !letter.is_alphabetic()).unwrap_or(unit.len());
    let seconds = match &unit[..unit_end] {
        "ns" => 1e-9,
        "µs" | "μs" | "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(header: Option<&str>, message: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(RETRY_AFTER, header.parse().unwrap());
        }
        retry_after(&headers, &[OciError { code: String::new(), message: message.to_owned() }])
    }

    #[test]
    fn every_way_to_ask_for_a_wait_is_understood() {
        assert_eq!(wait(Some("7"), ""), Some(Duration::from_secs(7)));
        assert_eq!(wait(Some("Wed, 21 Oct 2015 07:28:00 GMT"), ""), Some(Duration::ZERO));
        assert!(
            wait(Some("Thu, 01 Jan 2099 00:00:00 GMT"), "").is_some_and(|wait| wait.as_secs() > 1_000_000)
        );
        let ghcr = "retry-after: 880.092µs, allowed: 44000/minute";
        assert_eq!(wait(None, ghcr), Some(Duration::from_nanos(880_092)));
        assert_eq!(wait(None, "Retry-After: 2s"), Some(Duration::from_secs(2)));
        assert_eq!(wait(None, "retry-after: soon"), None);
        assert_eq!(wait(Some("soon"), "no"), None);
    }
}
