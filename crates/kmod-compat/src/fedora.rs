use std::fmt;
use std::str::FromStr;

use crate::serde_as_text;

/// A Fedora release number, such as `43`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FedoraVersion(u16);

impl FedoraVersion {
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for FedoraVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rejects_implausible_releases() {
        for text in ["", "0", "29", "043", "+43", "-43", "43 ", "43.1", "f43", "rawhide", "1000", "65536"] {
            let error = text.parse::<FedoraVersion>().unwrap_err().to_string();
            assert_eq!(error, format!("`{text}` is not a Fedora release number (expected e.g. `43`)"));
        }
    }

    proptest! {
        #[test]
        fn text_and_json_survive_a_round_trip(number in 30_u16..=999) {
            let version: FedoraVersion = crate::tests::round_trip(&number.to_string());
            prop_assert_eq!(version.number(), number);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = text.parse::<FedoraVersion>();
        }
    }
}
