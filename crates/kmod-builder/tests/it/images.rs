use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kmod_builder::io::compose::{self, ComposedImage};
use kmod_builder::io::layout::Layout;
use kmod_builder::model::inputs::BuildInputs;
use kmod_builder::model::{Compression, Digest};
use tempfile::TempDir;

use crate::rpms::{self, KERNEL, Recipe};

pub(crate) fn inputs() -> BuildInputs {
    inputs_for(KERNEL)
}

pub(crate) fn inputs_for(kernel: &str) -> BuildInputs {
    let digest = Digest::of(b"");
    let text = format!(
        r#"{{"schema":1,"tool":"0.1.0","template":"{digest}","zfs":"2.4.3","kernel":"{kernel}","arch":"x86_64",
            "tarball":{{"url":"https://example.org/zfs-2.4.3.tar.gz","digest":"{digest}"}},
            "kernel_devel":{{"nevra":"kernel-devel-{kernel}","url":"https://example.org/kernel-devel.rpm"}},
            "builder_image":"registry.example.org/fedora@{digest}","fedora":"43","compression":"zstd",
            "source_date_epoch":1790000000}}"#
    );
    BuildInputs::parse(&text).unwrap()
}

/// The row of the matrix for the release of [`inputs`], with the digest of their tarball.
pub(crate) fn matrix_row(tarball: &Digest) -> String {
    format!(
        "[[release]]\nversion = \"2.4.3\"\nlinux_min = \"4.18\"\nlinux_max = \"7.0\"\nsha256 = \"{}\"\n\
         source = \"https://example.org/META\"\n",
        tarball.hex()
    )
}

/// Every file below a directory, with what is in it.
pub(crate) fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// Changes one bit in the middle of a file, and returns what was in the file.
pub(crate) fn damage(file: &Path) -> Vec<u8> {
    let whole = fs::read(file).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    fs::write(file, changed).unwrap();
    whole
}

pub(crate) struct Rpms {
    pub(crate) directory: TempDir,
}

impl Rpms {
    pub(crate) fn new(recipes: (Vec<Recipe>, Vec<Recipe>)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::write(recipes, directory.path());
        Self { directory }
    }

    pub(crate) fn write((userland, kmod): (Vec<Recipe>, Vec<Recipe>), directory: &Path) {
        for (name, recipes) in [("userland", userland), ("kmod", kmod)] {
            let directory = directory.join(name);
            fs::create_dir_all(&directory).unwrap();
            for recipe in recipes {
                drop(recipe.write(&directory));
            }
        }
    }

    pub(crate) fn userland(&self) -> PathBuf {
        self.directory.path().join("userland")
    }

    pub(crate) fn kmod(&self) -> PathBuf {
        self.directory.path().join("kmod")
    }

    pub(crate) async fn compose(&self, compression: Compression, layout: &Path) -> (Layout, ComposedImage) {
        self.compose_from(&inputs(), compression, layout).await
    }

    pub(crate) async fn compose_from(
        &self,
        inputs: &BuildInputs,
        compression: Compression,
        layout: &Path,
    ) -> (Layout, ComposedImage) {
        let layout = Layout::create(layout).unwrap();
        let built = compose::compose(inputs, &self.userland(), &self.kmod(), compression, &layout).await;
        (layout, built.unwrap())
    }
}

#[tokio::test]
async fn the_same_packages_make_the_same_image() {
    let rpms = Rpms::new(rpms::good());
    for compression in [Compression::Zstd, Compression::Gzip] {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (_, first) = rpms.compose(compression, one.path()).await;
        // Times of files on this machine must not matter.
        for file in fs::read_dir(rpms.userland()).unwrap() {
            let file = fs::File::open(file.unwrap().path()).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }
        let (_, second) = rpms.compose(compression, other.path()).await;
        assert_eq!(first.digest(), second.digest());
    }
}
