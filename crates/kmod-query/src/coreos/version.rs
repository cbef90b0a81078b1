use std::fmt;
use std::str::FromStr;

use kmod_compat::FedoraVersion;

use crate::serde_as_text;

/// A stream of Fedora CoreOS that its users follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// What most run; promoted from `testing` after about two weeks.
    Stable,
    /// What `stable` will be.
    Testing,
    /// What comes after: newer kernels, and the next Fedora before its release.
    Next,
}

impl Stream {
    /// Every stream, in the order in which plans list them.
    pub const ALL: [Self; 3] = [Self::Stable, Self::Testing, Self::Next];

    /// The name in upstream's addresses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Testing => "testing",
            Self::Next => "next",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a stream of Fedora CoreOS (expected `stable`, `testing` or `next`)")]
pub struct ParseStreamError(String);

impl FromStr for Stream {
    type Err = ParseStreamError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|stream| stream.name() == text)
            .ok_or_else(|| ParseStreamError(text.to_owned()))
    }
}

serde_as_text!(Stream);

/// A version of Fedora CoreOS: Fedora's release, the date of its packages, the stream's number, a count.
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
    /// The release of Fedora.
    pub const fn fedora(self) -> FedoraVersion {
        self.fedora
    }
}

impl fmt::Display for CoreOsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08}.{}.{}", self.fedora, self.date, self.stream, self.count)
    }
}

/// The text is no version of Fedora CoreOS.
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
        // The text becomes part of addresses: only the one spelling of a version is a version.
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
        assert!("testing-devel".parse::<Stream>().is_err());
    }
}
