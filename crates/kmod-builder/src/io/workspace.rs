//! Where one build happens on disk.

use std::io;
use std::path::{Path, PathBuf};

/// The directory of one build, gone with it.
pub struct Workspace(tempfile::TempDir);

impl Workspace {
    /// A new one below this directory.
    pub fn new(parent: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(parent)?;
        Ok(Self(tempfile::tempdir_in(parent)?))
    }

    /// What podman may copy into the build.
    pub fn context(&self) -> PathBuf {
        self.0.path().join("context")
    }

    /// The rendered file.
    pub fn containerfile(&self) -> PathBuf {
        self.0.path().join("Containerfile")
    }

    /// The packages that know no kernel.
    pub fn userland(&self) -> PathBuf {
        self.0.path().join("userland")
    }

    /// The packages for one kernel.
    pub fn kmod(&self) -> PathBuf {
        self.0.path().join("kmod")
    }

    /// Where the image is composed.
    pub fn store(&self) -> PathBuf {
        self.0.path().join("images")
    }
}
