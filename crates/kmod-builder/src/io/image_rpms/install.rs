use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::TempDir;

use super::{Hashing, ImageRpmsError, StagedRpm};
use crate::model::Digest;
use crate::model::packages::PackageGroup;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExtractedRpm {
    pub file: PathBuf,
    pub group: PackageGroup,
    /// In bytes.
    pub size: u64,
    pub digest: Digest,
    pub state: ExtractState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtractState {
    Written,
    Replaced,
    Present,
}

impl ExtractState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Replaced => "replaced",
            Self::Present => "present",
        }
    }
}

/// On the target's file system, so that files can be renamed into it.
pub(super) fn staging(target: &Path) -> Result<TempDir, ImageRpmsError> {
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
    make().map_err(|error| ImageRpmsError::Io { path: parent.to_owned(), source: error })
}

/// Renames files to their final names; see [`super::ImageRpms::extract`].
pub(super) fn install(
    written: Vec<StagedRpm>,
    staging: &Path,
    target: &Path,
    replace: bool,
) -> Result<Vec<ExtractedRpm>, ImageRpmsError> {
    let mut extracted = Vec::new();
    for StagedRpm { path, group, size, digest } in written {
        let file = target.join(&path);
        let state = state(&file, size, &digest)
            .map_err(|error| ImageRpmsError::Io { path: file.clone(), source: error })?;
        extracted.push((path, ExtractedRpm { file, group, size, digest, state }));
    }
    let replaced = |(_, extracted): &&(_, ExtractedRpm)| extracted.state == ExtractState::Replaced;
    if !replace && let Some((_, first)) = extracted.iter().find(replaced) {
        let file = first.file.display();
        let files = match extracted.iter().filter(replaced).count() - 1 {
            0 => format!("{file} is"),
            more => format!("{file} and {more} more are"),
        };
        return Err(ImageRpmsError::Differs { files });
    }
    for (path, ExtractedRpm { file, state, .. }) in &extracted {
        if *state == ExtractState::Present {
            continue;
        }
        let rename = || {
            if let Some(directory) = file.parent() {
                fs::create_dir_all(directory)?;
            }
            fs::rename(staging.join(path), file)
        };
        rename().map_err(|error| ImageRpmsError::Io { path: file.clone(), source: error })?;
    }
    let mut extracted: Vec<_> = extracted.into_iter().map(|(_, extracted)| extracted).collect();
    extracted.sort_by(|one, other| (one.group, &one.file).cmp(&(other.group, &other.file)));
    Ok(extracted)
}

fn state(file: &Path, size: u64, digest: &Digest) -> io::Result<ExtractState> {
    let metadata = match fs::symlink_metadata(file) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ExtractState::Written),
        Err(error) => return Err(error),
    };
    // A link is never accepted as the file.
    if !metadata.is_file() || metadata.len() != size {
        return Ok(ExtractState::Replaced);
    }
    let mut hashing = Hashing::new(File::open(file)?);
    io::copy(&mut hashing, &mut io::sink())?;
    let (_, found, _) = hashing.finish();
    Ok(if found == *digest { ExtractState::Present } else { ExtractState::Replaced })
}
