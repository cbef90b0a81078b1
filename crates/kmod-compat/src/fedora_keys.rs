//! The keys that sign Fedora's packages, `compat/fedora-keys.toml`.

use crate::{FedoraVersion, KeyFingerprint, KeyListError};

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FedoraKey {
    /// The release whose packages the key signs.
    pub fedora: FedoraVersion,
    /// Of the primary key.
    pub fingerprint: KeyFingerprint,
    /// The URL from which the key was taken.
    #[serde(deserialize_with = "crate::matrix::link")]
    pub source: String,
    /// The key, ASCII-armored (RFC 9580, section 6).
    pub armor: String,
}

impl FedoraKey {
    /// The last 8 digits in lower case, as Koji names the directory with the copies that the key signed.
    pub fn short_id(&self) -> String {
        self.fingerprint.as_str()[32..].to_ascii_lowercase()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FedoraKeys {
    #[serde(rename = "key")]
    keys: Vec<FedoraKey>,
}

impl FedoraKeys {
    /// `name` is what the error calls the text, usually its path.
    pub fn parse(name: &str, text: &str) -> Result<Self, KeyListError> {
        KeyListError::parse(name, text, "`fedora`, `fingerprint`, `source` and `armor`")
    }

    /// `compat/fedora-keys.toml` as of the build of the program.
    pub fn embedded() -> Result<Self, KeyListError> {
        Self::parse("compat/fedora-keys.toml", include_str!("../../../compat/fedora-keys.toml"))
    }

    pub fn iter(&self) -> impl Iterator<Item = &FedoraKey> {
        self.keys.iter()
    }

    pub fn of(&self, fedora: FedoraVersion) -> impl Iterator<Item = &FedoraKey> {
        self.iter().filter(move |key| key.fedora == fedora)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_keys_are_those_that_fedora_publishes() {
        let keys = FedoraKeys::embedded().unwrap();
        let ids: Vec<_> = keys.iter().map(|key| (key.fedora.number(), key.short_id())).collect();
        let expected =
            [(42, "105ef944"), (43, "31645531"), (44, "6d9f90a6"), (45, "f577861e"), (46, "91211fce")];
        assert_eq!(ids, expected.map(|(fedora, id)| (fedora, id.to_owned())));
        assert_eq!(keys.of("43".parse().unwrap()).count(), 1);
        assert_eq!(keys.of("41".parse().unwrap()).count(), 0);
    }

    #[test]
    fn a_faulty_list_of_keys_is_refused() {
        let good = format!(
            "[[key]]\nfedora = \"43\"\nfingerprint = \"{}\"\nsource = \"https://example.org/\"\narmor = \"\"\n",
            "4F".repeat(20)
        );
        assert_eq!(FedoraKeys::parse("keys.toml", &good).unwrap().iter().count(), 1);
        for (from, to) in [("4F4F", "4f4f"), ("https", "ftp"), ("\"43\"", "\"rawhide\""), ("armor", "amor")] {
            assert!(FedoraKeys::parse("keys.toml", &good.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
