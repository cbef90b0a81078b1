use std::collections::BTreeMap;
use std::path::PathBuf;

use super::GuestError;
use super::kernel::module;
use crate::io::rpm;
use crate::model::Target;
use crate::model::boot_test::{BootFailure, KernelModule, LibraryClosure};
use crate::model::elf::{ElfError, ElfFile};
use crate::model::packages::Package;

const PROGRAMS: [&str; 2] = ["zpool", "zfs"];

#[derive(Clone, Debug)]
pub struct GuestPackages {
    pub target: Target,
    pub programs: BTreeMap<String, Vec<u8>>,
    /// The programs' libraries, by soname.
    pub libraries: BTreeMap<String, Vec<u8>>,
    pub closure: LibraryClosure,
    pub modules: Vec<KernelModule>,
}

impl GuestPackages {
    pub fn read(rpms: &[PathBuf]) -> Result<Self, GuestError> {
        let (mut programs, mut libraries) = (BTreeMap::new(), BTreeMap::new());
        let (mut modules, mut targets) = (Vec::new(), Vec::new());
        let mut closure = LibraryClosure::default();
        for rpm in rpms {
            let (package, files) = rpm::files(rpm, |path| {
                Package::is_module(path) || program(path).is_some() || is_library(path)
            })?;
            if package.modules().next().is_some() {
                targets.push(target(&package)?);
            }
            for (path, bytes) in files {
                let refuse = |error| GuestError::file(&path, error);
                if Package::is_module(&path) {
                    modules.push(module(&path, &bytes)?);
                } else if let Some(name) = program(&path) {
                    // Scripts need no libraries.
                    match ElfFile::parse(bytes.as_slice()) {
                        Ok(elf) => closure.add(&elf),
                        Err(ElfError::NotElf) => {}
                        Err(error) => return Err(refuse(error)),
                    }
                    programs.insert(name.to_owned(), bytes);
                } else {
                    let elf = ElfFile::parse(bytes.as_slice()).map_err(refuse)?;
                    closure.add(&elf);
                    if let Some(name) = elf.soname {
                        libraries.insert(name, bytes);
                    }
                }
            }
        }
        if let Some(missing) = PROGRAMS.into_iter().find(|name| !programs.contains_key(*name)) {
            return Err(GuestError::Incomplete(format!("no package in the image has the program {missing}")));
        }
        for name in ["spl", "zfs"] {
            if !modules.iter().any(|module: &KernelModule| module.name == name) {
                return Err(GuestError::Incomplete(format!(
                    "no package in the image has the module {name}.ko"
                )));
            }
        }
        let [target] = <[Target; 1]>::try_from(targets).map_err(|targets| {
            let targets: Vec<_> = targets.iter().map(Target::to_string).collect();
            GuestError::Targets(if targets.is_empty() { "no kernel".into() } else { targets.join(" and ") })
        })?;
        Ok(Self { target, programs, libraries, closure, modules })
    }

    /// Requires each module to be built for exactly the kernel of the image.
    pub fn check_modules(&self) -> Result<(), BootFailure> {
        self.modules.iter().try_for_each(|module| module.check_kernel(&self.target.kernel))
    }
}

/// The kernel that the module package requires, with the package's own version.
fn target(package: &Package) -> Result<Target, GuestError> {
    let kernel = package.requires("kernel-uname-r").find_map(|capability| capability.exactly()?.parse().ok());
    if let (Ok(zfs), Some(kernel)) = (package.version.parse(), kernel) {
        return Ok(Target { zfs, kernel });
    }
    let reason =
        format!("{} does not require exactly one kernel: which one to boot is not known", package.nevra());
    Err(GuestError::Incomplete(reason))
}

fn program(path: &str) -> Option<&'static str> {
    let (directory, name) = path.rsplit_once('/')?;
    let is_program = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].contains(&directory);
    PROGRAMS.into_iter().find(|program| is_program && *program == name)
}

fn is_library(path: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(directory, name)| {
        ["/usr/lib64", "/lib64", "/usr/lib", "/lib"].contains(&directory) && name.contains(".so.")
    })
}
