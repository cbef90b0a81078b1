use std::fmt;
use std::io;
use std::path::PathBuf;

use kmod_compat::{Arch, KernelRelease};
use kmod_query::QueryError;

use crate::io::download::DownloadError;
use crate::io::podman::PodmanError;
use crate::io::rpm::RpmFileError;
use crate::model::boot_test::ModuleLoadError;
use crate::model::elf::ElfError;

/// The guest of a boot test cannot be put together.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum GuestError {
    /// A package cannot be read.
    #[error(transparent)]
    Rpm(#[from] RpmFileError),
    /// A file in a package is not what its name says.
    #[error("{path}: {error}")]
    File {
        /// Its path in the package.
        path: String,
        /// What is wrong.
        error: ElfError,
    },
    /// A file in a package cannot be unpacked.
    #[error("{path} cannot be unpacked: {reason}")]
    Unpack {
        /// Its path in the package.
        path: String,
        /// Why.
        reason: String,
    },
    /// The image lacks a program.
    #[error("no package in the image has the program {0}")]
    #[diagnostic(help("`zfs-kmods verify` says what else is wrong with it"))]
    NoProgram(&'static str),
    /// The image lacks a module.
    #[error("no package in the image has the module {0}.ko")]
    #[diagnostic(help("`zfs-kmods verify` says what else is wrong with it"))]
    NoModule(&'static str),
    /// A package does not say which kernel its modules are for.
    #[error("{0} does not require exactly one kernel, so there is none to boot")]
    #[diagnostic(help("`zfs-kmods verify` says what else is wrong with it"))]
    NoTarget(String),
    /// No package with modules, or several.
    #[error("the image has modules for {0}")]
    #[diagnostic(help("an image has modules for exactly one kernel"))]
    Targets(Targets),
    /// Where the kernel's packages are, only the Fedora release says.
    #[error("`{0}` does not name a release of Fedora, so its packages cannot be looked for")]
    #[diagnostic(help("name them: --kernel-core FILE|URL --kernel-modules FILE|URL --root DIR"))]
    NoFedora(KernelRelease),
    /// Upstream does not have the package.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Query(#[from] QueryError),
    /// It could not be fetched.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Download(#[from] DownloadError),
    /// The package is for another kernel.
    #[error("{from} is {found}, not {expected}")]
    #[diagnostic(help("only the exact kernel of the image proves anything"))]
    OtherPackage {
        /// A path or an address.
        from: String,
        /// What was needed.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A package of the kernel lacks what it is for.
    #[error("{nevra} does not have {path}")]
    NoFile {
        /// The package.
        nevra: String,
        /// What it should have.
        path: String,
    },
    /// Modules cannot be loaded.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Modules(#[from] ModuleLoadError),
    /// The distribution's image was of no help.
    #[error("the libraries of the distribution could not be had")]
    #[diagnostic(help(
        "without podman, --root DIR takes them and busybox from a directory, such as / on a Fedora of the same release"
    ))]
    Podman(#[from] PodmanError),
    /// It lacks a library or busybox.
    #[error("there is no {name} for {arch} below {}", root.display())]
    #[diagnostic(help(
        "it is needed by the guest: install it there (busybox, and the libraries of zfs), or leave --root out"
    ))]
    NotInDistribution {
        /// What is missing.
        name: String,
        /// For which architecture.
        arch: Arch,
        /// Where it was looked for.
        root: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// Targets, as the end of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets(Vec<String>);

impl FromIterator<String> for Targets {
    fn from_iter<I: IntoIterator<Item = String>>(targets: I) -> Self {
        Self(targets.into_iter().collect())
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("no kernel") } else { f.write_str(&self.0.join(" and ")) }
    }
}
