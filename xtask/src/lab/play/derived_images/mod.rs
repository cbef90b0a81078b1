//! Images derived from a built one, for kernels that were never compiled and with faults. The program accepts them as its
//! own: packages by rpmbuild, two layers, labels and inputs have its format.

mod faults;
mod package;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Context, Result};
use crate::lab::play::building;
use crate::lab::play::program::Program;
use crate::lab::{cache, oci};
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
        tools::need(&[
            ("rpmbuild", "rpm"),
            ("rpm2cpio", "rpm2cpio"),
            ("cpio", "cpio"),
            ("nm", "binutils"),
            ("readelf", "binutils"),
        ])?;
        let work = program.path("variants");
        fs::create_dir_all(&work)?;
        let packages = work.join(format!("of-{kernel}"));
        if !packages.exists() {
            let (image, to) = (building::image(kernel), packages.to_string_lossy().into_owned());
            let all = "main,devel,debug,other,src";
            program.run(&["extract-rpms", &image, "--to", &to, "--only", all])?.expect(0)?;
        }
        Ok(Self { kernel: kernel.to_owned(), store: program.path("images"), packages, work })
    }

    /// A kernel package whose kernel prints nothing.
    pub(crate) fn silent_kernel(&self, package: &Path) -> Result<PathBuf> {
        let silent = self.work.join("silent-kernel-core.rpm");
        package::repack(package, &silent, &Renaming::new("", "")?, &faults::silence)?;
        Ok(silent)
    }

    fn files(&self, package: &str) -> Result<tempfile::TempDir> {
        let directory = tempfile::tempdir_in(&self.work)?;
        package::unpack(&self.package(package)?, directory.path())?;
        Ok(directory)
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
                let theirs = other.files(&format!("kmod-zfs-{}", other.kernel))?;
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
            let (package, is_kmod) = (name_of(&file)?, is_kmod(&file));
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
        let layout = oci::LabLayout::create(&store)?;
        let tar = |part: &tempfile::TempDir| layout.add_files(part.path());
        let layers = [tar(&parts[0])?, tar(&parts[1])?];
        self.compose(&layout, &layers, &renaming, &tag)?;
        Ok(format!("oci:{}:{tag}", store.display()))
    }

    /// Writes manifest, configuration and inputs of the original, renamed.
    fn compose(
        &self,
        layout: &oci::LabLayout,
        layers: &[oci::LabLayer; 2],
        renaming: &Renaming,
        tag: &str,
    ) -> Result {
        let theirs = oci::LabLayout::open(&self.store);
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
        fs::write(layout.root().join(format!("{tag}.inputs.json")), &inputs)?;
        let rename = |document: &Value| -> Result<Value> {
            let text = renaming.text(&document.to_string()).replace(&old_identity, &identity);
            Ok(serde_json::from_str(&text)?)
        };
        let mut config = rename(&theirs.read(&manifest["config"])?)?;
        manifest = rename(&manifest)?;
        for (number, layer) in layers.iter().enumerate() {
            config["rootfs"]["diff_ids"][number] = layer.diff_id().into();
            let annotations = manifest["layers"][number]["annotations"].take();
            manifest["layers"][number] = oci::layer_descriptor(layer);
            manifest["layers"][number]["annotations"] = annotations;
        }
        layout.add_manifest(tag, &config, manifest)
    }

    fn package(&self, name: &str) -> Result<PathBuf> {
        let found = tools::files_below(&self.packages)?
            .into_iter()
            .find(|file| name_of(file).is_ok_and(|found| found == name));
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

fn is_kmod(file: &Path) -> bool {
    name_of(file).is_ok_and(|name| name.starts_with("kmod-zfs") || name.starts_with("zfs-kmod"))
}
