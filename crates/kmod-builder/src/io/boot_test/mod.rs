//! The guest of a boot test: published packages, the kernel's packages and the distribution's libraries.

mod distribution;
mod error;
mod kernel;
mod packages;
mod publisher;
mod qemu;
mod run;

use std::path::{Path, PathBuf};

use kmod_query::{PinnedImage, Upstream};
use tempfile::TempDir;

pub use error::GuestError;
pub use kernel::{GuestKernel, PackageLocation};
pub use packages::GuestPackages;
pub use publisher::TestResultPublisher;
pub use qemu::{GuestDirectory, Qemu};
pub use run::GuestTest;

use super::blocking;
use super::progress::ProgressSection;
use crate::model::boot_test::{self, BootStep, DRIVERS, InitramfsContents, PackageSource};
use crate::model::podman::Isolation;
use crate::model::rpm_signature::KernelPackagePolicy;

#[derive(Clone, Debug)]
pub struct GuestFiles {
    pub vmlinuz: Vec<u8>,
    pub initramfs: Vec<u8>,
    pub kernel: Vec<PackageSource>,
    pub libraries: String,
}

/// Source of the distribution's libraries and of busybox.
#[derive(Clone, Debug)]
pub enum Distribution {
    Image(PinnedImage),
    Root(PathBuf),
}

#[derive(Clone, Copy, Debug)]
pub struct GuestSources<'a> {
    pub upstream: &'a Upstream,
    pub core: &'a PackageLocation,
    pub modules: &'a PackageLocation,
    pub distribution: &'a Distribution,
    /// Download directory, removed afterwards.
    pub scratch: &'a Path,
    pub log: &'a Path,
    pub isolation: Isolation,
    pub packages: &'a KernelPackagePolicy,
}

/// A directory in the cache directory for the files of one test; dropping it removes it.
pub fn scratch(cache: &Path) -> Result<TempDir, GuestError> {
    let make = || {
        std::fs::create_dir_all(cache)?;
        tempfile::Builder::new().prefix("boot-test-").tempdir_in(cache)
    };
    make().map_err(|error| GuestError::Io { path: cache.to_owned(), error })
}

pub async fn assemble(
    published: GuestPackages,
    sources: GuestSources<'_>,
    section: &mut ProgressSection,
) -> Result<GuestFiles, GuestError> {
    let GuestPackages { target, programs, libraries, mut closure, modules } = published;
    section.part("the kernel and its drivers");
    let mut kernel = GuestKernel::fetch(sources, &target.kernel, section).await?;
    // OpenZFS modules may depend on the kernel's, so both are ordered together.
    for module in modules {
        kernel.module_set.add(module);
    }
    let goals = [&DRIVERS[..], &["spl", "zfs"]].concat();
    kernel.complete(sources, &goals, section).await?;
    let drivers = kernel.module_set.order(&DRIVERS, &[])?;
    let spl = kernel.module_set.order(&["spl"], &drivers)?;
    let zfs = kernel.module_set.order(&["zfs"], &[drivers.clone(), spl.clone()].concat())?;
    let modules = [(BootStep::Drivers, drivers), (BootStep::Spl, spl), (BootStep::Zfs, zfs)]
        .map(|(step, names)| {
            (step, names.iter().filter_map(|name| kernel.module_set.get(name).cloned()).collect())
        })
        .into();

    section.part("the libraries of the distribution");
    let (root, from) = match sources.distribution {
        Distribution::Root(root) => (root.clone(), root.display().to_string()),
        Distribution::Image(image) => {
            let root = distribution::export(image, &closure, sources, section).await?;
            (root, image.to_string())
        }
    };
    let arch = target.arch();
    let (found, mut contents) = blocking::run(move |_| {
        let mut contents = InitramfsContents { programs, libraries, modules, ..InitramfsContents::default() };
        let found = distribution::complete(&root, arch, &mut closure, &mut contents);
        contents.interpreters = closure.interpreters().map(str::to_owned).collect();
        (found, contents)
    })
    .await;
    found?;
    contents.interpreters.sort();
    Ok(GuestFiles {
        initramfs: boot_test::initramfs(contents),
        vmlinuz: kernel.vmlinuz,
        kernel: kernel.origins,
        libraries: from,
    })
}
