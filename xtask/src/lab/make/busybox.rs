//! busybox for the guest of the boot test: Debian's program in an RPM with Fedora's name.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::lab::apt::{self, Apt};
use crate::lab::cache::{CacheKey, LabCache};
use crate::lab::make::fedora;
use crate::lab::make::rpms::rpmbuild;
use crate::tools;

/// Debian's package `busybox` is linked dynamically.
const PACKAGE: &str = "busybox-static";

pub(crate) fn package(cache: &LabCache) -> Result<PathBuf> {
    let key = CacheKey::new().with(PACKAGE).with(apt::SUITE).with(spec(Path::new("")));
    let entry = cache.entry("busybox", key, |directory| {
        tools::need(&[("rpmbuild", "rpm")])?;
        let work = cache.scratch()?;
        Apt::open(cache)?.unpack(PACKAGE, work.path())?;
        let program = ["usr/bin/busybox", "bin/busybox"]
            .map(|path| work.path().join(path))
            .into_iter()
            .find(|path| path.exists())
            .context(format_args!("{PACKAGE} has no busybox"))?;
        fs::write(work.path().join("busybox.spec"), spec(&program))?;
        let rpmbuild = rpmbuild(work.path(), "busybox.spec", directory, "busybox.rpm");
        tools::run_logged("packing busybox", &rpmbuild, &cache.log("repository"))
    })?;
    Ok(entry.join("busybox.rpm"))
}

fn spec(program: &Path) -> String {
    format!(
        "%global debug_package %{{nil}}\n%global _build_id_links none\nName: busybox\nVersion: {}\nRelease: 1\n\
         Summary: Statically linked small versions of many commands\nLicense: GPL-2.0-only\nAutoReqProv: no\n\
         %description\nDebian's {PACKAGE}.\n\
         %install\ninstall -D -m 0755 {} %{{buildroot}}/usr/bin/busybox\n%files\n/usr/bin/busybox\n",
        fedora::RELEASE,
        program.display()
    )
}
