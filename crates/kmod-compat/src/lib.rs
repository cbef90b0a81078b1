//! Versions of kernels and of OpenZFS, and the matrix of which support which.
//!
//! This crate is pure: no clock, files, network, environment or async. `kmod-query` finds out which versions exist
//! upstream; `kmod-builder` builds for them.

mod arch;
mod checksum;
mod declared;
mod fedora;
mod fedora_keys;
mod kernel;
mod keys;
mod matrix;
mod meta;
mod nevra;
pub mod toml_document;
mod verdict;
mod zfs;

pub use arch::{Arch, ParseArchError};
pub use checksum::{ParseTarballSha256Error, TarballSha256};
pub use declared::{DeclaredRelease, Disagreement, ReleaseStatements, SignedChecksum};
pub use fedora::{FedoraVersion, ParseFedoraVersionError};
pub use fedora_keys::{FedoraKey, FedoraKeys};
pub use kernel::{
    KernelRelease, KernelSeries, KernelVersionPrefix, ParseKernelReleaseError, ParseKernelSeriesError,
    ParseKernelVersionPrefixError,
};
pub use keys::{KeyFingerprint, KeyListError, ParseKeyFingerprintError, ReleaseKey, ReleaseKeys};
pub use matrix::{
    AddRowError, CompatMatrix, Exclusion, FaultyRecipe, MatrixError, MatrixPolicy, MatrixRow, MatrixRows,
    MetaConflict, MissingRows, Severity, UnlistedReleasePolicy,
};
pub use meta::{Meta, MetaError};
pub use nevra::{Nevra, ParseNevraError};
pub use verdict::{Incompatibility, IncompatibilityCause, Verdict};
pub use zfs::{ParseZfsLineError, ParseZfsVersionError, ZfsLine, ZfsVersion};

/// (De)serializes through `FromStr` and `Display`, so that command line, TOML and JSON share one parser.
#[macro_export]
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};
    use std::str::FromStr;

    use serde::Serialize;
    use serde::de::DeserializeOwned;

    /// The value of a text, which is also its JSON.
    #[track_caller]
    pub(crate) fn round_trip<T>(text: &str) -> T
    where
        T: FromStr<Err: Debug> + Display + Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let value: T = text.parse().unwrap();
        assert_eq!(value.to_string(), text);
        let json = serde_json::to_string(&value).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<T>(&json).unwrap(), value);
        value
    }
}
