//! The dnf repository: the kernels, busybox, and empty packages with Fedora's names of what the image already contains.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Result;
use crate::lab::cache::{CacheKey, LabCache};
use crate::lab::make::kernel::Kernels;
use crate::lab::make::{busybox, fedora};
use crate::lab::oci;
use crate::tools;

const KERNEL_PACKAGES: [&str; 3] = ["kernel-core", "kernel-modules-core", "kernel-devel"];

/// Empty packages: name, and what it provides beside its name.
const STUBS: [(&str, &str); 27] = [
    ("bison", ""),
    ("ccache", ""),
    ("elfutils-libelf-devel", ""),
    ("findutils", ""),
    ("flex", ""),
    ("gcc", ""),
    ("libaio-devel", ""),
    ("libattr-devel", ""),
    ("libblkid-devel", ""),
    ("libcurl-devel", ""),
    ("libffi-devel", ""),
    ("libtirpc-devel", ""),
    ("libunwind-devel", ""),
    ("libuuid-devel", ""),
    ("make", ""),
    ("ncompress", ""),
    ("openssl", ""),
    ("openssl-devel", ""),
    ("perl-interpreter", ""),
    ("python3-cffi", ""),
    ("python3-devel", ""),
    ("python3-packaging", ""),
    ("python3-setuptools", ""),
    ("rpm-build", ""),
    ("systemd", ""),
    ("systemd-devel", "libudev-devel"),
    ("zlib-ng-compat-devel", "zlib-devel"),
];

/// The server's `/fedora`.
pub(crate) fn repository(cache: &LabCache, kernels: &Kernels) -> Result<PathBuf> {
    let spec = stubs();
    let busybox = busybox::package(cache)?;
    let key = CacheKey::new()
        .with(&spec)
        .with(fedora::UPDATES)
        .with_entry(&kernels.directory)
        .with_entry(busybox.parent().unwrap_or(&busybox));
    cache.entry("repository", key, |directory| {
        tools::need(&[("rpmbuild", "rpm"), ("createrepo_c", "createrepo-c")])?;
        let updates = directory.join(fedora::UPDATES);
        let packages = updates.join("Packages/k");
        fs::create_dir_all(&packages)?;
        for release in [&kernels.current, &kernels.newer] {
            for package in KERNEL_PACKAGES {
                let rpm = kernels.rpm(package, release);
                fs::hard_link(&rpm, packages.join(rpm.file_name().unwrap_or_default()))?;
            }
        }
        fs::hard_link(&busybox, packages.join("busybox.rpm"))?;
        let work = cache.scratch()?;
        fs::write(work.path().join("stubs.spec"), &spec)?;
        let define = |name: &str, path: &Path| format!("{name} {}", path.display());
        let mut rpmbuild = Command::new("rpmbuild");
        rpmbuild.args(["-bb", "--quiet", "--define", &define("_topdir", work.path())]);
        rpmbuild.args(["--define", &define("_rpmdir", &updates.join("Packages/stubs"))]);
        rpmbuild.args(["--define", "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"]);
        rpmbuild.arg(work.path().join("stubs.spec"));
        tools::run_logged("packing the stubs", &rpmbuild, &cache.log("repository"))?;

        let mut createrepo = Command::new("createrepo_c");
        createrepo.args(["--quiet", "--no-database", "--set-timestamp-to-revision"]);
        createrepo.arg(format!("--revision={}", oci::EPOCH)).arg(&updates);
        tools::run_logged("indexing the repository", &createrepo, &cache.log("repository"))
    })
}

fn stubs() -> String {
    let mut spec = format!(
        "Name: lab-stubs\nVersion: {}\nRelease: 1\nSummary: Names only\nLicense: MIT\nBuildArch: noarch\n\
         %description\nNames only.\n",
        fedora::RELEASE
    );
    for (name, provides) in STUBS {
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
