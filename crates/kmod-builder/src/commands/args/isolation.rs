use clap::Args;

use crate::io::environment;
use crate::model::podman::Isolation;

/// How podman isolates the steps of a build.
#[derive(Clone, Copy, Debug, Args)]
pub struct IsolationArgs {
    /// `oci` runs the steps in containers; `chroot` is for machines that cannot start containers, and lets what is
    /// built read and write this machine's files [default: BUILDAH_ISOLATION, else oci]
    #[arg(long, value_enum)]
    isolation: Option<Isolation>,
}

impl IsolationArgs {
    pub fn isolation(self) -> Isolation {
        self.isolation.unwrap_or_else(environment::isolation)
    }
}
