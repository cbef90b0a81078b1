//! The contract: correct images pass, and each kind of other images is rejected with its own reason.

use std::fs;

use kmod_builder::commands::verify;
use kmod_builder::io::compose::{self, ComposedImage};
use kmod_builder::io::layout::Layout;
use kmod_builder::model::compose::Layer;
use kmod_builder::model::image::{DigestRef, ImageLocation};
use kmod_builder::model::oci::Manifest;
use kmod_builder::model::packages::{LayerKind, PackageGroup};
use kmod_builder::model::verify::{CheckStatus, VerificationReport};
use kmod_builder::model::{Compression, Digest, Target};
use kmod_builder::output::Show as _;
use proptest::prelude::*;
use rpm::Dependency;
use tempfile::TempDir;

use crate::images::{self, Rpms, inputs};
use crate::layers;
use crate::rpms::{self, KERNEL, Recipe};

type Recipes = (Vec<Recipe>, Vec<Recipe>);

const BLOBS: &str = "blobs are unchanged";
const EXPECTED: &str = "every expected package is there";
const UNEXPECTED: &str = "no other package is there";
const LAYERS: &str = "layers are what the configuration says";
const OTHER_KERNEL: &str = "6.17.9-300.fc43.x86_64";

struct VerifyBench {
    directory: TempDir,
    layout: Layout,
    built: ComposedImage,
}

impl VerifyBench {
    async fn new(recipes: Recipes) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (layout, built) = Rpms::new(recipes).compose(Compression::Zstd, directory.path()).await;
        Self { directory, layout, built }
    }

    async fn report(&self) -> VerificationReport {
        verify::contract(&self.built.pinned(), Some(&rpms::target())).await.unwrap()
    }

    fn manifest(&self) -> Manifest {
        Manifest::parse(&self.layout.read_blob(self.built.digest()).unwrap()).unwrap()
    }

    fn blob(&self, digest: &Digest) -> std::path::PathBuf {
        self.directory.path().join("blobs/sha256").join(digest.hex())
    }

    fn layers(&self) -> [Layer; 2] {
        let config: kmod_builder::model::oci::Config =
            serde_json::from_slice(&self.layout.read_blob(&self.manifest().config.digest).unwrap()).unwrap();
        let layers = self.manifest().layers.into_iter().zip(config.rootfs.diff_ids);
        let mut layers = layers.map(|(descriptor, diff_id)| Layer { descriptor, diff_id });
        [layers.next().unwrap(), layers.next().unwrap()]
    }

    async fn composed(&self, userland: &Layer, kmod: &Layer) -> VerificationReport {
        let built = compose::image(&inputs(), userland, kmod, &self.layout).unwrap();
        verify::contract(&built.pinned(), Some(&rpms::target())).await.unwrap()
    }
}

#[track_caller]
fn failed(report: &VerificationReport, check: &str, reason: &str) {
    let answer = report.checks().iter().find(|answer| answer.check == check).unwrap();
    match answer.outcome() {
        CheckStatus::Failed(sentence) => assert!(sentence.contains(reason), "{sentence}"),
        other => panic!("{check}: {other:?}"),
    }
    assert!(!report.passed() && report.clone().verified().is_err());
}

async fn rejects(recipes: Recipes, expected: &[(&str, &str)]) -> VerificationReport {
    let report = VerifyBench::new(recipes).await.report().await;
    for (check, reason) in expected {
        failed(&report, check, reason);
    }
    report
}

async fn rejects_only(recipes: Recipes, expected: &[(&str, &str)]) {
    let report = rejects(recipes, expected).await;
    assert_eq!(failures(&report).len(), expected.len(), "{}", report.table());
}

fn failures(report: &VerificationReport) -> Vec<&str> {
    let failed = report.checks().iter().filter(|answer| matches!(answer.outcome(), CheckStatus::Failed(_)));
    failed.map(|answer| answer.check).collect()
}

fn with_kmod(kmod: Recipe) -> Recipes {
    let (userland, mut others) = rpms::good();
    others.remove(0);
    others.push(kmod);
    (userland, others)
}

fn without(name: &str) -> Recipes {
    let (mut userland, mut kmod) = rpms::good();
    userland.retain(|recipe| recipe.name != name);
    kmod.retain(|recipe| recipe.name != name);
    (userland, kmod)
}

#[tokio::test]
async fn a_complete_image_passes() {
    let bench = VerifyBench::new(rpms::good()).await;
    let report = bench.report().await;
    let table = report.table();
    assert!(report.passed(), "{table}");
    assert!(table.ends_with(&format!(
        "contents verified, NOT AUTHENTICATED: OpenZFS 2.4.3 for {KERNEL}\n{}\n",
        bench.built.pinned()
    )));
    let verified = report.verified().unwrap();
    assert_eq!((verified.image(), verified.target()), (&bench.built.pinned(), &rpms::target()));
    bench.layout.list(bench.built.manifest(), Some(&rpms::target().tag())).unwrap();
    assert_eq!(bench.layout.tags().unwrap().len(), 1);
}

#[tokio::test]
async fn takes_the_target_from_the_tag_or_the_labels() {
    let bench = VerifyBench::new(rpms::good()).await;
    let report = verify::contract(&bench.built.pinned(), None).await.unwrap();
    assert_eq!(report.target(), Some(&rpms::target()));
    let other = Target { kernel: OTHER_KERNEL.parse().unwrap(), ..rpms::target() };
    let report = verify::contract(&bench.built.pinned(), Some(&other)).await.unwrap();
    let sentence = format!("io.github.zfs-kmods.kernel is `{KERNEL}`, not `{OTHER_KERNEL}`");
    failed(&report, "labels match", &sentence);
    failed(&report, EXPECTED, &format!("missing: kmod-zfs-{OTHER_KERNEL}"));
}

#[tokio::test]
async fn detects_one_changed_byte_in_every_blob() {
    let bench = VerifyBench::new(rpms::good()).await;
    let manifest = bench.manifest();
    let blobs = manifest.layers.iter().chain([&manifest.config]).map(|blob| &blob.digest);
    for digest in blobs.chain([bench.built.digest()]) {
        let path = bench.blob(digest);
        let whole = images::damage(&path);
        let report = bench.report().await;
        failed(&report, BLOBS, "its bytes now have the digest sha256:");
        failed(&report, BLOBS, digest.as_str());
        assert_eq!(failures(&report).len(), 1, "{}", report.table());
        fs::write(&path, whole).unwrap();
    }
    fs::remove_file(bench.blob(&manifest.layers[1].digest)).unwrap();
    failed(&bench.report().await, BLOBS, "has no blob sha256:");
}

#[tokio::test]
async fn rejects_modules_of_another_kernel() {
    let path = format!("/lib/modules/{KERNEL}/extra/zfs/zfs.ko");
    let check = "modules are built for the kernel";
    let with_zfs = |zfs| with_kmod(rpms::kmod(KERNEL, &[rpms::modules(KERNEL).remove(0), zfs]));
    let sentence = format!("{path} was built for {OTHER_KERNEL}, not for {KERNEL}");
    rejects_only(with_zfs(rpms::module(&path, OTHER_KERNEL)), &[(check, &sentence)]).await;
    // One that only begins like the kernel is another one.
    let debug = format!("{KERNEL}+debug");
    rejects(with_zfs(rpms::module(&path, &debug)), &[(check, &format!("was built for {debug}"))]).await;
    let foreign = (path.clone(), rpms::module_file(183, &format!("{KERNEL} SMP ")));
    rejects(with_zfs(foreign), &[(check, "is not compiled for x86_64")]).await;
}

#[tokio::test]
async fn rejects_a_package_for_another_kernel() {
    let kmod = rpms::kmod(OTHER_KERNEL, &rpms::modules(OTHER_KERNEL));
    let missing = format!("missing: kmod-zfs-{KERNEL}");
    let other = format!("is for another kernel than {KERNEL}");
    rejects(with_kmod(kmod), &[(EXPECTED, &missing), (UNEXPECTED, &other)]).await;
}

#[tokio::test]
async fn detects_a_kernel_in_the_builder() {
    let sentence = format!(
        "kmod-zfs-{KERNEL} does not require `kernel-uname-r = {KERNEL}`: kernel-core was present in the builder"
    );
    let depmod = ("kmod runs depmod for its kernel", "runs depmod only on a host that runs");
    let expected = [("kmod requires its kernel", sentence.as_str()), depmod];
    rejects_only(with_kmod(rpms::trapped_kmod(KERNEL)), &expected).await;
}

#[tokio::test]
async fn names_each_missing_unexpected_or_foreign_package() {
    for name in ["libuutil3", "zfs-dracut", "python3-pyzfs", "kmod-zfs-devel"] {
        rejects_only(without(name), &[(EXPECTED, &format!("missing: {name}"))]).await;
    }
    rejects(without("zfs"), &[(EXPECTED, "missing: zfs, zfs (source)")]).await;
    let kernel = "no kernel is among the packages";
    for (name, arch, check, sentence) in [
        (
            "zfs-dkms",
            "noarch",
            UNEXPECTED,
            "zfs-dkms-2.4.3-1.fc43.noarch.rpm would compile modules on the host",
        ),
        ("zfs-initramfs", "x86_64", UNEXPECTED, "is for Debian's initramfs"),
        ("kernel-core", "x86_64", UNEXPECTED, "kernel-core-2.4.3-1.fc43.x86_64.rpm is part of a kernel"),
        ("kernel-core", "x86_64", kernel, "is part of a kernel"),
        ("libzfs6", "x86_64", UNEXPECTED, "is not a package of OpenZFS 2.4.3"),
        ("libuutil3", "aarch64", "packages are for the architecture", "libuutil3 is for aarch64, not x86_64"),
        ("libuutil3", "noarch", "packages are for the architecture", "libuutil3 is for noarch, not x86_64"),
    ] {
        let (mut userland, kmod) = without(name);
        userland.push(rpms::package(name, arch));
        rejects((userland, kmod), &[(check, sentence)]).await;
    }
}

#[tokio::test]
async fn checks_the_dependencies_between_userland_and_kmod() {
    let (mut userland, kmod) = without("zfs");
    let mut zfs = rpms::package("zfs", "x86_64");
    zfs.builder.requires(Dependency::eq("zfs-kmod", "2.4.2"));
    userland.extend([zfs, rpms::source("zfs")]);
    let sentence = "zfs requires `zfs-kmod = 2.4.2`, not `zfs-kmod = 2.4.3`";
    rejects((userland, kmod), &[("userland requires its kmod", sentence)]).await;

    let mut kmod = rpms::package(&format!("kmod-zfs-{KERNEL}"), "x86_64");
    kmod.builder.requires(Dependency::eq("kernel-uname-r", OTHER_KERNEL));
    let expected = [
        ("kmod requires its kernel", "which is another kernel"),
        ("kmod provides what the userland needs", "does not provide `zfs-kmod = 2.4.3-1.fc43`"),
        ("kmod runs depmod for its kernel", "%post of kmod-zfs"),
        ("modules are in their place", "has no spl.ko below"),
    ];
    rejects(with_kmod(kmod), &expected).await;
}

#[tokio::test]
async fn rejects_modules_outside_the_extra_directory() {
    let mut modules = rpms::modules(KERNEL);
    modules.push(rpms::module(&format!("/lib/modules/{KERNEL}/kernel/fs/ext4.ko"), KERNEL));
    let expected = [("modules are in their place", "/kernel/fs/ext4.ko")];
    rejects(with_kmod(rpms::kmod(KERNEL, &modules)), &expected).await;
}

#[tokio::test]
async fn rejects_a_hostile_entry() {
    let bench = VerifyBench::new(rpms::good()).await;
    let [userland, _] = bench.layers();
    let entry = layers::entry("../../etc/passwd", b'0', b"root::0:0");
    let hostile = layers::store(&bench.layout, &[entry], Compression::Zstd, LayerKind::Kmod);
    let report = bench.composed(&userland, &hostile).await;
    let sentence = "the layer holds `../../etc/passwd`, which leads out of the image by `..`";
    failed(&report, "layers hold RPMs and nothing else", sentence);
    assert_eq!(failures(&report).len(), 1, "{}", report.table());
}

/// A client that unpacks both layers would have one of the two files, perhaps not the verified one.
#[tokio::test]
async fn rejects_the_same_path_in_two_layers() {
    let bench = VerifyBench::new(rpms::good()).await;
    let [userland, kmod] = bench.layers();
    let twice = Layer { descriptor: kmod.descriptor, diff_id: kmod.diff_id };
    let report = bench.composed(&twice.clone(), &twice).await;
    failed(&report, "layers hold RPMs and nothing else", "which occurs twice");
    let report = bench.composed(&userland, &twice).await;
    assert!(report.passed(), "{}", report.table());
}

#[tokio::test]
async fn rejects_layers_that_differ_from_the_documents() {
    let bench = VerifyBench::new(rpms::good()).await;
    let [userland, kmod] = bench.layers();
    let report = bench.composed(&userland, &Layer { diff_id: Digest::of(b""), ..kmod.clone() }).await;
    failed(&report, LAYERS, "has the uncompressed digest sha256:");
    let report = bench.composed(&kmod, &userland).await;
    failed(&report, LAYERS, "does not have one layer of userland and one");
    failed(&report, "packages are named for the image", "is in the layer of the other packages");
    let lie = Layer::new(kmod.descriptor, kmod.diff_id, LayerKind::Kmod, &[PackageGroup::Src].into());
    let report = bench.composed(&userland, &lie).await;
    failed(&report, LAYERS, "layer 2 does not hold the groups in its annotation");
}

#[tokio::test]
async fn rejects_files_whose_names_differ_from_their_headers() {
    let bench = VerifyBench::new(rpms::good()).await;
    let [_, kmod] = bench.layers();
    let rpm = fs::read(rpms::package("libzfs7", "x86_64").write(bench.directory.path())).unwrap();
    let rpm = layers::entry("devel/zfs-2.4.3-1.fc43.x86_64.rpm", b'0', &rpm);
    let junk = layers::entry("junk.rpm", b'0', b"junk");
    let userland = layers::store(&bench.layout, &[rpm, junk], Compression::Gzip, LayerKind::Userland);
    let report = bench.composed(&userland, &kmod).await;
    let sentence = "devel/zfs-2.4.3-1.fc43.x86_64.rpm has the header of libzfs7-2.4.3-1.fc43.x86_64.rpm";
    failed(&report, "packages are named for the image", sentence);
    failed(&report, "RPMs are whole", "junk.rpm: not an RPM: truncated headers");
}

#[tokio::test]
async fn rejects_what_is_not_an_image() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create(directory.path()).unwrap();
    let index = layout.put("x", br#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    layout.list(&index, Some(&"some".parse().unwrap())).unwrap();
    let store = ImageLocation::Layout(directory.path().to_owned());
    let pinned = DigestRef { store, digest: index.digest };
    let report = verify::contract(&pinned, None).await.unwrap();
    failed(&report, BLOBS, "invalid image manifest");
    assert_eq!(report.target(), None);
}

#[tokio::test]
async fn copies_an_image_from_another_layout() {
    let bench = VerifyBench::new(rpms::good()).await;
    let other = tempfile::tempdir().unwrap();
    let layout = Layout::create(other.path()).unwrap();
    let tag = rpms::target().tag();
    layout.adopt(&bench.layout, bench.built.manifest(), Some(&tag)).unwrap();
    drop(bench);
    let name = format!("oci:{}:{tag}", other.path().display()).parse().unwrap();
    let images = kmod_builder::io::store::ImageStore::Layout(layout);
    let inspection = kmod_builder::io::inspect::inspect(&images, &name).await.unwrap();
    assert!(kmod_builder::model::verify::verify(&inspection, None).passed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_changed_image_passes(position in any::<prop::sample::Index>(), change in 1..=255_u8) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bench = VerifyBench::new(rpms::good()).await;
            let blobs = bench.directory.path().join("blobs/sha256");
            let files = images::files(&blobs);
            let places = files.iter().flat_map(|(path, bytes)| (0..bytes.len()).map(move |at| (path, at)));
            let places: Vec<_> = places.collect();
            let (path, at) = places[position.index(places.len())];
            let mut bytes = files[path].clone();
            bytes[at] ^= change;
            fs::write(path, bytes).unwrap();
            assert!(!bench.report().await.passed());
        });
    }
}

#[tokio::test]
async fn an_image_with_many_layers_is_not_read() {
    let bench = VerifyBench::new(rpms::good()).await;
    let path = bench.blob(bench.built.digest());
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let layer = manifest["layers"][0].clone();
    manifest["layers"] = vec![layer; 33].into();
    let bytes = manifest.to_string();
    let digest = Digest::of(bytes.as_bytes());
    fs::write(bench.blob(&digest), bytes).unwrap();
    let image = DigestRef { store: bench.built.pinned().store, digest };
    let report = verify::contract(&image, Some(&rpms::target())).await.unwrap();
    assert!(report.table().contains("it lists 33 layers, and at most 32 are read"), "{}", report.table());
}
