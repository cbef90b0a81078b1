//! Images derived from a built one, for kernels that were never compiled and with faults. The program accepts them as its
//! own: packages by rpmbuild, two layers, labels and inputs have its format.

mod faults;
mod package;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Context, Result};
use crate::lab::cache;
use crate::lab::oci::{LabLayer, LabLayout, layer_descriptor};
use crate::lab::play::building;
use crate::lab::play::program::Program;
use crate::tools;
use package::Renaming;

/// Changes the files of a package in a directory.
type Change<'a> = &'a dyn Fn(&Path) -> Result;

#[derive(Clone, Copy)]
pub(crate) enum InjectedFault<'a> {
    /// zfs.ko of this other image, which is for another kernel.
    ForeignModule(&'a BuiltImage),
    /// zfs.ko begins with a BUG.
    Bug,
    /// A pool cannot be imported after an export.
    LostPool,
}

pub(crate) struct BuiltImage {
    kernel: String,
    store: PathBuf,
    /// The directory of its packages, with a directory for each group.
    packages: PathBuf,
    work: PathBuf,
}

impl BuiltImage {
    /// Extracts the packages of the image for `kernel` with the program.
    pub(crate) fn extract(program: &Program, kernel: &str) -> Result<Self> {
        tools::need(&[("rpmbuild", "rpm"), ("rpm2cpio", "rpm2cpio"), ("cpio", "cpio")])?;
        tools::need(&[("nm", "binutils"), ("readelf", "binutils")])?;
        let work = program.path("variants");
        fs::create_dir_all(&work)?;
        let packages = work.join(format!("of-{kernel}"));
        if !packages.exists() {
            let (image, to) = (building::image(kernel), packages.to_string_lossy().into_owned());
            program.done(&["extract-rpms", &image, "--to", &to, "--only", building::ALL_GROUPS])?;
        }
        Ok(Self { kernel: kernel.to_owned(), store: program.path("images"), packages, work })
    }

    /// A kernel package whose kernel prints nothing.
    pub(crate) fn silent_kernel(&self, package: &Path) -> Result<PathBuf> {
        let silent = self.work.join("silent-kernel-core.rpm");
        package::repack(package, &silent, &Renaming::new("", "")?, &faults::silence)?;
        Ok(silent)
    }

    /// The same image for another kernel, whose name has the same length. Returns its location.
    pub(crate) fn for_kernel(&self, kernel: &str) -> Result<String> {
        let packages = [format!("kmod-zfs-{}", self.kernel), format!("kmod-zfs-devel-{}", self.kernel)];
        self.make(kernel, kernel, &packages, &|_| Ok(()))
    }

    /// The same image with a fault. Returns its location.
    pub(crate) fn with(&self, fault: InjectedFault<'_>) -> Result<String> {
        let kmod = format!("kmod-zfs-{}", self.kernel);
        match fault {
            InjectedFault::ForeignModule(other) => {
                let theirs = tempfile::tempdir_in(&self.work)?;
                package::unpack(&other.package(&format!("kmod-zfs-{}", other.kernel))?, theirs.path())?;
                let change = |root: &Path| faults::foreign_module(root, theirs.path());
                self.make("foreign-module", &self.kernel, &[kmod], &change)
            }
            InjectedFault::Bug => self.make("bug", &self.kernel, &[kmod], &faults::plant_bug),
            InjectedFault::LostPool => {
                self.make("lost-pool", &self.kernel, &["zfs".to_owned()], &faults::lose_pool)
            }
        }
    }

    /// Repacks the packages `anew`, and composes an image from them and the others.
    fn make(&self, name: &str, kernel: &str, anew: &[String], change: Change<'_>) -> Result<String> {
        let renaming = Renaming::new(&self.kernel, kernel)?;
        let (store, tag) = (self.work.join(name), building::tag(kernel));
        let parts = [tempfile::tempdir_in(&self.work)?, tempfile::tempdir_in(&self.work)?];
        for file in tools::files_below(&self.packages)? {
            let package = name_of(&file)?;
            let is_kmod = package.starts_with("kmod-zfs") || package.starts_with("zfs-kmod");
            let inside = file.strip_prefix(&self.packages)?;
            let place = parts[usize::from(is_kmod)].path().join(renaming.text(&inside.to_string_lossy()));
            fs::create_dir_all(place.parent().unwrap_or(&place))?;
            if anew.contains(&package) {
                package::repack(&file, &place, &renaming, change)?;
            } else if !package.contains(&self.kernel) || renaming.is_none() {
                fs::hard_link(&file, &place)?;
            }
            // The other packages contain debug information of the original kernel's modules.
        }
        let layout = LabLayout::create(&store)?;
        let layers = [layout.add_files(parts[0].path())?, layout.add_files(parts[1].path())?];
        self.compose(&layout, &layers, &renaming, &tag)?;
        Ok(format!("oci:{}:{tag}", store.display()))
    }

    /// Writes manifest, configuration and inputs of the original, renamed.
    fn compose(&self, layout: &LabLayout, layers: &[LabLayer], renaming: &Renaming, tag: &str) -> Result {
        let theirs = LabLayout::open(&self.store);
        let old_tag = building::tag(&self.kernel);
        let mut manifest = theirs.manifest(&old_tag)?;
        let inputs = fs::read_to_string(self.store.join(format!("{old_tag}.inputs.json")))?;
        let identity = |inputs: &str| -> Result<String> {
            let mut value: Value = serde_json::from_str(inputs)?;
            value.as_object_mut().context("the inputs are not an object")?.remove("base");
            Ok(format!("sha256:{}", cache::digest(value.to_string())))
        };
        let old_identity = identity(&inputs)?;
        if manifest["annotations"]["io.github.zfs-kmods.inputs"] != old_identity.as_str() {
            return Err("the lab and the program compute different digests of the inputs".into());
        }
        let inputs = renaming.text(&inputs);
        let identity = identity(&inputs)?;
        fs::write(layout.root.join(format!("{tag}.inputs.json")), &inputs)?;
        let rename = |document: &Value| -> Result<Value> {
            let text = renaming.text(&document.to_string()).replace(&old_identity, &identity);
            Ok(serde_json::from_str(&text)?)
        };
        let mut config = rename(&theirs.read(&manifest["config"])?)?;
        manifest = rename(&manifest)?;
        for (number, layer) in layers.iter().enumerate() {
            config["rootfs"]["diff_ids"][number] = layer.diff_id.as_str().into();
            let annotations = manifest["layers"][number]["annotations"].take();
            manifest["layers"][number] = layer_descriptor(layer);
            manifest["layers"][number]["annotations"] = annotations;
        }
        layout.add_manifest(tag, &config, manifest)
    }

    fn package(&self, name: &str) -> Result<PathBuf> {
        let mut files = tools::files_below(&self.packages)?.into_iter();
        let found = files.find(|file| name_of(file).is_ok_and(|found| found == name));
        found.context(format_args!("the image has no package {name}"))
    }
}

/// `NAME` of `NAME-VERSION-RELEASE.ARCH.rpm`, with `.src` for a source package.
fn name_of(file: &Path) -> Result<String> {
    let text = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let source = if text.ends_with(".src.rpm") { ".src" } else { "" };
    let name = text.rsplitn(3, '-').nth(2).context(format_args!("{text} is not the name of a package"))?;
    Ok(format!("{name}{source}"))
}
