use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// A recipe, `Containerfile.in`, whose images are built again although they are proven.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct FaultyRecipe {
    #[serde(deserialize_with = "digest")]
    template: String,
    #[serde(deserialize_with = "super::parse::reason")]
    reason: String,
    #[serde(deserialize_with = "super::parse::link")]
    source: String,
}

impl FaultyRecipe {
    /// The digest of the template, as the inputs of a build have it: `sha256:` and 64 hexadecimal digits.
    pub fn template(&self) -> &str {
        &self.template
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub fn source(&self) -> &str {
        &self.source
    }
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if hex.len() == 64 && hex.bytes().all(is_hex) {
        return Ok(text);
    }
    Err(D::Error::custom(format!("`{text}` is not `sha256:` and 64 lower-case hexadecimal digits")))
}
