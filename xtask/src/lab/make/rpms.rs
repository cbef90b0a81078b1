//! The dnf repository: the kernels, busybox, and empty packages with Fedora's names of what the image already contains.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xshell::{Shell, cmd};

use crate::error::Result;
use crate::lab::cache::{CacheKey, LabCache};
use crate::lab::make::kernel::Kernels;
use crate::lab::make::{busybox, fedora, signing};
use crate::lab::oci;
use crate::tools;

const KERNEL_PACKAGES: [&str; 3] = ["kernel-core", "kernel-modules-core", "kernel-devel"];

/// Empty packages. After `=` stands what one provides beside its name.
const STUBS: &str = "\
    bison ccache elfutils-libelf-devel findutils flex gcc libaio-devel libattr-devel libblkid-devel libcurl-devel \
    libffi-devel libtirpc-devel libunwind-devel libuuid-devel make ncompress openssl openssl-devel perl-interpreter \
    python3-cffi python3-devel python3-packaging python3-setuptools rpm-build systemd systemd-devel=libudev-devel \
    zlib-ng-compat-devel=zlib-devel";

/// The server's `/fedora`.
pub(crate) fn repository(cache: &LabCache, kernels: &Kernels, key: &Path) -> Result<PathBuf> {
    let spec = stubs();
    let busybox = busybox::package(cache)?;
    let cache_key = CacheKey::new()
        .with(&spec)
        .with(fedora::UPDATES)
        .with_entry(&kernels.directory)
        .with_entry(key)
        .with_entry(busybox.parent().unwrap_or(&busybox));
    cache.entry("repository", cache_key, |directory| {
        tools::need(&[("rpmbuild", "rpm"), ("createrepo_c", "createrepo-c")])?;
        let updates = directory.join(fedora::UPDATES);
        let packages = updates.join("Packages/k");
        fs::create_dir_all(&packages)?;
        let mut signed = Vec::new();
        for release in [&kernels.current, &kernels.newer] {
            for package in KERNEL_PACKAGES {
                let rpm = kernels.rpm(package, release);
                let copy = packages.join(rpm.file_name().unwrap_or_default());
                fs::copy(&rpm, &copy)?;
                signed.push(copy);
            }
        }
        signing::sign(key, &signed, &cache.log("signing"))?;
        fs::hard_link(&busybox, packages.join("busybox.rpm"))?;
        let work = cache.scratch()?;
        fs::write(work.path().join("stubs.spec"), &spec)?;
        let (log, name) = (cache.log("repository"), "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm");
        let rpmbuild = rpmbuild(work.path(), "stubs.spec", &updates.join("Packages/stubs"), name);
        tools::run_logged("packing the stubs", &rpmbuild, &log)?;
        let (shell, revision) = (Shell::new()?, oci::EPOCH.to_string());
        let options = ["--quiet", "--no-database", "--set-timestamp-to-revision"];
        let createrepo = cmd!(shell, "createrepo_c {options...} --revision={revision} {updates}");
        tools::run_logged("indexing the repository", &createrepo.into(), &log)
    })
}

/// Packs the spec file `spec` of the directory `work` into `to`, in files with the name `name`.
pub(crate) fn rpmbuild(work: &Path, spec: &str, to: &Path, name: &str) -> Command {
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild.args(["-bb", "--quiet"]).arg(work.join(spec));
    let (work, to) = (work.display(), to.display());
    for define in [format!("_topdir {work}"), format!("_rpmdir {to}"), format!("_build_name_fmt {name}")] {
        rpmbuild.args(["--define", &define]);
    }
    rpmbuild
}

fn stubs() -> String {
    let mut spec = format!(
        "Name: lab-stubs\nVersion: {}\nRelease: 1\nSummary: Names only\nLicense: MIT\nBuildArch: noarch\n\
         %description\nNames only.\n",
        fedora::RELEASE
    );
    for stub in STUBS.split(' ') {
        let (name, provides) = stub.split_once('=').unwrap_or((stub, ""));
        let _ = writeln!(spec, "%package -n {name}\nSummary: A name only");
        if !provides.is_empty() {
            let _ = writeln!(spec, "Provides: {provides}");
        }
        let _ = writeln!(
            spec,
            "%description -n {name}\nThe image of the lab has the programs of this package from elsewhere.\n%files -n {name}"
        );
    }
    spec
}
