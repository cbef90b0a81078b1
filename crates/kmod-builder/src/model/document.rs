//! JSON members that all documents share.

use std::borrow::Cow;
use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

use super::Target;
use super::image::DigestRef;

/// The member `schema`. The version is increased when a member is renamed, removed or changes its meaning, but not
/// when one is added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentSchema {
    name: Cow<'static, str>,
    version: u32,
}

impl DocumentSchema {
    pub const fn new(name: &'static str, version: u32) -> Self {
        Self { name: Cow::Borrowed(name), version }
    }

    /// Reads the schema of a document with this name and at most this version; version 1 may be only the number.
    pub fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum AnyVersion {
            Number(u32),
            Named(DocumentSchema),
        }
        let found = match AnyVersion::deserialize(deserializer)? {
            AnyVersion::Number(1) => return Ok(self),
            AnyVersion::Named(found) if found.name == self.name && found.version <= self.version => {
                return Ok(self);
            }
            AnyVersion::Number(version) => version.to_string(),
            AnyVersion::Named(found) => format!("{} {}", found.name, found.version),
        };
        let Self { name, version } = self;
        Err(D::Error::custom(format_args!(
            "unsupported schema {found}, this program reads {name} up to version {version}"
        )))
    }
}

/// The member `image`.
pub fn image<S: Serializer>(image: &DigestRef, serializer: S) -> Result<S::Ok, S::Error> {
    json!({ "reference": image.to_string(), "digest": image.digest }).serialize(serializer)
}

/// The member `image`, or null.
pub fn optional_image<S: Serializer>(of: &Option<DigestRef>, serializer: S) -> Result<S::Ok, S::Error> {
    match of {
        Some(of) => image(of, serializer),
        None => serializer.serialize_none(),
    }
}

/// The member `target`.
pub fn target<S: Serializer>(target: &Target, serializer: S) -> Result<S::Ok, S::Error> {
    json!({ "zfs": target.zfs, "kernel": target.kernel, "arch": target.arch() }).serialize(serializer)
}

/// The member `target`, or null.
pub fn optional_target<S: Serializer>(of: &Option<Target>, serializer: S) -> Result<S::Ok, S::Error> {
    match of {
        Some(of) => target(of, serializer),
        None => serializer.serialize_none(),
    }
}

/// Rounded to a tenth.
pub fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 10.0).round() / 10.0)
}
