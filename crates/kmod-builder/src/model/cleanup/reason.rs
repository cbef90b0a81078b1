use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::model::Digest;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionReason {
    /// In kebab-case: of a [`KeepRule`](super::KeepRule) or of [`DELETE_REASONS`](super::DELETE_REASONS).
    pub id: String,
    pub text: String,
    /// The values in the sentence; digests in full.
    #[serde(flatten)]
    pub details: BTreeMap<String, Value>,
}

pub(super) type Details = Vec<(&'static str, String)>;

impl RetentionReason {
    /// Replaces the names of details in braces by their values.
    pub(super) fn new(id: &str, sentence: &str, details: Details) -> Self {
        let mut text = sentence.to_owned();
        for (name, value) in &details {
            let digest = value.parse::<Digest>();
            text = text.replace(&format!("{{{name}}}"), digest.as_ref().map_or(value, Digest::short));
        }
        let details = details.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        Self { id: id.to_owned(), text, details }
    }

    /// Reads any version. Version 1 has a string: in plans the id, in journals the sentence.
    pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum AnyVersion {
            Text(String),
            Reason(RetentionReason),
        }
        Ok(match AnyVersion::deserialize(deserializer)? {
            AnyVersion::Text(text) => Self { id: String::new(), text, details: BTreeMap::new() },
            AnyVersion::Reason(reason) => reason,
        })
    }
}
