use std::time::Duration;

use jiff::Timestamp;

/// Request rate and waits for GitHub's API.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Minimum time between two changes; GitHub recommends one second ([best
    /// practices](https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api)).
    pub between_changes: Duration,
    /// Wait if GitHub gives no duration; GitHub recommends at least a minute.
    pub unsaid: Duration,
    /// Longest total wait of one request. A longer limit ends the run, which can continue later.
    pub longest: Duration,
    /// Wait after the first server or connection failure; doubles with each further one.
    pub first_delay: Duration,
    /// Attempts before such a failure is final.
    pub attempts: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            between_changes: Duration::from_secs(1),
            unsaid: Duration::from_mins(1),
            longest: Duration::from_mins(10),
            first_delay: Duration::from_millis(500),
            attempts: 5,
        }
    }
}

/// Status and rate limit headers of a response.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) status: u16,
    /// `Retry-After`, in seconds.
    pub(super) retry_after: Option<String>,
    /// `x-ratelimit-remaining`.
    pub(super) remaining: Option<String>,
    /// `x-ratelimit-reset`, in seconds since 1970.
    pub(super) reset: Option<String>,
    /// GitHub's message.
    pub(super) message: String,
}

impl Told {
    /// How long to wait before a retry; `None` if this is no rate limit. A plain 403 is a rejection. The secondary
    /// limit is a 403 with `Retry-After` while requests remain (kairos-io/kairos#4651), or with only its message.
    pub(super) fn wait(&self, now: Timestamp, pace: &Pace) -> Option<Duration> {
        let used_up = self.remaining.as_deref() == Some("0");
        let message = self.message.to_ascii_lowercase();
        let secondary = message.contains("secondary rate limit") || message.contains("abuse detection");
        let limited = match self.status {
            429 => true,
            403 => self.retry_after.is_some() || used_up || secondary,
            _ => false,
        };
        if !limited {
            return None;
        }
        let seconds = |text: &Option<String>| text.as_deref()?.trim().parse::<i64>().ok();
        let asked = seconds(&self.retry_after).or_else(|| {
            seconds(&self.reset).filter(|_| used_up).map(|reset| (reset - now.as_second()).max(0))
        });
        let asked = asked.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        // A limit that has just ended still gets a short wait.
        Some(asked.unwrap_or(pace.unsaid).max(pace.first_delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(status: u16, headers: [Option<&str>; 3], message: &str) -> Option<u64> {
        let [retry_after, remaining, reset] = headers.map(|value| value.map(str::to_owned));
        let told = Told { status, retry_after, remaining, reset, message: message.to_owned() };
        let now = Timestamp::from_second(1_000_000).unwrap();
        let pace = Pace { first_delay: Duration::ZERO, ..Pace::default() };
        told.wait(now, &pace).map(|wait| wait.as_secs())
    }

    #[test]
    fn limits_are_told_from_refusals() {
        assert_eq!(wait(403, [Some("7"), Some("4000"), None], "secondary"), Some(7));
        assert_eq!(wait(403, [None, Some("0"), Some("1000090")], ""), Some(90));
        assert_eq!(wait(403, [None, Some("0"), Some("1")], ""), Some(0));
        assert_eq!(wait(429, [None; 3], ""), Some(60));
        assert_eq!(wait(403, [None; 3], "You have exceeded a secondary rate limit."), Some(60));
        assert_eq!(wait(403, [None, Some("4999"), Some("1000090")], "Resource not accessible"), None);
        assert_eq!(wait(404, [Some("1"), None, None], ""), None);
        assert_eq!(wait(200, [None, Some("0"), Some("1000090")], ""), None);
    }
}
