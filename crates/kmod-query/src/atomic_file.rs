//! Atomic file writes.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// Replaces a file durably and creates missing directories. The mode is 0644.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    persist(unfinished(path, bytes.as_ref())?, path)
}

/// Replaces a cache file without waiting for the disk.
pub fn write_cached(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    unfinished(path, bytes.as_ref())?.persist(path)?;
    Ok(())
}

/// Renames a finished file durably. It must be on the file system of `path`.
pub fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    // tempfile creates files with mode 0600.
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    // Without both syncs, a crash could leave the name without the content, or neither.
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder(path))?.sync_all()
}

fn unfinished(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    fs::create_dir_all(folder(path))?;
    let mut file = NamedTempFile::new_in(folder(path))?;
    file.write_all(bytes)?;
    Ok(file)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/file");
        write_cached(&path, "one").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
