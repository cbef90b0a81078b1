use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::TempDir;

use super::error::Files;
use super::{ContentsError, Hashing, Written};
use crate::model::Digest;
use crate::model::packages::PackageGroup;

/// An RPM that is in the target now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// Where it is.
    pub file: PathBuf,
    /// Of which use it is.
    pub group: PackageGroup,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub digest: Digest,
    /// How it came to be there.
    pub state: State,
}

/// How an RPM came to be in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was not there before.
    Written,
    /// Another file of this name was there.
    Replaced,
    /// It was there, and the same.
    Present,
}

impl State {
    /// `written`, `replaced` or `present`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Replaced => "replaced",
            Self::Present => "present",
        }
    }
}

/// A directory beside the target: on the same file system, so that files can be renamed into it.
pub(super) fn staging(target: &Path) -> Result<TempDir, ContentsError> {
    let parent = match target.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        // The root of the file system, or the current directory.
        None => target,
    };
    let make = || {
        fs::create_dir_all(parent)?;
        tempfile::Builder::new().prefix(".zfs-kmods-").tempdir_in(parent)
    };
    make().map_err(|error| ContentsError::Io { path: parent.to_owned(), error })
}

/// Gives files their final names; see [`super::Contents::extract`].
pub(super) fn place(
    written: Vec<Written>,
    staging: &Path,
    target: &Path,
    replace: bool,
) -> Result<Vec<Placed>, ContentsError> {
    let mut placed = Vec::new();
    for Written { path, group, size, digest } in written {
        let file = target.join(&path);
        let state =
            state(&file, size, &digest).map_err(|error| ContentsError::Io { path: file.clone(), error })?;
        placed.push((path, Placed { file, group, size, digest, state }));
    }
    let differing: Vec<_> = placed
        .iter()
        .filter(|(_, placed)| placed.state == State::Replaced)
        .map(|(_, placed)| placed.file.clone())
        .collect();
    if !replace && !differing.is_empty() {
        return Err(ContentsError::Differs { files: Files(differing) });
    }
    for (path, Placed { file, state, .. }) in &placed {
        if *state == State::Present {
            continue;
        }
        let rename = || {
            if let Some(directory) = file.parent() {
                fs::create_dir_all(directory)?;
            }
            fs::rename(staging.join(path), file)
        };
        rename().map_err(|error| ContentsError::Io { path: file.clone(), error })?;
    }
    let mut placed: Vec<_> = placed.into_iter().map(|(_, placed)| placed).collect();
    placed.sort_by(|one, other| (one.group, &one.file).cmp(&(other.group, &other.file)));
    Ok(placed)
}

/// What placing a file here will come to.
fn state(file: &Path, size: u64, digest: &Digest) -> io::Result<State> {
    let metadata = match fs::symlink_metadata(file) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Written),
        Err(error) => return Err(error),
    };
    // A link may lead anywhere; it is not the file, whatever it leads to.
    if !metadata.is_file() || metadata.len() != size {
        return Ok(State::Replaced);
    }
    let mut hashing = Hashing::new(File::open(file)?);
    io::copy(&mut hashing, &mut io::sink())?;
    let (_, found, _) = hashing.finish();
    Ok(if found == *digest { State::Present } else { State::Replaced })
}
