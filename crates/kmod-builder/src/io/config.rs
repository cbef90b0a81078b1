//! Finds and reads `zfs-kmods.toml`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kmod_compat::toml_document::TomlDocumentError;

use crate::model::config::PublisherConfig;

/// The file; without one, that in the current directory, if it exists. Also returns where it was found.
pub fn read(file: Option<&Path>) -> Result<(PublisherConfig, Option<PathBuf>), ConfigFileError> {
    let path = file.unwrap_or(Path::new(PublisherConfig::FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if file.is_none() && error.kind() == ErrorKind::NotFound => {
            return Ok((PublisherConfig::default(), None));
        }
        Err(error) => return Err(ConfigFileError::Io { path: path.display().to_string(), error }),
    };
    let config = PublisherConfig::parse(&path.display().to_string(), &text)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    Ok((config.relative_to(directory), Some(path.to_owned())))
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ConfigFileError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(#[from] TomlDocumentError),
    #[error("cannot read the configuration {path}")]
    #[diagnostic(help("name a file that can be read with --config or ZFS_KMODS_CONFIG, or leave both out"))]
    Io {
        path: String,
        #[source]
        error: std::io::Error,
    },
}
