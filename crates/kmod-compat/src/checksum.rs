use std::fmt;
use std::str::FromStr;

use crate::serde_as_text;

/// The sha256 of a release's tarball, as `sha256sum` prints it: 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TarballSha256(String);

impl TarballSha256 {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TarballSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a sha256 (expected 64 lower-case hexadecimal digits, as `sha256sum` prints them)")]
pub struct ParseTarballSha256Error(String);

impl FromStr for TarballSha256 {
    type Err = ParseTarballSha256Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hexadecimal = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() == 64 && hexadecimal {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseTarballSha256Error(text.to_owned()))
        }
    }
}

serde_as_text!(TarballSha256);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_sha256sum_does_not_print() {
        let good = "1f08f2d154f5189b5f1382848a32667b3d34066145b474c49cd3d41a5fba59a7";
        let bad = [
            String::new(),
            good.to_uppercase(),
            good[1..].to_owned(),
            format!("{good}0"),
            format!("sha256:{good}"),
            good.replace('f', "g"),
            "é".repeat(32),
        ];
        assert!(good.parse::<TarballSha256>().is_ok());
        for text in bad {
            assert!(text.parse::<TarballSha256>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn digests_survive_a_round_trip(text in "[0-9a-f]{64}") {
            let digest: TarballSha256 = crate::tests::round_trip(&text);
            prop_assert_eq!(digest.as_str(), text);
        }
    }
}
