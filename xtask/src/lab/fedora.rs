//! The stand-in for Fedora's container image, as an image layout: a layer of Debian packages, and a small one that
//! makes them pass for Fedora.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::{
    error::{Context, Result},
    lab::{
        apt::{self, Apt},
        cache::{Cache, Key},
        oci::{self, Image, Layout},
        rpms, world,
    },
    tools,
};

/// The Fedora release that the lab plays.
pub(crate) const RELEASE: &str = "43";
/// The tag of the layout that has the packages only.
pub(crate) const PACKAGES_TAG: &str = "packages";

/// What a builder has on Fedora, by Debian's names: the packages that `Containerfile.in` installs there, rpm with the
/// programs that make debuginfo packages, and what the lab's kernel is compiled with.
/// (`python3-ply` is there by name because debootstrap does not follow names that packages merely provide.)
const PACKAGES: &str = "\
    bc bison bzip2 ca-certificates ccache cpio debugedit diffutils dnf dwz elfutils file findutils flex gawk \
    gcc kmod libaio-dev libattr1-dev libblkid-dev libcurl4-openssl-dev libdw-dev libelf-dev libffi-dev \
    libssl-dev libtirpc-dev libudev-dev libunwind-dev make ncompress openssl patch perl python3 python3-cffi \
    python3-dev python3-packaging python3-ply python3-setuptools rpm rsync uuid-dev xz-utils zlib1g-dev zstd";
const SCRIPT: &str = include_str!("files/rootfs.sh");

/// The layout with the packages alone. Takes minutes.
pub(crate) fn packages(cache: &Cache) -> Result<PathBuf> {
    let packages = PACKAGES.split_whitespace().collect::<Vec<_>>().join(",");
    cache.entry("packages", Key::new().with(SCRIPT).with(&packages).with(apt::SUITE), |directory| {
        tools::need(&[("debootstrap", "debootstrap"), ("unshare", "util-linux"), ("tar", "tar")])?;
        let apt = Apt::open(cache)?;
        let work = cache.scratch()?;
        let root = work.path().join("root");
        fs::create_dir(&root)?;
        let mut make = Command::new("unshare");
        // In namespaces of its own: neither its mounts nor its processes can outlive it.
        make.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        make.args(["sh", "-c", SCRIPT, "rootfs"]);
        make.arg(&root).args([apt::SUITE, apt.mirror(), &packages]);
        tools::run_logged("debootstrap", &make, &cache.log("packages"))?;

        let layout = Layout::create(directory)?;
        let layer = layout.add_layer(&root).context("packing the root file system")?;
        let image = Image { architecture: "amd64", layers: &[layer], labels: json!({}) };
        layout.add(PACKAGES_TAG, &[image])?;
        Ok(())
    })
}

/// The layout with the image `43`: the real one for this machine, and one without content for the other architecture.
pub(crate) fn image(cache: &Cache, packages: &Path) -> Result<PathBuf> {
    let files = files();
    cache.entry(
        "fedora",
        Key::new().with(format!("{files:?}")).with(oci::FORMAT).with_entry(packages),
        |directory| {
            let root = cache.scratch()?;
            for (path, content) in &files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().context("a file without a directory")?)?;
                match content.strip_prefix("-> ") {
                    Some(target) => symlink(target, path)?,
                    None => fs::write(path, content)?,
                }
            }
            let from = Layout::open(packages);
            let layout = Layout::create(directory)?;
            let mut layers = from.first_layers()?;
            for layer in &layers {
                layout.adopt(&from, layer)?;
            }
            layers.push(layout.add_layer(root.path())?);
            let labels = json!({ "name": "fedora", "version": RELEASE, "vendor": "the lab of zfs-kmods" });
            let here = Image { architecture: "amd64", layers: &layers, labels: labels.clone() };
            let elsewhere = Image { architecture: "arm64", layers: &[], labels };
            layout.add(RELEASE, &[here, elsewhere])?;
            Ok(())
        },
    )
}

/// What makes OpenZFS's configure and spec files, rpm and dnf take it for Fedora: files, and links (`-> target`).
fn files() -> Vec<(&'static str, String)> {
    let os_release = format!(
        "NAME=\"Fedora Linux\"\nVERSION=\"{RELEASE} (stand-in of the lab)\"\nID=fedora\nVERSION_ID={RELEASE}\n\
         PLATFORM_ID=\"platform:f{RELEASE}\"\nPRETTY_NAME=\"Fedora Linux {RELEASE} (stand-in of the lab)\"\n"
    );
    let repository = format!(
        "[updates]\nname=Fedora {RELEASE} updates (stand-in of the lab)\nbaseurl={}\nenabled=1\ngpgcheck=0\n\
         metadata_expire=0\n",
        world::url(&format!("/fedora/{}/", rpms::UPDATES))
    );
    // The first four lines say which Fedora it is. The rest is as redhat-rpm-config and systemd-rpm-macros have it there.
    let macros = format!(
        "%fedora {RELEASE}\n%fc{RELEASE} 1\n%dist .fc{RELEASE}\n%_vendor redhat\n\
         %_binary_payload w19.zstdio\n%_debugsource_packages 1\n%_debuginfo_subpackages 1\n\
         %_include_minidebuginfo 1\n%_unique_build_ids 1\n%_unique_debug_names 1\n%_unique_debug_srcs 1\n\
         %_unitdir /usr/lib/systemd/system\n%_presetdir /usr/lib/systemd/system-preset\n\
         %_modulesloaddir /usr/lib/modules-load.d\n%_systemdgeneratordir /usr/lib/systemd/system-generators\n\
         %_udevdir /usr/lib/udev\n%_udevrulesdir /usr/lib/udev/rules.d\n"
    );
    vec![
        ("etc/dnf/vars/releasever", format!("{RELEASE}\n")),
        ("etc/fedora-release", format!("Fedora release {RELEASE} (Lab)\n")),
        ("etc/os-release", "-> ../usr/lib/os-release".to_owned()),
        ("etc/redhat-release", "-> fedora-release".to_owned()),
        ("etc/system-release", "-> fedora-release".to_owned()),
        ("etc/yum.repos.d/fedora-updates.repo", repository),
        ("usr/lib/os-release", os_release),
        ("usr/lib/rpm/macros.d/macros.fedora", macros),
    ]
}
