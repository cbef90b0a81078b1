//! The directory of command records, and the output files of GitHub Actions.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use miette::{Result, miette};

use super::{atomic_file, environment};
use crate::model::ci_report::CommandRecord;

pub fn write(directory: &Path, record: &CommandRecord) -> io::Result<()> {
    let text = format!("{}\n", serde_json::to_string_pretty(record)?);
    atomic_file::write(&directory.join(record.file_name()), text)
}

/// All records, by file name. A missing directory has none: no job wrote a record.
pub fn read(directory: &Path) -> Result<Vec<CommandRecord>> {
    let unreadable = |path: &Path, error: &io::Error| {
        miette!(
            help = "name the directory that the run's commands wrote to with --record",
            "cannot read the records in {}: {error}",
            path.display()
        )
    };
    let mut files = match paths(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        paths => paths.map_err(|error| unreadable(directory, &error))?,
    };
    files.retain(|path| path.extension() == Some(OsStr::new("json")));
    files.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            miette!(
                help = "run all commands of a run with the same version of this program",
                "{} is not a command record: {error}",
                path.display()
            )
        })
    };
    files.into_iter().map(read).collect()
}

fn paths(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
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
