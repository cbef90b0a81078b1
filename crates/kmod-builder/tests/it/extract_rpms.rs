//! Listing and extracting: what comes out is what went in, or nothing comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kmod_builder::io::compose;
use kmod_builder::io::image_rpms::{ExtractState, ExtractedRpm, ImageRpms, ImageRpmsError};
use kmod_builder::io::layout::Layout;
use kmod_builder::io::store::ImageStore;
use kmod_builder::model::Compression;
use kmod_builder::model::image::ImageRef;
use kmod_builder::model::oci::Manifest;
use kmod_builder::model::packages::{LayerKind, PackageGroup};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::images::{self, Rpms, inputs};
use crate::layers;
use crate::rpms::{self, KERNEL, Recipe};

type Extraction = Result<Vec<ExtractedRpm>, ImageRpmsError>;

struct ExtractBench {
    directory: TempDir,
    layout: Layout,
    name: ImageRef,
    rpms: Rpms,
}

impl ExtractBench {
    async fn new(recipes: (Vec<Recipe>, Vec<Recipe>), compression: Compression) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rpms = Rpms::new(recipes);
        let (layout, built) = rpms.compose(compression, &directory.path().join("images")).await;
        layout.list(built.manifest(), Some(&"image".parse().unwrap())).unwrap();
        let name = format!("oci:{}", layout.directory().display()).parse().unwrap();
        Self { directory, layout, name, rpms }
    }

    async fn extract(&self, groups: &[PackageGroup], replace: bool) -> Extraction {
        let images = ImageStore::open(&self.name.store).await.unwrap();
        let contents = ImageRpms::open(&images, &self.name).await.unwrap();
        let groups: BTreeSet<_> = groups.iter().copied().collect();
        contents.extract(&groups, &self.directory.path().join("rpms"), replace).await
    }

    fn extracted(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.directory.path().join("rpms"))
    }

    fn kmod_layer(&self) -> PathBuf {
        let image = self.layout.tags().unwrap().remove(0).1.digest;
        let manifest = Manifest::parse(&self.layout.read_blob(&image).unwrap()).unwrap();
        self.layout.directory().join("blobs/sha256").join(manifest.layers[1].digest.hex())
    }

    fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).filter(|name| name != "images").collect()
    }
}

/// Files below a directory by their file names, which are unique in an image.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = images::files(directory);
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let named: BTreeMap<_, _> = files.iter().map(|(path, bytes)| (name(path), bytes.clone())).collect();
    assert_eq!(named.len(), files.len());
    named
}

#[tokio::test]
async fn extracts_exactly_the_composed_files() {
    for compression in [Compression::Zstd, Compression::Gzip] {
        let bench = ExtractBench::new(rpms::good(), compression).await;
        let extracted = bench.extract(&PackageGroup::ALL, false).await.unwrap();
        assert_eq!(bench.extracted(), files(bench.rpms.directory.path()));
        assert!(extracted.iter().all(|extracted| extracted.state == ExtractState::Written));
        let devel = extracted.iter().find(|extracted| extracted.group == PackageGroup::Devel).unwrap();
        assert!(devel.file.starts_with(bench.directory.path().join("rpms/devel")));
        assert_eq!(bench.leftovers(), ["rpms"]);
        let again = bench.extract(&PackageGroup::ALL, false).await.unwrap();
        assert!(again.iter().all(|extracted| extracted.state == ExtractState::Present));
    }
}

#[tokio::test]
async fn headers_are_listed() {
    let bench = ExtractBench::new(rpms::good(), Compression::Zstd).await;
    let images = ImageStore::open(&bench.name.store).await.unwrap();
    let listed = ImageRpms::open(&images, &bench.name).await.unwrap().list().await.unwrap();
    let files = files(bench.rpms.directory.path());
    assert_eq!(listed.len(), files.len());
    assert!(listed.is_sorted_by_key(|listed| listed.group));
    for listed in listed {
        assert_eq!(listed.path, listed.package.path());
        let bytes = &files[&listed.package.file_name()];
        assert_eq!(listed.package.size, bytes.len() as u64);
        assert_eq!(listed.package.digest, kmod_builder::model::Digest::of(bytes));
    }
}

#[tokio::test]
async fn only_the_layers_that_are_needed_are_read() {
    let bench = ExtractBench::new(rpms::good(), Compression::Zstd).await;
    fs::remove_file(bench.kmod_layer()).unwrap();
    let extracted = bench.extract(&[PackageGroup::Other, PackageGroup::Debug], false).await.unwrap();
    let names = extracted.iter().map(|rpm| rpm.file.file_name().unwrap().to_str().unwrap());
    let names: Vec<_> = names.map(|name| name.replace("-2.4.3-1.fc43", "")).collect();
    let expected = ["zfs-debuginfo.x86_64.rpm", "python3-pyzfs.noarch.rpm", "zfs-dracut.noarch.rpm"];
    assert_eq!(names, [&expected[..], &["zfs-test.x86_64.rpm"]].concat());
    let error = bench.extract(&[PackageGroup::Main], false).await.unwrap_err().to_string();
    assert!(error.contains("has no blob"), "{error}");
}

#[tokio::test]
async fn replaces_differing_files_only_with_replace() {
    let bench = ExtractBench::new(rpms::good(), Compression::Zstd).await;
    let directory = bench.directory.path().join("rpms");
    fs::create_dir(&directory).unwrap();
    let mine = directory.join("zfs-2.4.3-1.fc43.x86_64.rpm");
    fs::write(&mine, "mine").unwrap();
    let error = bench.extract(&[PackageGroup::Main], false).await.unwrap_err().to_string();
    assert_eq!(error, format!("{} is already there, with other contents", mine.display()));
    assert_eq!(bench.extracted().len(), 1, "nothing else was written");
    let extracted = bench.extract(&[PackageGroup::Main], true).await.unwrap();
    let states = extracted.iter().filter(|extracted| extracted.state == ExtractState::Replaced);
    assert_eq!(states.map(|extracted| &extracted.file).collect::<Vec<_>>(), [&mine]);
    assert_ne!(fs::read(&mine).unwrap(), b"mine");
}

#[tokio::test]
async fn links_in_the_target_are_not_followed() {
    let bench = ExtractBench::new(rpms::good(), Compression::Zstd).await;
    let directory = bench.directory.path().join("rpms");
    fs::create_dir(&directory).unwrap();
    let elsewhere = bench.directory.path().join("images/oci-layout");
    let before = fs::read(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, directory.join("zfs-2.4.3-1.fc43.x86_64.rpm")).unwrap();
    assert!(bench.extract(&[PackageGroup::Main], false).await.is_err());
    bench.extract(&[PackageGroup::Main], true).await.unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
}

#[tokio::test]
async fn leaves_nothing_of_a_changed_layer() {
    let bench = ExtractBench::new(rpms::good(), Compression::Zstd).await;
    images::damage(&bench.kmod_layer());
    let error = bench.extract(&PackageGroup::ALL, false).await.unwrap_err().to_string();
    assert!(error.contains("was changed after the image was made"), "{error}");
    assert_eq!(bench.leftovers(), [""; 0]);
}

#[tokio::test]
async fn leaves_nothing_of_a_hostile_layer() {
    let bench = ExtractBench::new(rpms::good(), Compression::Zstd).await;
    let first = layers::entry("zfs-2.4.3-1.fc43.x86_64.rpm", b'0', b"first");
    let outside = layers::entry("../outside.rpm", b'0', b"second");
    let hostile = layers::store(&bench.layout, &[first, outside], Compression::Zstd, LayerKind::Userland);
    let built = compose::image(&inputs(), &hostile, &hostile, &bench.layout).unwrap();
    bench.layout.list(built.manifest(), Some(&"image".parse().unwrap())).unwrap();
    let error = bench.extract(&[PackageGroup::Main], true).await.unwrap_err().to_string();
    assert_eq!(error, "the layer holds `../outside.rpm`, which leads out of the image by `..`");
    assert_eq!(bench.leftovers(), [""; 0]);
}

#[tokio::test]
async fn an_image_must_be_named_if_there_are_several() {
    let bench = ExtractBench::new(rpms::good(), Compression::Zstd).await;
    let images = ImageStore::open(&bench.name.store).await.unwrap();
    let image = bench.layout.tags().unwrap().remove(0).1;
    bench.layout.list(&image, Some(&"other".parse().unwrap())).unwrap();
    let error = images.find(&bench.name).await.unwrap_err();
    assert!(error.to_string().ends_with("has several images"), "{error}");
    let other: ImageRef = format!("{}:none", bench.name).parse().unwrap();
    let error = images.find(&other).await.unwrap_err();
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(error.to_string().starts_with("there is no image oci:"), "{error}");
    assert!(help.ends_with("other, image"), "{help}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn extracting_undoes_composing(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let recipes = || {
            let package = |(number, bytes): (usize, &Vec<u8>)| {
                let mut recipe = rpms::package(&format!("libzfs{number}-devel"), "x86_64");
                let options = rpm::FileOptions::new(format!("/usr/share/{number}"));
                recipe.builder.with_file_contents(bytes.clone(), options).unwrap();
                recipe
            };
            let userland = contents.iter().enumerate().map(package).collect();
            (userland, vec![rpms::kmod(KERNEL, &rpms::modules(KERNEL))])
        };
        runtime.block_on(async {
            let bench = ExtractBench::new(recipes(), Compression::Zstd).await;
            bench.extract(&PackageGroup::ALL, false).await.unwrap();
            assert_eq!(bench.extracted(), files(bench.rpms.directory.path()));
            let mut reversed = recipes();
            reversed.0.reverse();
            let again = ExtractBench::new(reversed, Compression::Zstd).await;
            assert_eq!(again.layout.index().unwrap(), bench.layout.index().unwrap());
        });
    }
}
