//! The guest of a boot test, gathered from where its parts are: published packages, the kernel's packages, and the
//! distribution under them.

mod distribution;
mod error;
mod kernel;
mod published;

use std::path::{Path, PathBuf};

use kmod_query::{PinnedImage, Upstream};

pub use error::GuestError;
pub use kernel::{Kernel, Place};
pub use published::Published;

use super::blocking;
use super::progress::ProgressSection;
use crate::model::boot::{self, Contents, DRIVERS, Origin, Step};

/// Everything that the emulator is given.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// The kernel, as the emulator takes it.
    pub vmlinuz: Vec<u8>,
    /// The first file system.
    pub initramfs: Vec<u8>,
    /// The kernel's packages.
    pub kernel: Vec<Origin>,
    /// Where the libraries are from.
    pub libraries: String,
}

/// Where the libraries of the distribution, and busybox, are taken from.
#[derive(Clone, Debug)]
pub enum Distribution {
    /// An image, with podman.
    Image(PinnedImage),
    /// A directory that is the root of a file system.
    Root(PathBuf),
}

/// Where to look for what is not published, and where to put it meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Where kernels can be had.
    pub upstream: &'a Upstream,
    /// The package kernel-core.
    pub core: &'a Place,
    /// The package kernel-modules-core.
    pub modules: &'a Place,
    /// The libraries.
    pub distribution: &'a Distribution,
    /// A directory for downloads, which is removed afterwards.
    pub scratch: &'a Path,
    /// The file that gets podman's log.
    pub log: &'a Path,
}

/// Puts the guest together.
pub async fn assemble(
    published: Published,
    sources: Sources<'_>,
    section: &mut ProgressSection,
) -> Result<Assembled, GuestError> {
    let Published { target, programs, libraries, mut closure, modules } = published;
    section.part("the kernel and its drivers");
    let mut kernel = Kernel::fetch(sources, &target.kernel, section).await?;
    // The modules of OpenZFS may use the kernel's, so both are ordered together.
    for module in modules {
        kernel.stock.add(module);
    }
    let goals = [&DRIVERS[..], &["spl", "zfs"]].concat();
    kernel.complete(sources, &goals, section).await?;
    let drivers = kernel.stock.order(&DRIVERS, &[])?;
    let spl = kernel.stock.order(&["spl"], &drivers)?;
    let zfs = kernel.stock.order(&["zfs"], &[drivers.clone(), spl.clone()].concat())?;
    let modules = [(Step::Drivers, drivers), (Step::Spl, spl), (Step::Zfs, zfs)]
        .map(|(step, names)| {
            (step, names.iter().filter_map(|name| kernel.stock.get(name).cloned()).collect())
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
        let mut contents = Contents { programs, libraries, modules, ..Contents::default() };
        let found = distribution::complete(&root, arch, &mut closure, &mut contents);
        contents.interpreters = closure.interpreters().map(str::to_owned).collect();
        (found, contents)
    })
    .await;
    found?;
    contents.interpreters.sort();
    Ok(Assembled {
        initramfs: boot::write(contents),
        vmlinuz: kernel.vmlinuz,
        kernel: kernel.origins,
        libraries: from,
    })
}
