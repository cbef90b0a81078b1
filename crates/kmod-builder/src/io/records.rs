//! The directory of command records, and the output files of GitHub Actions.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{atomic_file, environment};
use crate::model::ci_report::CommandRecord;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RecordsError {
    #[error("cannot read the records in {}", path.display())]
    #[diagnostic(help("name the directory that the commands of this run wrote to with --record"))]
    Unreadable {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("invalid record {}: {error}", path.display())]
    #[diagnostic(help("all commands of a run must be of the same version of this program"))]
    Malformed {
        /// The file, inside the directory of records.
        path: PathBuf,
        error: serde_json::Error,
    },
}

/// Writes a record atomically.
pub fn write(directory: &Path, record: &CommandRecord) -> io::Result<()> {
    let text = format!("{}\n", serde_json::to_string_pretty(record)?);
    atomic_file::write(&directory.join(record.file_name()), text)
}

/// All records, by file name. A missing directory has none: no job wrote a record.
pub fn read(directory: &Path) -> Result<Vec<CommandRecord>, RecordsError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error| RecordsError::Unreadable { path, error }
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(directory)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable(directory))?.path();
        if path.extension() == Some(OsStr::new("json")) {
            files.push(path);
        }
    }
    files.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).map_err(unreadable(&path))?;
        serde_json::from_slice(&bytes).map_err(|error| RecordsError::Malformed { path, error })
    };
    files.into_iter().map(read).collect()
}

/// Appends outputs of this step, for later steps and jobs of a workflow; does nothing outside GitHub Actions.
pub fn append_outputs(outputs: &[(&str, String)]) -> io::Result<()> {
    let lines: Vec<_> = outputs.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    append("GITHUB_OUTPUT", &lines.concat())
}

/// Appends Markdown to the job summary; does nothing outside GitHub Actions.
pub fn append_summary(text: &str) -> io::Result<()> {
    append("GITHUB_STEP_SUMMARY", text)
}

/// To the [file](https://docs.github.com/actions/reference/workflow-commands-for-github-actions) that the variable names.
fn append(variable: &str, text: &str) -> io::Result<()> {
    let Some(path) = environment::path(variable) else { return Ok(()) };
    File::options().append(true).create(true).open(path)?.write_all(text.as_bytes())
}
