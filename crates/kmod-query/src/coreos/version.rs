use std::fmt;
use std::str::FromStr;

use kmod_compat::FedoraVersion;

use crate::serde_as_text;

/// Each has one row in [`STREAMS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    Stable,
    Testing,
    Next,
}

struct StreamRow {
    stream: Stream,
    /// In upstream's URLs, flags and tags.
    name: &'static str,
    /// Has channel tags that hosts follow; `plan` and `cleanup` include it by default.
    has_channel: bool,
}

/// In the order of the enum, which is the order of plans.
const STREAMS: &[StreamRow] = &[
    StreamRow { stream: Stream::Stable, name: "stable", has_channel: true },
    StreamRow { stream: Stream::Testing, name: "testing", has_channel: true },
    StreamRow { stream: Stream::Next, name: "next", has_channel: true },
];

impl Stream {
    pub fn all() -> impl Iterator<Item = Self> {
        STREAMS.iter().map(|row| row.stream)
    }

    /// Only streams with channel tags that hosts follow.
    pub fn with_channel() -> impl Iterator<Item = Self> {
        STREAMS.iter().filter(|row| row.has_channel).map(|row| row.stream)
    }

    pub const fn has_channel(self) -> bool {
        STREAMS[self as usize].has_channel
    }

    pub const fn name(self) -> &'static str {
        STREAMS[self as usize].name
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a stream of Fedora CoreOS (expected one of {names})", names = names())]
pub struct ParseStreamError(String);

fn names() -> String {
    Stream::all().map(|stream| format!("`{stream}`")).collect::<Vec<_>>().join(", ")
}

impl FromStr for Stream {
    type Err = ParseStreamError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::all().find(|stream| stream.name() == text).ok_or_else(|| ParseStreamError(text.to_owned()))
    }
}

serde_as_text!(Stream);

/// Fedora release, date of the packages, stream number, and revision.
///
/// Ordered by these numbers, which is the order of release within a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreOsVersion {
    fedora: FedoraVersion,
    date: u32,
    stream: u32,
    count: u32,
}

impl CoreOsVersion {
    pub const fn fedora(self) -> FedoraVersion {
        self.fedora
    }
}

impl fmt::Display for CoreOsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08}.{}.{}", self.fedora, self.date, self.stream, self.count)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version of Fedora CoreOS (expected e.g. `43.20260301.3.1`)")]
pub struct ParseCoreOsVersionError(String);

impl FromStr for CoreOsVersion {
    type Err = ParseCoreOsVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let parts: [&str; 4] = text.split('.').collect::<Vec<_>>().try_into().ok()?;
            let [fedora, date, stream, count] = parts;
            let fedora = fedora.parse().ok()?;
            let date = number(date).filter(|_| date.len() == 8)?;
            Some(Self { fedora, date, stream: number(stream)?, count: number(count)? })
        };
        // Used in URLs, so only the canonical form is accepted.
        parse()
            .filter(|version| version.to_string() == text)
            .ok_or_else(|| ParseCoreOsVersionError(text.to_owned()))
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

serde_as_text!(CoreOsVersion);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let mut versions = ["43.20260301.3.10", "43.20260301.3.9", "44.20260101.3.0", "43.20260215.3.0"]
            .map(|text| text.parse::<CoreOsVersion>().unwrap());
        versions.sort_unstable();
        let sorted = versions.map(|version| version.to_string());
        assert_eq!(sorted, ["43.20260215.3.0", "43.20260301.3.9", "43.20260301.3.10", "44.20260101.3.0"]);
        assert_eq!(versions[0].fedora().number(), 43);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "43",
            "43.20260301.3",
            "43.20260301.20.dev1",
            "43.2026031.3.0",
            "43.20260301.3.01",
            "../x.1.2",
        ] {
            assert!(text.parse::<CoreOsVersion>().is_err(), "{text}");
        }
        assert_eq!("stable".parse(), Ok(Stream::Stable));
        assert!(Stream::all().zip(0..).all(|(stream, row)| stream as usize == row));
        let error = "testing-devel".parse::<Stream>().unwrap_err().to_string();
        assert!(error.ends_with("(expected one of `stable`, `testing`, `next`)"), "{error}");
    }
}
