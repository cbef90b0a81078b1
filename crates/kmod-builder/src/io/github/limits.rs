use std::time::Duration;

use jiff::Timestamp;

/// How fast GitHub is asked, and how long is waited where it says "not now".
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The least time between two changes. GitHub asks for a second
    /// ([best practices](https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api)).
    pub between_changes: Duration,
    /// How long is waited where GitHub does not say how long: it asks for a minute at least.
    pub unsaid: Duration,
    /// The longest that one request waits in all. A limit that lasts longer ends the run, which can go on later.
    pub longest: Duration,
    /// The wait after the first failure of a server or connection; each further one is twice as long.
    pub first_delay: Duration,
    /// How often a request is made before such a failure is final.
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

/// An answer's status and what belongs to it, as far as limits go.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) status: u16,
    /// `Retry-After`, in seconds.
    pub(super) retry_after: Option<String>,
    /// `x-ratelimit-remaining`.
    pub(super) remaining: Option<String>,
    /// `x-ratelimit-reset`, in seconds since 1970.
    pub(super) reset: Option<String>,
    /// GitHub's sentence.
    pub(super) message: String,
}

impl Told {
    /// How long to wait before asking again, if this is a limit at all: a plain 403 is a refusal, and waiting does not
    /// help against it. The secondary limit comes as 403 with `Retry-After`, while requests remain
    /// (kairos-io/kairos#4651), or with nothing but its sentence.
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
        // A limit that has just ended is still a reason for a breath.
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
