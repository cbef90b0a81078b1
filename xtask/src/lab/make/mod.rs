//! What the program reads, made from Debian's packages: OpenZFS's tarball, the builder image, two kernels, the dnf
//! repository and the CoreOS images. Each is an entry of the lab's cache.

mod busybox;
pub(crate) mod coreos;
pub(crate) mod fedora;
pub(crate) mod kernel;
pub(crate) mod openzfs;
mod podman;
pub(crate) mod rpms;
mod signing;

use std::path::PathBuf;

use crate::{error::Result, lab::cache::LabCache};
use coreos::CoreOs;
use kernel::Kernels;

/// Everything that is served.
pub(crate) struct Products {
    pub(crate) tarball: PathBuf,
    /// The layout of the builder image.
    pub(crate) fedora: PathBuf,
    pub(crate) kernels: Kernels,
    /// The dnf repository.
    pub(crate) repository: PathBuf,
    /// The keys that sign it.
    pub(crate) fedora_keys: PathBuf,
    pub(crate) coreos: CoreOs,
}

/// Makes what the cache does not have yet.
pub(crate) fn all(cache: &LabCache) -> Result<Products> {
    podman::install()?;
    let tarball = openzfs::tarball(cache)?;
    let packages = fedora::packages(cache)?;
    let fedora = fedora::image(cache, &packages)?;
    let kernels = kernel::kernels(cache, &packages)?;
    let key = signing::key(cache)?;
    let repository = rpms::repository(cache, &kernels, &key)?;
    let coreos = coreos::images(cache, &fedora, &kernels)?;
    Ok(Products { tarball, fedora, kernels, repository, fedora_keys: signing::list_in(&key), coreos })
}
