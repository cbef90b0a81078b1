//! Two real kernels with release names like Fedora's, as RPMs.

use std::fs;
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::error::{Context, Result};
use crate::lab::apt::Apt;
use crate::lab::cache::{CacheKey, LabCache};
use crate::lab::make::{fedora, podman};
use crate::lab::oci;
use crate::tools;

/// Debian's package with the kernel's source.
const PACKAGE: &str = "linux-source-6.12";
/// Appended to the upstream version: the releases in `stable` and in `testing`.
const SUFFIXES: [&str; 2] = ["-200.fc43.x86_64", "-201.fc43.x86_64"];

const CONFIG: &str = include_str!("kernel.config");
const BUILD: &str = include_str!("kernel-build.sh");
const SPEC: &str = include_str!("kernel.spec");

pub(crate) struct Kernels {
    pub(crate) directory: PathBuf,
    /// `uname -r` of the kernel in `stable`.
    pub(crate) current: String,
    /// `uname -r` of the kernel in `testing`.
    pub(crate) newer: String,
}

impl Kernels {
    pub(crate) fn rpm(&self, package: &str, release: &str) -> PathBuf {
        self.directory.join(format!("{package}-{release}.rpm"))
    }
}

/// Compiles and packs both kernels in the image of `packages`.
pub(crate) fn kernels(cache: &LabCache, packages: &Path) -> Result<Kernels> {
    let source = source(cache)?;
    let key = CacheKey::new()
        .with(CONFIG)
        .with(BUILD)
        .with(SPEC)
        .with(SUFFIXES.join(" "))
        .with_entry(packages)
        .with_entry(source.parent().unwrap_or(&source));
    let directory = cache.entry("kernels", key, |directory| {
        let work = cache.scratch()?;
        let tree = work.path().join("src");
        fs::create_dir(&tree)?;
        tools::need(&[("tar", "tar"), ("xz", "xz-utils")])?;
        let (shell, log) = (Shell::new()?, cache.log("kernel"));
        let unpack = cmd!(shell, "tar --extract --file {source} --directory {tree} --strip-components=1");
        tools::run_logged("unpacking the kernel's source", &unpack.into(), &log)?;
        for (name, text) in [("kernel.config", CONFIG), ("kernel-build.sh", BUILD), ("kernel.spec", SPEC)] {
            fs::write(work.path().join(name), text)?;
        }
        let run = format!("SOURCE_DATE_EPOCH={} sh /mnt/kernel-build.sh {}", oci::EPOCH, SUFFIXES.join(" "));
        podman::run("compiling two kernels", packages, fedora::PACKAGES_TAG, &run, work.path(), &log)?;
        for entry in fs::read_dir(work.path().join("out"))? {
            let entry = entry?;
            fs::rename(entry.path(), directory.join(entry.file_name()))?;
        }
        Ok(())
    })?;
    let release = |suffix: &str| -> Result<String> {
        fs::read_dir(&directory)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .find_map(|name| {
                let release = name.strip_prefix("kernel-core-")?.strip_suffix(".rpm")?;
                release.ends_with(suffix).then(|| release.to_owned())
            })
            .context(format_args!("no kernel{suffix} in {}", directory.display()))
    };
    Ok(Kernels { current: release(SUFFIXES[0])?, newer: release(SUFFIXES[1])?, directory })
}

/// A `.tar.xz` file.
fn source(cache: &LabCache) -> Result<PathBuf> {
    let entry = cache.entry("kernel-source", CacheKey::new().with(PACKAGE), |directory| {
        let unpacked = cache.scratch()?;
        Apt::open(cache)?.unpack(PACKAGE, unpacked.path())?;
        let name = format!("{PACKAGE}.tar.xz");
        fs::rename(unpacked.path().join("usr/src").join(&name), directory.join(&name))?;
        Ok(())
    })?;
    Ok(entry.join(format!("{PACKAGE}.tar.xz")))
}
