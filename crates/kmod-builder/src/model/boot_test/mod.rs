//! The boot test: the contents of the guest, its steps, and the evaluation of its console.
//!
//! A guest boots the exact kernel of an image twice with the same disk and uses a pool on it. `init.sh` runs the
//! steps and reports each on the console. [`ConsoleParser`] compares every line with the expected one; the test
//! passes only if all steps passed and the kernel's power-off line follows.
//!
//! The modules, `zpool`, `zfs` and their libraries are from the published packages. The kernel and its drivers are
//! from the distribution's packages. Other libraries and busybox are from the builder image, because the packages
//! were linked with its libraries.

mod console;
mod cpio;
mod disk;
mod distribution;
mod failure;
mod initramfs;
mod libraries;
mod limits;
mod machine;
mod modules;
mod report;
mod steps;
mod taint;
mod zboot;

pub use console::{BootReport, ConsoleParser, ExpectedConsole, QemuExit, StepReport};
pub use cpio::{CpioArchive, CpioEntry};
pub use disk::{DISK_SIZE, partition_table};
pub use distribution::{DIRECTORY_OF_LIBRARIES, STAGE, containerfile, search_paths};
pub use failure::BootFailure;
pub use initramfs::{InitramfsContents, initramfs};
pub use libraries::LibraryClosure;
pub use limits::BootTestLimits;
pub use machine::{Accelerator, AcceleratorMode, DISK, INITRAMFS, KERNEL, Machine, SANDBOX, parse_memory};
pub use modules::{DRIVERS, KernelModule, ModuleLoadError, ModuleSet};
pub use report::{BootTest, BootVerdict, GuestConfig, PackageSource};
pub use steps::{Boot, BootStep};
pub use taint::Taints;
pub use zboot::{ZbootCompression, zboot_payload};
