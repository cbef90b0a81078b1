//! RPMs as OpenZFS's spec files give them, and as they should never be.

use std::fs;
use std::path::{Path, PathBuf};

use kmod_builder::model::Target;
use rpm::{
    BuildConfig, CompressionType, Dependency, FileOptions, Header, HeaderEntry, IndexData, IndexTag,
    PackageBuilder,
};

pub(crate) const KERNEL: &str = "6.17.8-300.fc43.x86_64";

pub(crate) fn target() -> Target {
    Target { zfs: "2.4.3".parse().unwrap(), kernel: KERNEL.parse().unwrap() }
}

pub(crate) struct Recipe {
    pub(crate) builder: PackageBuilder,
    pub(crate) name: String,
    source: bool,
    arch: String,
}

impl Recipe {
    fn new(name: &str, arch: &str) -> Self {
        let mut builder = PackageBuilder::new(name, "2.4.3", "CDDL", arch, "Commands to control it");
        builder
            .using_config(BuildConfig::v4().compression(CompressionType::None).source_date(1_790_000_000))
            .release("1.fc43")
            .url("https://github.com/openzfs/zfs");
        Self { builder, name: name.to_owned(), source: false, arch: arch.to_owned() }
    }

    fn with(mut self, change: impl FnOnce(&mut PackageBuilder)) -> Self {
        change(&mut self.builder);
        self
    }

    pub(crate) fn write(mut self, directory: &Path) -> PathBuf {
        let mut package = self.builder.build().unwrap();
        if self.source {
            mark_as_source(&mut package);
        }
        let mut bytes = Vec::new();
        package.write(&mut bytes).unwrap();
        let arch = if self.source { "src" } else { &self.arch };
        let path = directory.join(format!("{}-2.4.3-1.fc43.{arch}.rpm", self.name));
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// The file of a module that names this kernel: an ELF file with names of sections and a `.modinfo`.
pub(crate) fn module_file(machine: u16, vermagic: &str) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let info = format!("license=CDDL\0vermagic={vermagic}\0name=zfs\0");
    let (names_at, info_at) = (64_u64, 64 + names.len() as u64);
    let table_at = info_at + info.len() as u64;
    let mut header = [0; 64];
    header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    header[18..20].copy_from_slice(&machine.to_le_bytes());
    header[40..48].copy_from_slice(&table_at.to_le_bytes());
    for (at, value) in [(58, 64_u16), (60, 3), (62, 2)] {
        header[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    let section = |name: u32, offset: u64, size: u64| {
        let mut section = [0; 64];
        section[..4].copy_from_slice(&name.to_le_bytes());
        section[24..32].copy_from_slice(&offset.to_le_bytes());
        section[32..40].copy_from_slice(&size.to_le_bytes());
        section
    };
    let info_section = section(1, info_at, info.len() as u64);
    let names_section = section(10, names_at, names.len() as u64);
    [&header[..], names, info.as_bytes(), &[0; 64], &info_section, &names_section].concat()
}

pub(crate) fn module(path: &str, kernel: &str) -> (String, Vec<u8>) {
    (path.to_owned(), module_file(62, &format!("{kernel} SMP preempt mod_unload ")))
}

pub(crate) fn kmod(kernel: &str, modules: &[(String, Vec<u8>)]) -> Recipe {
    let depmod = format!("/sbin/depmod -aF /lib/modules/{kernel}/System.map {kernel} &> /dev/null || :");
    kmod_running(&depmod, kernel, modules).with(|builder| {
        builder
            .requires(Dependency::greater_eq("zfs-kmod-common", "2.4.3"))
            .requires(Dependency::eq("kernel-uname-r", kernel));
    })
}

fn kmod_running(script: &str, kernel: &str, modules: &[(String, Vec<u8>)]) -> Recipe {
    let recipe = Recipe::new(&format!("kmod-zfs-{kernel}"), "x86_64").with(|builder| {
        builder
            .provides(Dependency::eq("zfs-kmod", "2.4.3-1.fc43"))
            .post_install_script(script)
            .post_uninstall_script(script);
    });
    with_files(recipe, modules)
}

/// What kmodtool makes of a kernel that it takes for a home-made one.
pub(crate) fn trapped_kmod(kernel: &str) -> Recipe {
    let depmod = format!("[ \"$(uname -r)\" = \"{kernel}\"  ] && /sbin/depmod -a > /dev/null || :");
    kmod_running(&depmod, kernel, &modules(kernel))
}

pub(crate) fn modules(kernel: &str) -> Vec<(String, Vec<u8>)> {
    ["spl", "zfs"].map(|name| module(&format!("/lib/modules/{kernel}/extra/zfs/{name}.ko"), kernel)).to_vec()
}

pub(crate) fn with_files(recipe: Recipe, files: &[(String, Vec<u8>)]) -> Recipe {
    recipe.with(|builder| {
        for (path, bytes) in files {
            builder.with_file_contents(bytes.clone(), FileOptions::new(path)).unwrap();
        }
    })
}

pub(crate) fn package(name: &str, arch: &str) -> Recipe {
    Recipe::new(name, arch)
}

/// A source package, which names the architecture on which it was made.
pub(crate) fn source(name: &str) -> Recipe {
    let mut recipe = Recipe::new(name, "x86_64");
    recipe.source = true;
    recipe
}

/// The crate's builder makes binary packages only; this is how the headers differ.
fn mark_as_source(package: &mut rpm::Package) {
    let entries = package.metadata.header.get_all_entries().unwrap().into_iter();
    let region = IndexTag::RPMTAG_HEADERIMMUTABLE;
    let left_out = [region as u32, IndexTag::RPMTAG_SOURCERPM as u32];
    let entries = entries
        .filter(|(tag, _)| !left_out.contains(tag))
        .chain([(IndexTag::RPMTAG_SOURCEPACKAGE as u32, IndexData::Int32(vec![1]))])
        .map(|(tag, data)| HeaderEntry::new(tag, data));
    package.metadata.header = Header::from_entries(entries, region);
    package.clear_signatures().unwrap();
}

pub(crate) fn kernel_package(directory: &Path, name: &str, files: &[(&str, Vec<u8>)]) -> PathBuf {
    let (version, release) = KERNEL.strip_suffix(".x86_64").unwrap().split_once('-').unwrap();
    let mut builder = PackageBuilder::new(name, version, "GPL-2.0-only", "x86_64", "The Linux kernel");
    builder.using_config(BuildConfig::v4().compression(CompressionType::None)).release(release);
    for (path, bytes) in files {
        let options = FileOptions::new(format!("/lib/modules/{KERNEL}/{path}"));
        builder.with_file_contents(bytes.clone(), options).unwrap();
    }
    let path = directory.join(format!("{name}.rpm"));
    builder.build().unwrap().write(&mut fs::File::create(&path).unwrap()).unwrap();
    path
}

pub(crate) fn kernel_core(directory: &Path) -> PathBuf {
    kernel_package(directory, "kernel-core", &[("vmlinuz", b"kernel".to_vec())])
}

pub(crate) fn kernel_modules(directory: &Path) -> PathBuf {
    let driver = module_file(62, KERNEL);
    let files = ["kernel/virtio_pci.ko", "kernel/virtio_blk.ko"].map(|path| (path, driver.clone()));
    kernel_package(directory, "kernel-modules-core", &files)
}

pub(crate) fn good() -> (Vec<Recipe>, Vec<Recipe>) {
    good_for(KERNEL)
}

pub(crate) fn good_for(kernel: &str) -> (Vec<Recipe>, Vec<Recipe>) {
    let x86 = |name: &str| package(name, "x86_64");
    let zfs = x86("zfs").with(|builder| {
        builder
            .requires(Dependency::eq("zfs-kmod", "2.4.3"))
            .provides(Dependency::eq("zfs-kmod-common", "2.4.3-1.fc43"));
    });
    let mut userland = vec![zfs, source("zfs")];
    userland.extend(["libnvpair3", "libuutil3", "libzfs7", "libzpool7"].map(x86));
    userland.extend(["libzfs7-devel", "zfs-test", "zfs-debuginfo"].map(x86));
    userland.extend(["zfs-dracut", "python3-pyzfs"].map(|name| package(name, "noarch")));
    let kmod = vec![
        self::kmod(kernel, &modules(kernel)),
        source("zfs-kmod"),
        x86("kmod-zfs-devel"),
        x86(&format!("kmod-zfs-devel-{kernel}")),
    ];
    (userland, kmod)
}
