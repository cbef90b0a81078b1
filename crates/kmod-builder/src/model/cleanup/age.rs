use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use kmod_compat::serde_as_text;

/// A duration in hours, days or weeks: `24h`, `90d`, `12w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    hours: u32,
}

/// Written as `50%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentage {
    percent: u8,
}

serde_as_text!(Age);
serde_as_text!(Percentage);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseLimitError {
    text: String,
    expected: &'static str,
}

impl Age {
    pub const fn hours(hours: u32) -> Self {
        Self { hours }
    }

    pub const fn days(days: u16) -> Self {
        Self { hours: days as u32 * 24 }
    }

    /// False if `since` is in the future.
    pub fn has_passed(self, since: Timestamp, now: Timestamp) -> bool {
        now.duration_since(since) >= SignedDuration::from_hours(self.hours.into())
    }
}

impl Percentage {
    pub const HALF: Self = Self { percent: 50 };

    pub const fn is_exceeded_by(self, part: usize, whole: usize) -> bool {
        part as u128 * 100 > whole as u128 * self.percent as u128
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hours {
            hours if hours > 0 && hours.is_multiple_of(24) => f.pad(&format!("{}d", hours / 24)),
            hours => f.pad(&format!("{hours}h")),
        }
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}%", self.percent))
    }
}

impl FromStr for Age {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hours = || {
            let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
            let factor = match unit {
                "h" => 1,
                "d" => 24,
                "w" => 7 * 24,
                _ => return None,
            };
            // The limit of 100 years keeps time arithmetic from overflowing.
            digits::<u32>(number)?.checked_mul(factor).filter(|hours| *hours <= 100 * 366 * 24)
        };
        let expected = "an age (expected a whole number of hours, days or weeks, e.g. `24h`, `90d`, `12w`)";
        hours().map(Self::hours).ok_or_else(|| ParseLimitError { text: text.to_owned(), expected })
    }
}

impl FromStr for Percentage {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = text.strip_suffix('%').and_then(digits).filter(|percent| *percent <= 100);
        let expected = "a percentage (expected a whole number from `0%` to `100%`)";
        percent
            .map(|percent| Self { percent })
            .ok_or_else(|| ParseLimitError { text: text.to_owned(), expected })
    }
}

/// Without a sign.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_survive_being_written_and_read() {
        for (text, written) in [("24h", "1d"), ("90d", "90d"), ("2w", "14d"), ("5h", "5h"), ("0d", "0h")] {
            let age: Age = text.parse().unwrap();
            assert_eq!(age.to_string(), written);
            assert_eq!(written.parse(), Ok(age));
        }
        for bad in ["", "d", "90", "90 d", "-1d", "+1d", "1m", "1.5d", "99999999w", "9é"] {
            assert!(bad.parse::<Age>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_age_has_not_passed_for_a_time_in_the_future() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let passed = |since: &str| Age::days(90).has_passed(since.parse().unwrap(), now);
        assert!(passed("2026-03-03T00:00:00Z") && !passed("2026-03-03T00:00:01Z"));
        assert!(!passed("9999-01-01T00:00:00Z") && passed("-009999-01-02T01:59:59Z"));
    }

    #[test]
    fn percentages_are_exact() {
        assert!(Percentage::HALF.is_exceeded_by(2, 3) && !Percentage::HALF.is_exceeded_by(1, 2));
        assert!("0%".parse::<Percentage>().unwrap().is_exceeded_by(1, usize::MAX));
        assert!(!"100%".parse::<Percentage>().unwrap().is_exceeded_by(7, 7));
        for bad in ["", "%", "50", "101%", "-1%", "+1%", "0.5"] {
            assert!(bad.parse::<Percentage>().is_err(), "{bad}");
        }
    }
}
