use serde::{Deserialize, Serialize};

/// The member `schema` of a stored document: `{"name": "cleanup-plan", "version": 2}`; in version 1 a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StoredSchema {
    Number(u32),
    Named {
        /// The kind of the document.
        name: String,
        /// Increased when earlier programs would misread the document.
        version: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported schema {found}, this program reads {name} up to version {latest}")]
pub struct UnsupportedSchema {
    found: String,
    name: &'static str,
    latest: u32,
}

impl StoredSchema {
    pub(crate) fn new(name: &str, version: u32) -> Self {
        Self::Named { name: name.to_owned(), version }
    }

    pub(crate) fn require(&self, name: &'static str, latest: u32) -> Result<(), UnsupportedSchema> {
        let (is_known, found) = match self {
            Self::Number(version) => (*version == 1, version.to_string()),
            Self::Named { name: found, version } => {
                (found == name && *version <= latest, format!("{found} {version}"))
            }
        };
        if is_known { Ok(()) } else { Err(UnsupportedSchema { found, name, latest }) }
    }
}
