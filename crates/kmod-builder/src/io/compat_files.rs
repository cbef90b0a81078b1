//! The compatibility matrix and the list of release keys as files of the user.

use std::path::Path;

use kmod_compat::{AddRowError, CompatMatrix, DeclaredRelease, MatrixError, ReleaseKeys, ReleaseKeysError};

use super::atomic_file;

/// Without a file, the keys that are built in.
pub fn read_keys(file: Option<&Path>) -> Result<ReleaseKeys, CompatFileError> {
    match file {
        None => Ok(ReleaseKeys::embedded()?),
        Some(file) => Ok(ReleaseKeys::parse(&name(file), &read(file)?)?),
    }
}

/// Without a file, the matrix that is built in.
pub fn read_matrix(file: Option<&Path>) -> Result<CompatMatrix, CompatFileError> {
    match file {
        None => Ok(CompatMatrix::embedded()?),
        Some(file) => Ok(CompatMatrix::parse(&name(file), &read(file)?)?),
    }
}

/// Reads the file again, so that what was written into it meanwhile stays.
pub fn add_rows(file: &Path, releases: &[DeclaredRelease]) -> Result<(), CompatFileError> {
    let mut text = read(file)?;
    for release in releases {
        text = CompatMatrix::add_row(&name(file), &text, &release.row())?;
    }
    atomic_file::write(file, text).map_err(|error| CompatFileError::Io { path: name(file), error })
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
    Keys(#[from] ReleaseKeysError),
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
