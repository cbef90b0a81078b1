use std::fmt;
use std::str::FromStr;

use crate::serde_as_text;

/// A released version of OpenZFS, such as `2.4.3`.
///
/// Release candidates (`2.4.0-rc1`) and development tags (`2.4.99`) are not released versions and
/// have their own errors ([openzfs/zfs#12213](https://github.com/openzfs/zfs/issues/12213)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZfsVersion {
    line: ZfsLine,
    patch: u64,
}

impl ZfsVersion {
    pub const fn line(self) -> ZfsLine {
        self.line
    }

    /// The upstream git tag and the stem of the release's file names: `zfs-2.4.3`.
    pub fn tag(self) -> String {
        format!("zfs-{self}")
    }
}

impl fmt::Display for ZfsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.line, self.patch))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseZfsVersionError {
    /// The suffix of a release candidate, such as `-rc1`.
    #[error("`{0}` is a release candidate of OpenZFS, not a released version (expected e.g. `2.4.0`)")]
    ReleaseCandidate(String),
    /// A patch number of 99, by which upstream marks a development branch.
    #[error("`{0}` is a development tag of OpenZFS, not a released version (expected e.g. `2.4.0`)")]
    Development(String),
    #[error("`{0}` is not a released OpenZFS version (expected e.g. `2.4.0`)")]
    Malformed(String),
}

impl FromStr for ZfsVersion {
    type Err = ParseZfsVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let version = semver::Version::parse(text).ok().filter(|version| version.build.is_empty());
        let Some(version) = version else { return Err(ParseZfsVersionError::Malformed(text.to_owned())) };
        if is_release_candidate(&version.pre) {
            return Err(ParseZfsVersionError::ReleaseCandidate(text.to_owned()));
        }
        // `2.4.0-1` is how packages write it; upstream has no such suffix.
        if !version.pre.is_empty() {
            return Err(ParseZfsVersionError::Malformed(text.to_owned()));
        }
        if version.patch == 99 {
            return Err(ParseZfsVersionError::Development(text.to_owned()));
        }
        Ok(Self { line: ZfsLine { major: version.major, minor: version.minor }, patch: version.patch })
    }
}

/// Upstream numbers its candidates `rc1`, `rc2` and so on.
fn is_release_candidate(suffix: &str) -> bool {
    suffix
        .strip_prefix("rc")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

serde_as_text!(ZfsVersion);

/// A line of OpenZFS releases, such as `2.4`: all versions that differ in the patch number only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZfsLine {
    major: u64,
    minor: u64,
}

impl fmt::Display for ZfsLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.major, self.minor))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a line of OpenZFS releases (expected e.g. `2.4`)")]
pub struct ParseZfsLineError(String);

impl FromStr for ZfsLine {
    type Err = ParseZfsLineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A line is a version without its patch number; `2.4.0` is one without adding anything.
        match format!("{text}.0").parse::<ZfsVersion>() {
            Ok(version) if text.matches('.').count() == 1 => Ok(version.line),
            _ => Err(ParseZfsLineError(text.to_owned())),
        }
    }
}

serde_as_text!(ZfsLine);

#[cfg(test)]
mod tests;
