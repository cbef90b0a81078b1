//! The boot test: what the guest is made of, what it is asked to do, and what its words on the console amount to.
//!
//! A guest boots the exact kernel of an image twice and uses a pool in it; the disk is the same in both boots. Inside,
//! `init.sh` makes the steps and says how each went. Nothing that it says counts by itself: [`ConsoleParser`] holds every
//! line against what must come next, and only the whole of it, followed by the kernel's power-off line, is a success.
//!
//! What the guest runs comes from three places. The modules, `zpool`, `zfs` and their libraries are those of the
//! published packages. The kernel and its drivers are the distribution's, from packages that the build never sees.
//! The libraries below them and busybox come from the image in which OpenZFS was built, because its packages were
//! linked with those; a guest without a package database can be made of nothing else that is sure to fit. busybox is
//! there for its shell and for `insmod`: one file on Fedora and Debian alike, where bash and its company are dozens.

mod console;
mod cpio;
mod disk;
mod distribution;
mod failure;
mod initramfs;
mod libraries;
mod machine;
mod modules;
mod report;
mod steps;
mod taint;
mod zboot;

pub use console::{BootReport, ConsoleParser, ExpectedConsole, QemuExit, StepReport};
pub use cpio::{CpioArchive, CpioEntry};
pub use disk::{DISK_SIZE, partition_table};
pub use distribution::{DIRECTORY_OF_LIBRARIES, InvalidLibraryName, STAGE, containerfile, search_paths};
pub use failure::BootFailure;
pub use initramfs::{InitramfsContents, initramfs};
pub use libraries::LibraryClosure;
pub use machine::{
    Accelerator, AcceleratorMode, DISK, INITRAMFS, KERNEL, Machine, ParseMemoryError, parse_memory,
};
pub use modules::{DRIVERS, KernelModule, ModuleLoadError, ModuleSet};
pub use report::{BootTest, BootVerdict, GuestConfig, PackageSource};
pub use steps::{Boot, BootStep};
pub use taint::Taints;
pub use zboot::{ZbootCompression, ZbootPayload, zboot_payload};
