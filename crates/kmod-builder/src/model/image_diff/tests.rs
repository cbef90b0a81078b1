use proptest::collection::btree_map;
use proptest::prelude::*;

use super::*;
use crate::model::compose::Composition;
use crate::model::image::{DigestRef, ImageLocation};
use crate::model::inputs::tests::inputs;
use crate::model::oci::{self, Descriptor};
use crate::model::packages::{LayerKind, Package};
use crate::model::verify::ImageRpm;

/// PackageContents by their paths, each with what is in it, in two layers.
type PackageContents = BTreeMap<String, u8>;

/// An image of these packages, as if it had been read. A salt changes how the layers are compressed, and nothing else.
fn image(packages: &PackageContents, epoch: i64, salt: u8) -> Inspection {
    let mut inputs = inputs();
    inputs.source_date_epoch = epoch;
    let part = |path: &str| LayerKind::of(path);
    let layer = |wanted: LayerKind| {
        let held: Vec<_> = packages.iter().filter(|(path, _)| part(path) == wanted).collect();
        let archive = format!("{held:?}");
        let descriptor = Descriptor::of(oci::LAYER_ZSTD, format!("{archive} {salt}").as_bytes());
        Layer::new(descriptor, Digest::of(archive.as_bytes()), wanted, &BTreeSet::new())
    };
    let Composition { config, manifest } =
        compose::compose(&inputs, &layer(LayerKind::Userland), &layer(LayerKind::Kmod)).unwrap();
    let found = |(path, content): (&String, &u8)| ImageRpm {
        path: path.clone(),
        layer: usize::from(part(path) == LayerKind::Kmod),
        content: Ok((package(path, &[*content]), Vec::new())),
    };
    Inspection {
        image: DigestRef { store: ImageLocation::Layout("images".into()), digest: Digest::of(&manifest) },
        tag: None,
        manifest: Ok(serde_json::from_slice(&manifest).unwrap()),
        config: Ok(serde_json::from_slice(&config).unwrap()),
        layers: vec![Ok(()), Ok(())],
        packages: packages.iter().map(found).collect(),
    }
}

fn package(name: &str, content: &[u8]) -> Package {
    Package {
        name: name.to_owned(),
        epoch: None,
        version: "2.4.3".to_owned(),
        release: "1.fc43".to_owned(),
        arch: "x86_64".to_owned(),
        source: false,
        size: content.len() as u64,
        digest: Digest::of(content),
        installed_size: 0,
        summary: String::new(),
        license: "CDDL".to_owned(),
        url: None,
        source_rpm: None,
        build_time: None,
        provides: Vec::new(),
        requires: Vec::new(),
        scriptlets: BTreeMap::new(),
        files: Vec::new(),
    }
}

fn packages(list: &[(&str, u8)]) -> PackageContents {
    list.iter().map(|(path, content)| ((*path).to_owned(), *content)).collect()
}

fn results(comparison: &ImageDiff) -> (Vec<DiffResult>, Vec<(&str, DiffResult)>) {
    (
        comparison.layers.iter().map(|layer| layer.result).collect(),
        comparison.packages.iter().map(|package| (package.path.as_str(), package.result)).collect(),
    )
}

#[test]
fn a_changed_package_changes_its_layer_and_no_other() {
    let first = image(&packages(&[("zfs.rpm", 1), ("kmod-zfs-1.rpm", 1), ("kmod-zfs-old.rpm", 1)]), 9, 0);
    let second = image(&packages(&[("zfs.rpm", 1), ("kmod-zfs-1.rpm", 2), ("kmod-zfs-new.rpm", 1)]), 9, 0);
    let comparison = ImageDiff::of(&first, &second).unwrap();
    assert!(!comparison.identical && comparison.documents.is_empty());
    let expected = vec![
        ("kmod-zfs-1.rpm", DiffResult::Different),
        ("kmod-zfs-new.rpm", DiffResult::OnlyInSecond),
        ("kmod-zfs-old.rpm", DiffResult::OnlyInFirst),
        ("zfs.rpm", DiffResult::Same),
    ];
    assert_eq!(results(&comparison), (vec![DiffResult::Same, DiffResult::Different], expected));
    assert_eq!(comparison.layers[1].part.as_deref(), Some("kmod"));
    assert_eq!(comparison.differing(), ["kmod-zfs-1.rpm".to_owned()].into());
    assert_eq!(comparison.shared_layers().len(), 1);
}

#[test]
fn other_inputs_are_seen_in_the_documents() {
    let list = packages(&[("zfs.rpm", 1)]);
    let comparison = ImageDiff::of(&image(&list, 0, 0), &image(&list, 9, 0)).unwrap();
    let members: Vec<_> = comparison.documents.iter().map(|difference| &difference.member).collect();
    assert!(members.contains(&&"/annotations/io.github.zfs-kmods.inputs".to_owned()), "{members:?}");
    assert!(members.contains(&&"/created".to_owned()), "{members:?}");
    let created = comparison.documents.iter().find(|difference| difference.member == "/created").unwrap();
    assert_eq!((created.document, &created.second), ("configuration", &Some("1970-01-01T00:00:09Z".into())));
}

#[test]
fn another_compression_is_not_a_difference_in_content() {
    let list = packages(&[("zfs.rpm", 1)]);
    let comparison = ImageDiff::of(&image(&list, 9, 0), &image(&list, 9, 1)).unwrap();
    let layers = vec![DiffResult::DifferentlyCompressed; 2];
    assert_eq!(results(&comparison), (layers, vec![("zfs.rpm", DiffResult::Same)]));
}

#[test]
fn documents_with_other_bytes_differ() {
    let first = image(&packages(&[("zfs.rpm", 1)]), 9, 0);
    let mut second = first.clone();
    second.image.digest = Digest::of(b"the same members, in another order");
    let comparison = ImageDiff::of(&first, &second).unwrap();
    assert_eq!(comparison.documents[0].document, "manifest");
    let mut manifest = second.manifest.unwrap();
    manifest.config.digest = Digest::of(b"so the configuration");
    second.manifest = Ok(manifest);
    assert_eq!(ImageDiff::of(&first, &second).unwrap().documents[0].document, "configuration");
}

#[test]
fn does_not_compare_unreadable_images() {
    let good = image(&packages(&[("zfs.rpm", 1)]), 9, 0);
    let bad =
        Inspection { layers: vec![Ok(()), Err(BlobFault::Changed("it was changed".into()))], ..good.clone() };
    let error = ImageDiff::of(&good, &bad).unwrap_err().to_string();
    assert!(error.contains("it was changed"), "{error}");
    let bad = Inspection { manifest: Err("there is none".into()), ..good.clone() };
    assert!(ImageDiff::of(&bad, &good).is_err());
    let mut bad = good.clone();
    bad.packages[0].content = Err("it is no RPM".into());
    assert!(ImageDiff::of(&good, &bad).unwrap_err().to_string().contains("zfs.rpm: it is no RPM"));
}

fn rpm_metadata(tags: &[(&str, &[&str])]) -> RpmMetadata {
    let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let file =
        RpmFileEntry { content: None, size: 1, mode: 0o100_644, modified: 0, owner: "root:root".to_owned() };
    RpmMetadata {
        header: tags.iter().map(|(tag, list)| ((*tag).to_owned(), values(list))).collect(),
        signature: BTreeMap::from([("SHA256".to_owned(), vec![format!("{tags:?}")])]),
        files: BTreeMap::from([("/usr/bin/zfs".to_owned(), file)]),
    }
}

#[test]
fn describes_differing_tags() {
    let long = "x".repeat(100);
    let (spec, other) = (format!("{long}a{long}"), format!("{long}b"));
    let first = rpm_metadata(&[
        ("BUILDTIME", &["1"]),
        ("FILEDIGESTS", &["a", "b"]),
        ("A", &["1"]),
        ("L", &["a\nb"]),
        ("SPEC", &[&spec]),
    ]);
    let second = rpm_metadata(&[
        ("BUILDTIME", &["2"]),
        ("FILEDIGESTS", &["a", "c"]),
        ("B", &["1", "2"]),
        ("L", &[&long]),
        ("SPEC", &[&other]),
    ]);
    let difference = RpmDiff::of(&first, &second);
    let tags: Vec<_> = difference.tags.iter().map(|tag| format!("{}: {}", tag.tag, tag.what)).collect();
    let cut = format!("L: `a\\nb`, then `{}…`", "x".repeat(60));
    let before = "x".repeat(20);
    let spec = format!("SPEC: `…{before}a{}…`, then `…{before}b`", "x".repeat(39));
    let expected = [
        "A: only in the first",
        "B: only in the second",
        "BUILDTIME: `1`, then `2`",
        "FILEDIGESTS: 1 of 2 values differ",
        &cut,
        &spec,
    ];
    assert_eq!(tags, expected);
    assert!(difference.files.is_empty());
}

#[test]
fn signatures_count_only_where_nothing_else_differs() {
    let first = rpm_metadata(&[("BUILDTIME", &["1"])]);
    let mut second = first.clone();
    second.signature.insert("SHA256".to_owned(), vec!["other".to_owned()]);
    let names = |difference: RpmDiff| -> Vec<_> { difference.tags.into_iter().map(|tag| tag.tag).collect() };
    assert_eq!(names(RpmDiff::of(&first, &second)), ["SIG_SHA256"]);
    second.header.insert("BUILDTIME".to_owned(), vec!["2".to_owned()]);
    assert_eq!(names(RpmDiff::of(&first, &second)), ["BUILDTIME"]);
}

fn some_packages() -> impl Strategy<Value = PackageContents> {
    btree_map("(zfs|kmod-zfs)-[a-c]", 0..3_u8, 0..5)
}

fn some_file() -> impl Strategy<Value = RpmFileEntry> {
    let owner = prop_oneof![Just("root:root"), Just("root:disk")];
    (proptest::option::of(0..2_u8), 0..2_u64, 0..2_u16, 0..2_u32, owner).prop_map(
        |(content, size, mode, modified, owner)| RpmFileEntry {
            content: content.map(|content| Digest::of(&[content])),
            size,
            mode,
            modified,
            owner: owner.to_owned(),
        },
    )
}

fn some_rpm_metadata() -> impl Strategy<Value = RpmMetadata> {
    let values = || btree_map("[A-C]", proptest::collection::vec("[ab\n]{0,2}", 0..3), 0..3);
    (values(), values(), btree_map("/[a-c]", some_file(), 0..3))
        .prop_map(|(header, signature, files)| RpmMetadata { header, signature, files })
}

proptest! {
    /// The same digest and no difference are the same thing; nothing is lost or invented.
    #[test]
    fn reports_every_difference_and_no_other(one in some_packages(), two in some_packages(), epochs in (0..2_i64, 0..2_i64), salt in 0..2_u8) {
        let (first, second) = (image(&one, epochs.0, 0), image(&two, epochs.1, salt));
        let comparison = ImageDiff::of(&first, &second).unwrap();
        let layers_same = comparison.layers.iter().all(|layer| layer.result == DiffResult::Same);
        prop_assert_eq!(comparison.identical, layers_same && comparison.documents.is_empty());
        prop_assert_eq!(comparison.identical, one == two && epochs.0 == epochs.1 && salt == 0);
        prop_assert_eq!(comparison.documents.is_empty(), epochs.0 == epochs.1);
        let paths: BTreeSet<_> = one.keys().chain(two.keys()).collect();
        prop_assert!(comparison.packages.iter().map(|package| &package.path).eq(paths));
        for package in &comparison.packages {
            let same = one.get(&package.path) == two.get(&package.path);
            prop_assert_eq!(package.result == DiffResult::Same, same);
        }
    }

    /// Exchanging the images exchanges first and second, and changes nothing else.
    #[test]
    fn swapping_the_images_swaps_the_result(one in some_packages(), two in some_packages()) {
        let (first, second) = (image(&one, 0, 0), image(&two, 0, 0));
        let there = ImageDiff::of(&first, &second).unwrap();
        let back = ImageDiff::of(&second, &first).unwrap();
        let exchange = |verdict| match verdict {
            DiffResult::OnlyInFirst => DiffResult::OnlyInSecond,
            DiffResult::OnlyInSecond => DiffResult::OnlyInFirst,
            verdict => verdict,
        };
        prop_assert_eq!(there.differing(), back.differing());
        prop_assert_eq!(there.shared_layers(), back.shared_layers());
        for (there, back) in there.packages.iter().zip(&back.packages) {
            prop_assert_eq!(there.result, exchange(back.result));
        }
    }

    /// Every file and tag that differs is named, and none that does not.
    #[test]
    fn every_difference_is_named(first in some_rpm_metadata(), second in some_rpm_metadata()) {
        let difference = RpmDiff::of(&first, &second);
        let names = |one: Vec<&String>, other: Vec<&String>| -> BTreeSet<String> {
            one.into_iter().chain(other).cloned().collect()
        };
        for path in names(first.files.keys().collect(), second.files.keys().collect()) {
            let named = difference.files.iter().find(|file| file.path == path);
            prop_assert_eq!(named.is_some(), first.files.get(&path) != second.files.get(&path), "{}", path);
            if let Some(named) = named {
                prop_assert_eq!(named.result == DiffResult::Different, !named.aspects.is_empty());
            }
        }
        for tag in names(first.header.keys().collect(), second.header.keys().collect()) {
            let named = difference.tags.iter().any(|named| named.tag == tag);
            prop_assert_eq!(named, first.header.get(&tag) != second.header.get(&tag), "{}", tag);
        }
        prop_assert_eq!(difference.is_empty(), first == second);
    }
}
