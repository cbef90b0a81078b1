//! The builder image in place of Fedora's: a layer of Debian packages, and a small one that makes OpenZFS's build, rpm and
//! dnf treat it as Fedora.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::error::{Context, Result};
use crate::lab::apt::{self, Apt};
use crate::lab::cache::{CacheKey, LabCache};
use crate::lab::environment;
use crate::lab::oci::{self, Image, LabLayout};
use crate::tools;

/// The Fedora release that the image claims to be.
pub(crate) const RELEASE: &str = "43";
/// The packages of one architecture, below the server's `/fedora`.
pub(crate) const UPDATES: &str = "updates/43/Everything/x86_64";
/// The tag of the image with only the packages.
pub(crate) const PACKAGES_TAG: &str = "packages";

/// The Debian counterparts of the packages that `Containerfile.in` installs on Fedora, rpm with the programs for debuginfo
/// packages, and what compiles the kernel. `python3-ply` is named because debootstrap does not resolve virtual packages.
const PACKAGES: &str = "\
    bc bison bzip2 ca-certificates ccache cpio debugedit diffutils dnf dwz elfutils file findutils flex gawk \
    gcc kmod libaio-dev libattr1-dev libblkid-dev libcurl4-openssl-dev libdw-dev libelf-dev libffi-dev \
    libssl-dev libtirpc-dev libudev-dev libunwind-dev make ncompress openssl patch perl python3 python3-cffi \
    python3-dev python3-packaging python3-ply python3-setuptools rpm rsync uuid-dev xz-utils zlib1g-dev zstd";
const SCRIPT: &str = include_str!("rootfs.sh");

/// The layout with only the packages.
pub(crate) fn packages(cache: &LabCache) -> Result<PathBuf> {
    let packages = PACKAGES.split_whitespace().collect::<Vec<_>>().join(",");
    cache.entry("packages", CacheKey::new().with(SCRIPT).with(&packages).with(apt::SUITE), |directory| {
        tools::need(&[("debootstrap", "debootstrap"), ("unshare", "util-linux"), ("tar", "tar")])?;
        let apt = Apt::open(cache)?;
        let work = cache.scratch()?;
        let root = work.path().join("root");
        fs::create_dir(&root)?;
        let mut make = Command::new("unshare");
        // In namespaces of its own, so that its mounts and processes end with it.
        make.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        make.args(["sh", "-c", SCRIPT, "rootfs"]).arg(&root).args([apt::SUITE, &apt.mirror, &packages]);
        tools::run_logged("debootstrap", &make, &cache.log("packages"))?;

        let layout = LabLayout::create(directory)?;
        let layer = layout.add_layer(&root).context("packing the root file system")?;
        let image = Image { architecture: "amd64", layers: &[layer], labels: json!({}) };
        layout.add(PACKAGES_TAG, &[image]).map(drop)
    })
}

/// The layout with the image `43`: complete for x86_64, without layers for aarch64.
pub(crate) fn image(cache: &LabCache, packages: &Path) -> Result<PathBuf> {
    let files = files();
    cache.entry(
        "fedora",
        CacheKey::new().with(format!("{files:?}")).with(oci::FORMAT).with_entry(packages),
        |directory| {
            let root = cache.scratch()?;
            for (path, content) in &files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().context("the path has no directory")?)?;
                match content.strip_prefix("-> ") {
                    Some(target) => symlink(target, path)?,
                    None => fs::write(path, content)?,
                }
            }
            let layout = LabLayout::create(directory)?;
            let mut layers = layout.adopt(packages)?;
            layers.push(layout.add_layer(root.path())?);
            let labels = json!({ "name": "fedora", "version": RELEASE, "vendor": "the lab of zfs-kmods" });
            let here = Image { architecture: "amd64", layers: &layers, labels: labels.clone() };
            let elsewhere = Image { architecture: "arm64", layers: &[], labels };
            layout.add(RELEASE, &[here, elsewhere]).map(drop)
        },
    )
}

/// Files, and links (`-> target`), that identify the image as Fedora.
fn files() -> Vec<(&'static str, String)> {
    let os_release = format!(
        "NAME=\"Fedora Linux\"\nVERSION=\"{RELEASE} (stand-in of the lab)\"\nID=fedora\nVERSION_ID={RELEASE}\n\
         PLATFORM_ID=\"platform:f{RELEASE}\"\nPRETTY_NAME=\"Fedora Linux {RELEASE} (stand-in of the lab)\"\n"
    );
    let repository = format!(
        "[updates]\nname=Fedora {RELEASE} updates (stand-in of the lab)\nbaseurl={}\nenabled=1\ngpgcheck=0\n\
         metadata_expire=0\n",
        environment::url(&format!("/fedora/{UPDATES}/"))
    );
    // From the fifth line on, macros of redhat-rpm-config and systemd-rpm-macros.
    let macros = format!(
        "%fedora {RELEASE}\n%fc{RELEASE} 1\n%dist .fc{RELEASE}\n%_vendor redhat\n\
         %_binary_payload w19.zstdio\n%_debugsource_packages 1\n%_debuginfo_subpackages 1\n\
         %_include_minidebuginfo 1\n%_unique_build_ids 1\n%_unique_debug_names 1\n%_unique_debug_srcs 1\n\
         %_unitdir /usr/lib/systemd/system\n%_presetdir /usr/lib/systemd/system-preset\n\
         %_modulesloaddir /usr/lib/modules-load.d\n%_systemdgeneratordir /usr/lib/systemd/system-generators\n\
         %_udevdir /usr/lib/udev\n%_udevrulesdir /usr/lib/udev/rules.d\n"
    );
    // Debian's own answer is `dist-packages`. Specs of OpenZFS before 2.4 ask for this directory, and its build installs to
    // the other one.
    let python = "import distutils.sysconfig as old, sysconfig as new; old.get_python_lib = \
                  lambda *_, path=new.get_path('purelib', 'posix_prefix'): path\n"
        .to_owned();
    vec![
        ("etc/dnf/vars/releasever", format!("{RELEASE}\n")),
        ("etc/fedora-release", format!("Fedora release {RELEASE} (Lab)\n")),
        ("etc/os-release", "-> ../usr/lib/os-release".to_owned()),
        ("etc/redhat-release", "-> fedora-release".to_owned()),
        ("etc/system-release", "-> fedora-release".to_owned()),
        ("etc/yum.repos.d/fedora-updates.repo", repository),
        ("usr/lib/os-release", os_release),
        ("usr/lib/python3/dist-packages/fedora.pth", python),
        ("usr/lib/rpm/macros.d/macros.fedora", macros),
    ]
}
