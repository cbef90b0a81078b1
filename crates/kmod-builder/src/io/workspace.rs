//! The directories of one build.

use std::io;
use std::path::{Path, PathBuf};

/// Dropping it removes the directory.
pub struct Workspace(tempfile::TempDir);

impl Workspace {
    pub fn new(parent: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(parent)?;
        Ok(Self(tempfile::tempdir_in(parent)?))
    }

    pub fn context(&self) -> PathBuf {
        self.0.path().join("context")
    }

    pub fn containerfile(&self) -> PathBuf {
        self.0.path().join("Containerfile")
    }

    /// Kernel-independent packages.
    pub fn userland(&self) -> PathBuf {
        self.0.path().join("userland")
    }

    /// Packages for one kernel.
    pub fn kmod(&self) -> PathBuf {
        self.0.path().join("kmod")
    }

    pub fn store(&self) -> PathBuf {
        self.0.path().join("images")
    }
}
