use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A duration in hours, days or weeks: `24h`, `90d`, `12w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Age {
    hours: u32,
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

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hours {
            0 => f.pad("0h"),
            hours if hours.is_multiple_of(24) => f.pad(&format!("{}d", hours / 24)),
            hours => f.pad(&format!("{hours}h")),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a span of time (expected a whole number of hours, days or weeks, e.g. `24h`, `90d`, `12w`)"
)]
pub struct ParseAgeError(String);

impl FromStr for Age {
    type Err = ParseAgeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseAgeError(text.to_owned());
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(fail)?;
        let hours = match unit {
            "h" => 1,
            "d" => 24,
            "w" => 7 * 24,
            _ => return Err(fail()),
        };
        let plain = number.bytes().all(|byte| byte.is_ascii_digit());
        let number: u32 = number.parse().ok().filter(|_| plain).ok_or_else(fail)?;
        // The limit of 100 years keeps time arithmetic from overflowing.
        let hours = number.checked_mul(hours).filter(|hours| *hours <= 100 * 366 * 24).ok_or_else(fail)?;
        Ok(Self { hours })
    }
}

impl TryFrom<String> for Age {
    type Error = ParseAgeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Age> for String {
    fn from(age: Age) -> Self {
        age.to_string()
    }
}

/// Written as `50%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percentage {
    percent: u8,
}

impl Percentage {
    pub const HALF: Self = Self { percent: 50 };

    pub const fn is_exceeded_by(self, part: usize, whole: usize) -> bool {
        part as u128 * 100 > whole as u128 * self.percent as u128
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}%", self.percent))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a share (expected a whole percentage from `0%` to `100%`)")]
pub struct ParsePercentageError(String);

impl FromStr for Percentage {
    type Err = ParsePercentageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        match number.and_then(|number| number.parse().ok()) {
            Some(percent @ 0..=100) => Ok(Self { percent }),
            _ => Err(ParsePercentageError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Percentage {
    type Error = ParsePercentageError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Percentage> for String {
    fn from(share: Percentage) -> Self {
        share.to_string()
    }
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
    fn the_future_is_young() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let passed = |since: &str| Age::days(90).has_passed(since.parse().unwrap(), now);
        assert!(passed("2026-03-03T00:00:00Z") && !passed("2026-03-03T00:00:01Z"));
        assert!(!passed("9999-01-01T00:00:00Z") && passed("-009999-01-02T01:59:59Z"));
    }

    #[test]
    fn shares_are_exact() {
        assert!(Percentage::HALF.is_exceeded_by(2, 3) && !Percentage::HALF.is_exceeded_by(1, 2));
        assert!("0%".parse::<Percentage>().unwrap().is_exceeded_by(1, usize::MAX));
        assert!(!"100%".parse::<Percentage>().unwrap().is_exceeded_by(7, 7));
        for bad in ["", "%", "50", "101%", "-1%", "+1%", "0.5"] {
            assert!(bad.parse::<Percentage>().is_err(), "{bad}");
        }
    }
}
