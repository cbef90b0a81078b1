//! The keys that sign OpenZFS's releases, `compat/openzfs-keys.toml`.

use std::fmt;
use std::str::FromStr;

use miette::{Diagnostic, NamedSource, SourceSpan};
use serde::de::DeserializeOwned;

use crate::serde_as_text;

/// Of an OpenPGP key, version 4: 40 upper-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyFingerprint(String);

impl KeyFingerprint {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the fingerprint of an OpenPGP key (expected 40 upper-case hexadecimal digits)")]
pub struct ParseKeyFingerprintError(String);

impl FromStr for KeyFingerprint {
    type Err = ParseKeyFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hexadecimal = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
        if text.len() == 40 && hexadecimal {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseKeyFingerprintError(text.to_owned()))
        }
    }
}

serde_as_text!(KeyFingerprint);

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseKey {
    /// The release manager.
    pub name: String,
    /// Of the primary key.
    pub fingerprint: KeyFingerprint,
    /// Where the fingerprint can be checked.
    #[serde(deserialize_with = "crate::matrix::link")]
    pub source: String,
}

/// The keys whose signatures of releases count.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseKeys {
    #[serde(rename = "key")]
    keys: Vec<ReleaseKey>,
}

impl ReleaseKeys {
    /// `name` is what the error calls the text, usually its path.
    pub fn parse(name: &str, text: &str) -> Result<Self, KeyListError> {
        KeyListError::parse(name, text, "`name`, `fingerprint` and `source`")
    }

    /// `compat/openzfs-keys.toml` as of the build of the program.
    pub fn embedded() -> Result<Self, KeyListError> {
        Self::parse("compat/openzfs-keys.toml", include_str!("../../../compat/openzfs-keys.toml"))
    }

    /// Keys that are known already are left out.
    pub fn extend(&mut self, others: Self) {
        for key in others.keys {
            if !self.keys.iter().any(|known| known.fingerprint == key.fingerprint) {
                self.keys.push(key);
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &ReleaseKey> {
        self.keys.iter()
    }
}

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`{}` is not a valid list of keys: {reason}", .text.name())]
#[diagnostic(help("each `[[key]]` has {members}, all strings"))]
pub struct KeyListError {
    reason: Box<str>,
    members: &'static str,
    #[label("here")]
    span: SourceSpan,
    #[source_code]
    text: NamedSource<String>,
}

impl KeyListError {
    pub(crate) fn parse<T: DeserializeOwned>(
        name: &str,
        text: &str,
        members: &'static str,
    ) -> Result<T, Self> {
        toml::from_str(text).map_err(|error| Self {
            reason: error.message().into(),
            members,
            span: error.span().unwrap_or_default().into(),
            text: NamedSource::new(name, text.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_keys_are_those_that_openzfs_documents() {
        let keys = ReleaseKeys::embedded().unwrap();
        let ids: Vec<_> = keys.iter().map(|key| &key.fingerprint.as_str()[32..]).collect();
        assert_eq!(ids, ["D4598027", "C6AF658B", "C77B9667"]);
    }

    #[test]
    fn a_faulty_list_is_refused_with_the_reason() {
        let row = "[[key]]\nname = \"a\"\nfingerprint = \"F\"\nsource = \"https://example.org/\"\n";
        let reason = |text: &str| ReleaseKeys::parse("keys.toml", text).unwrap_err().to_string();
        assert!(reason(row).contains("`F` is not the fingerprint of an OpenPGP key"), "{}", reason(row));
        let good = row.replace("\"F\"", &format!("\"{}\"", "4F".repeat(20)));
        assert_eq!(ReleaseKeys::parse("keys.toml", &good).unwrap().iter().count(), 1);
        for (from, to) in [("4F4F", "4f4f"), ("https", "ftp"), ("name", "nome"), ("[[key]]", "[[kex]]")] {
            assert!(ReleaseKeys::parse("keys.toml", &good.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
