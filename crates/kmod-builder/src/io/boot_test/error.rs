use std::fmt;
use std::io;
use std::path::PathBuf;

use kmod_compat::{Arch, KernelRelease};
use kmod_query::QueryError;

use crate::io::kernel_rpm::KernelRpmError;
use crate::io::podman::PodmanError;
use crate::io::rpm::RpmFileError;
use crate::model::boot_test::ModuleLoadError;
use crate::model::builder_policy::BuilderNotAllowed;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum GuestError {
    #[error(transparent)]
    Rpm(#[from] RpmFileError),
    #[error("cannot read {path} in its package: {reason}")]
    File { path: String, reason: String },
    #[error("{0}")]
    #[diagnostic(help("run `zfs-kmods verify` to check the whole image"))]
    Incomplete(String),
    #[error("the image has modules for {0}")]
    #[diagnostic(help("an image has modules for exactly one kernel"))]
    Targets(String),
    /// Only the Fedora release tells where the kernel's packages are, and which key signs them.
    #[error("`{0}` does not name a release of Fedora, so its packages cannot be looked for")]
    #[diagnostic(help("name them: --kernel-core FILE --kernel-modules FILE --root DIR"))]
    NoFedora(KernelRelease),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Builder(#[from] BuilderNotAllowed),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    KernelRpm(#[from] KernelRpmError),
    #[error("{from} is {found}, not {expected}")]
    #[diagnostic(help("test with the exact kernel of the image"))]
    OtherPackage { from: String, expected: String, found: String },
    #[error("{nevra} does not have {path}")]
    NoFile { nevra: String, path: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Modules(#[from] ModuleLoadError),
    #[error("could not obtain the libraries of the distribution")]
    #[diagnostic(help(
        "without podman, --root DIR takes them and busybox from a directory, such as / on a Fedora of the same release"
    ))]
    Podman(#[from] PodmanError),
    #[error("there is no {name} for {arch} below {}", root.display())]
    #[diagnostic(help(
        "it is needed by the guest: install it there (busybox, and the libraries of zfs), or leave --root out"
    ))]
    NotInDistribution { name: String, arch: Arch, root: PathBuf },
    #[error("cannot use {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
}

impl GuestError {
    pub(super) fn file(path: &str, reason: impl fmt::Display) -> Self {
        Self::File { path: path.to_owned(), reason: reason.to_string() }
    }
}
