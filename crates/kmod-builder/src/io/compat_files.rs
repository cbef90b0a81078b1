//! The compatibility matrix and the list of release keys as files of the user.

use std::path::{Path, PathBuf};

use kmod_compat::{
    AddRowError, CompatMatrix, DeclaredRelease, FedoraKeys, KeyListError, MatrixError, ReleaseKeys,
};

use super::atomic_file;
use crate::model::config::PublisherConfig;

pub fn read_keys(file: &Path) -> Result<ReleaseKeys, CompatFileError> {
    Ok(ReleaseKeys::parse(&name(file), &read(file)?)?)
}

pub fn built_in_keys_and(files: &[PathBuf]) -> Result<ReleaseKeys, CompatFileError> {
    let mut keys = ReleaseKeys::embedded()?;
    for file in files {
        keys.extend(read_keys(file)?);
    }
    Ok(keys)
}

/// Without a file, the keys that are built in.
pub fn read_fedora_keys(file: Option<&Path>) -> Result<FedoraKeys, CompatFileError> {
    match file {
        None => Ok(FedoraKeys::embedded()?),
        Some(file) => Ok(FedoraKeys::parse(&name(file), &read(file)?)?),
    }
}

/// A file that rows are added to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowsFile {
    Matrix(PathBuf),
    Configuration(PathBuf),
}

impl RowsFile {
    pub fn path(&self) -> &Path {
        let (Self::Matrix(path) | Self::Configuration(path)) = self;
        path
    }

    /// The matrix in the file, or that of the configuration in it.
    pub fn read_matrix(&self) -> Result<CompatMatrix, CompatFileError> {
        let (name, text) = (name(self.path()), read(self.path())?);
        match self {
            Self::Matrix(_) => Ok(CompatMatrix::parse(&name, &text)?),
            Self::Configuration(_) => Ok(PublisherConfig::parse(&name, &text)?.matrix()?),
        }
    }

    /// Reads the file again, so that what was written into it meanwhile stays.
    pub fn add_rows(&self, releases: &[DeclaredRelease]) -> Result<(), CompatFileError> {
        let file = self.path();
        let mut text = read(file)?;
        for release in releases {
            text = match self {
                Self::Matrix(_) => CompatMatrix::add_row(&name(file), &text, &release.row())?,
                Self::Configuration(_) => PublisherConfig::add_row(&name(file), &text, release)?,
            };
        }
        atomic_file::write(file, text).map_err(|error| CompatFileError::Io { path: name(file), error })
    }
}

fn name(file: &Path) -> String {
    file.display().to_string()
}

fn read(file: &Path) -> Result<String, CompatFileError> {
    std::fs::read_to_string(file).map_err(|error| CompatFileError::Io { path: name(file), error })
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CompatFileError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Keys(#[from] KeyListError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Matrix(#[from] MatrixError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    AddRow(#[from] AddRowError),
    #[error("cannot read or write {path}")]
    Io {
        path: String,
        #[source]
        error: std::io::Error,
    },
}
