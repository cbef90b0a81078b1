use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A build or boot test that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAttempt {
    pub at: Timestamp,
    /// A sentence.
    pub reason: String,
}

/// Days until the next attempt, after the first, second, … failure; the last one repeats.
const DAYS: [i64; 4] = [1, 2, 4, 7];

/// Scheduled runs do not start at the same minute every day.
const TOLERANCE: SignedDuration = SignedDuration::from_hours(6);

/// The state of repeated attempts with the same inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    pub attempts: usize,
    /// The first failure.
    pub since: Timestamp,
    pub next: Timestamp,
    /// Of the last failure.
    pub reason: String,
}

impl Backoff {
    /// `None` without a failure. Times in the future count as `now`.
    pub fn of(failures: &[FailedAttempt], now: Timestamp) -> Option<Self> {
        let last = failures.iter().max_by_key(|attempt| attempt.at)?;
        let since = failures.iter().map(|attempt| attempt.at.min(now)).min()?;
        let days = DAYS[failures.len().min(DAYS.len()) - 1];
        let next = last.at.min(now) + SignedDuration::from_hours(24 * days) - TOLERANCE;
        Some(Self { attempts: failures.len(), since, next, reason: last.reason.clone() })
    }

    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.next
    }
}

/// A sentence.
impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempts, since, next, reason } = self;
        let times = if *attempts == 1 { "once".to_owned() } else { format!("{attempts} times") };
        let day = |time: &Timestamp| time.strftime("%Y-%m-%d %H:%M UTC").to_string();
        write!(f, "it failed {times} since {}, and is tried again after {}: {reason}", day(since), day(next))
    }
}
