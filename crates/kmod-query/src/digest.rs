use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::serde_as_text;

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits (OCI image specification,
/// `descriptor.md`, "Registered Algorithms").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

const PREFIX: &str = "sha256:";

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    pub fn finish(hash: Sha256) -> Self {
        Self(format!("{PREFIX}{:x}", hash.finalize()))
    }

    /// The 64 hexadecimal digits without the algorithm.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    /// The first twelve hexadecimal digits, for display only.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest (expected `sha256:` and 64 lower-case hexadecimal digits)")]
pub struct ParseDigestError(String);

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex =
            |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match text.strip_prefix(PREFIX) {
            Some(hex) if is_hex(hex) => Ok(Self(text.to_owned())),
            _ => Err(ParseDigestError(text.to_owned())),
        }
    }
}

serde_as_text!(Digest);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lower_case_digests_are_parsed() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b""), empty.parse().unwrap());
        assert_eq!(empty.parse::<Digest>().unwrap().to_string(), empty);
        for bad in [
            "",
            "sha256:",
            &empty[7..],
            &empty.to_uppercase(),
            &empty[..70],
            "sha512:00",
            &format!("{empty}0"),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
