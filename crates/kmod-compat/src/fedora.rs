use std::fmt;
use std::str::FromStr;

use crate::serde_as_text;

/// A Fedora release number, such as `43`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FedoraVersion(u16);

impl FedoraVersion {
    /// The number itself.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for FedoraVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is no Fedora release number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a Fedora release number (expected e.g. `43`)")]
pub struct ParseFedoraVersionError(String);

impl FromStr for FedoraVersion {
    type Err = ParseFedoraVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            // Fedora CoreOS began with 30; four digits are far beyond any release, but not beyond a typing error.
            Ok(number @ 30..=999) if plain => Ok(Self(number)),
            _ => Err(ParseFedoraVersionError(text.to_owned())),
        }
    }
}

serde_as_text!(FedoraVersion);
