//! The lab: Fedora's side of the world, made on this machine from the distribution's own packages.

mod apt;
mod cache;
mod fedora;
mod kernel;
mod oci;
mod openzfs;
mod podman;
mod rpms;

use crate::fail::Result;
use cache::Cache;

pub(crate) fn run() -> Result { Ok(()) }
pub(crate) fn down() -> Result { Ok(()) }
pub(crate) fn clean() -> Result { Ok(()) }
pub(crate) fn serve(_: &str) -> Result { Ok(()) }

pub(crate) fn up() -> Result {
    let cache = Cache::open()?;
    let podman = podman::Podman::find()?;
    let tarball = openzfs::tarball(&cache)?;
    let fedora = fedora::image(&cache)?;
    let kernels = kernel::kernels(&cache, &podman, &fedora)?;
    let repository = rpms::repository(&cache, &kernels)?;
    crate::say::note(format_args!("{} {} {}", tarball.display(), repository.display(), kernels.newer));
    Ok(())
}
