//! The stand-in for Fedora's container image: Debian packages under Fedora's name, as an image layout.

use std::{path::PathBuf, process::Command};

use serde_json::json;

use crate::{
    fail::{Context, Result},
    lab::{
        apt::{self, Apt},
        cache::{Cache, Key},
        oci::{Image, Layout},
    },
    tools,
};

/// The Fedora release that the lab plays.
pub(crate) const RELEASE: &str = "43";

/// What a builder has on Fedora, by Debian's names: the packages that `Containerfile.in` installs there, rpm with the
/// programs that make debuginfo packages, and what the lab's kernel is compiled with.
/// (`python3-ply` is there by name because debootstrap does not follow names that packages merely provide.)
const PACKAGES: &str = "\
    bc bison bzip2 ca-certificates ccache cpio debugedit diffutils dnf dwz elfutils file findutils flex gawk \
    gcc kmod libaio-dev libattr1-dev libblkid-dev libcurl4-openssl-dev libdw-dev libelf-dev libffi-dev \
    libssl-dev libtirpc-dev libudev-dev libunwind-dev make ncompress openssl patch perl python3 python3-cffi \
    python3-dev python3-packaging python3-ply python3-setuptools rpm rsync uuid-dev xz-utils zlib1g-dev zstd";
const SCRIPT: &str = include_str!("files/fedora-rootfs.sh");

/// The layout with the image `43`: the real one for this machine, and one without content for the other architecture.
pub(crate) fn image(cache: &Cache) -> Result<PathBuf> {
    let packages = PACKAGES.split_whitespace().collect::<Vec<_>>().join(",");
    cache.entry(
        "fedora",
        Key::new().with(SCRIPT).with(&packages).with(apt::SUITE).with(RELEASE),
        |directory| {
            tools::need(&[("debootstrap", "debootstrap"), ("unshare", "util-linux"), ("tar", "tar")])?;
            let apt = Apt::open(cache)?;
            let work = cache.scratch()?;
            let root = work.path().join("root");
            std::fs::create_dir(&root)?;
            let mut make = Command::new("unshare");
            // In namespaces of its own: neither its mounts nor its processes can outlive it.
            make.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
            make.args(["sh", "-c", SCRIPT, "fedora-rootfs"]);
            make.arg(&root).args([apt::SUITE, apt.mirror(), &packages, RELEASE]);
            tools::run_logged("debootstrap", &make, &cache.log("fedora"))?;

            let layout = Layout::create(directory)?;
            let layer = layout.add_layer(&root).context("packing the root file system")?;
            let labels = json!({ "name": "fedora", "version": RELEASE, "vendor": "the lab of zfs-kmods" });
            let here = Image { architecture: "amd64", layers: &[layer], labels: labels.clone() };
            let elsewhere = Image { architecture: "arm64", layers: &[], labels };
            layout.add(RELEASE, &[here, elsewhere])?;
            Ok(())
        },
    )
}
