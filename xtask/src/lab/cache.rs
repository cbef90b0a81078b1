//! The lab's cache: expensive results, each in a directory named by the hash of its inputs.
//!
//! An entry is made in a temporary directory and then renamed, so an incomplete one is never used. One process at a time
//! uses the cache.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use crate::error::{Context, Result};
use crate::{terminal, tools};

/// The hash of an entry's inputs.
#[derive(Default)]
pub(crate) struct CacheKey(Sha256);

impl CacheKey {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with(mut self, part: impl AsRef<[u8]>) -> Self {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Adds another entry by its name, which does not depend on the cache's location.
    pub(crate) fn with_entry(self, entry: &Path) -> Self {
        self.with(entry.file_name().unwrap_or_default().as_encoded_bytes())
    }

    fn short(self) -> String {
        format!("{:x}", self.0.finalize())[..16].to_owned()
    }
}

/// SHA-256, hexadecimal.
pub(crate) fn digest(bytes: impl AsRef<[u8]>) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

pub(crate) struct LabCache {
    root: PathBuf,
    _lock: File,
}

impl LabCache {
    /// Locks the lab's directory for this process.
    pub(crate) fn open() -> Result<Self> {
        Self::open_at(directory()?)
    }

    fn open_at(root: PathBuf) -> Result<Self> {
        fs::create_dir_all(&root).context(root.display())?;
        let lock = File::create(root.join("lock"))?;
        lock.try_lock().map_err(|_| format!("another `cargo xtask lab` is using {}", root.display()))?;
        // Left by a killed process. Its mounts ended with it.
        let _ = fs::remove_dir_all(root.join("making"));
        Ok(Self { root, _lock: lock })
    }

    /// Data, logs and process ids of the services.
    pub(crate) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Where `bare --keep` leaves its root.
    pub(crate) fn kept_root(&self) -> PathBuf {
        self.root.join("bare")
    }

    pub(crate) fn log(&self, step: &str) -> PathBuf {
        self.root.join("logs").join(format!("{step}.log"))
    }

    /// A directory that is removed when the value is dropped.
    pub(crate) fn scratch(&self) -> Result<tempfile::TempDir> {
        let making = self.root.join("making");
        fs::create_dir_all(&making)?;
        Ok(tempfile::tempdir_in(making)?)
    }

    /// The entry `name` for `key`. `make` fills its directory if it does not exist.
    pub(crate) fn entry(
        &self,
        name: &str,
        key: CacheKey,
        make: impl FnOnce(&Path) -> Result,
    ) -> Result<PathBuf> {
        let entry = self.root.join(format!("{name}-{}", key.short()));
        if entry.is_dir() {
            return Ok(entry);
        }
        terminal::print_notice(format_args!("lab: making {name}"));
        let begun = Instant::now();
        let unfinished = self.scratch()?;
        make(unfinished.path()).context(format_args!("making the lab's {name}"))?;
        fs::rename(unfinished.keep(), &entry)?;
        terminal::print_notice(format_args!("lab: {name} made in {}", tools::duration(begun.elapsed())));
        Ok(entry)
    }
}

/// `$XDG_CACHE_HOME/zfs-kmods/lab`, or the same below `~/.cache`.
pub(crate) fn directory() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(directory) if Path::new(&directory).is_absolute() => PathBuf::from(directory),
        _ => std::env::home_dir().context("neither XDG_CACHE_HOME nor HOME is set")?.join(".cache"),
    };
    Ok(base.join("zfs-kmods").join("lab"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_made_once_and_only_if_it_succeeds() {
        let root = tempfile::tempdir().unwrap();
        let cache = LabCache::open_at(root.path().to_owned()).unwrap();
        let half = cache.entry("thing", CacheKey::new().with("1"), |directory| {
            fs::write(directory.join("part"), "")?;
            Err("broke off".into())
        });
        assert!(half.unwrap_err().to_string().contains("broke off"));
        let entry = cache
            .entry("thing", CacheKey::new().with("1"), |directory| {
                Ok(fs::write(directory.join("whole"), "")?)
            })
            .unwrap();
        assert!(entry.join("whole").exists() && !entry.join("part").exists());
        let again = cache.entry("thing", CacheKey::new().with("1"), |_| Err("made twice".into())).unwrap();
        assert_eq!(again, entry);
    }

    #[test]
    fn only_one_process_uses_it() {
        let root = tempfile::tempdir().unwrap();
        let _first = LabCache::open_at(root.path().to_owned()).unwrap();
        assert!(LabCache::open_at(root.path().to_owned()).is_err());
    }

    #[test]
    fn keys_keep_their_parts_apart() {
        assert_ne!(
            CacheKey::new().with("ab").with("c").short(),
            CacheKey::new().with("a").with("bc").short()
        );
    }
}
