use super::*;
use crate::model::evidence::tests::{inputs, subject};

/// The RPMs of a small image: a module, a library of the userland in a folder, and the module's source.
pub(in crate::model::evidence) fn packages() -> Vec<SbomPackage> {
    let package = |file_name: &str, name: &str, evr: &str, arch: &str, source: Option<&str>| SbomPackage {
        file_name: file_name.into(),
        name: name.into(),
        evr: evr.into(),
        arch: arch.into(),
        license: "CDDL".into(),
        digest: Digest::of(file_name.as_bytes()),
        source_rpm: source.map(str::to_owned),
    };
    vec![
        package(
            "kmod-zfs-6.17.8-300.fc43.x86_64-2.4.3-1.fc43.x86_64.rpm",
            "kmod-zfs-6.17.8-300.fc43.x86_64",
            "2.4.3-1.fc43",
            "x86_64",
            Some("zfs-kmod-2.4.3-1.fc43.src.rpm"),
        ),
        package(
            "devel/libzfs6-devel-2.4.3-1.fc43.x86_64.rpm",
            "libzfs6-devel",
            "1:2.4.3-1.fc43",
            "x86_64",
            Some("zfs-2.4.3-1.fc43.src.rpm"),
        ),
        package("src/zfs-kmod-2.4.3-1.fc43.src.rpm", "zfs-kmod", "2.4.3-1.fc43", "src", None),
    ]
}

#[test]
fn a_document_describes_each_rpm() {
    let document = document(&subject(), &inputs(), &packages());
    let of = |name: &str| {
        let packages = document["packages"].as_array().unwrap();
        packages.iter().find(|package| package["name"] == name).unwrap().clone()
    };
    let purl = |name: &str| of(name)["externalRefs"][0]["referenceLocator"].as_str().unwrap().to_owned();
    assert_eq!(
        purl("kmod-zfs-6.17.8-300.fc43.x86_64"),
        "pkg:rpm/fedora/kmod-zfs-6.17.8-300.fc43.x86_64@2.4.3-1.fc43?arch=x86_64&distro=fedora-43&upstream=zfs-kmod-2.4.3-1.fc43.src.rpm"
    );
    assert_eq!(
        purl("libzfs6-devel"),
        "pkg:rpm/fedora/libzfs6-devel@2.4.3-1.fc43?arch=x86_64&distro=fedora-43&epoch=1&upstream=zfs-2.4.3-1.fc43.src.rpm"
    );
    assert_eq!(purl("zfs-kmod"), "pkg:rpm/fedora/zfs-kmod@2.4.3-1.fc43?arch=src&distro=fedora-43");
    assert_eq!(of("libzfs6-devel")["licenseDeclared"], "CDDL-1.0");
    assert_eq!(document["creationInfo"]["created"], "2026-09-21T14:13:20Z");
}

#[test]
fn source_rpms_are_related_whether_they_are_in_the_image_or_not() {
    let document = document(&subject(), &inputs(), &packages());
    let ids: BTreeSet<_> = document["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["SPDXID"].as_str().unwrap())
        .collect();
    let relations = document["relationships"].as_array().unwrap();
    let generated: Vec<_> = relations
        .iter()
        .filter(|relation| relation["relationshipType"] == "GENERATED_FROM")
        .map(|relation| relation["relatedSpdxElement"].as_str().unwrap())
        .collect();
    assert_eq!(generated.len(), 3);
    assert!(generated.iter().all(|id| ids.contains(id)));
    assert!(generated.iter().any(|id| id.starts_with("SPDXRef-RPM-zfs-kmod-")), "{generated:?}");
    assert!(generated.iter().any(|id| id.starts_with("SPDXRef-SRPM-zfs-2.4.3-1.fc43.src.rpm-")));
}

#[test]
fn the_order_of_the_packages_does_not_matter() {
    let mut other_way_round = packages();
    other_way_round.reverse();
    assert_eq!(
        document(&subject(), &inputs(), &packages()),
        document(&subject(), &inputs(), &other_way_round)
    );
}

#[test]
fn the_files_are_read_back() {
    let document = document(&subject(), &inputs(), &packages());
    let files = listed_files(&document).unwrap();
    let expected = packages().into_iter().map(|package| (package.file_name, package.digest)).collect();
    assert_eq!(files, expected);
    for (from, to) in [("SPDX-2.3", "SPDX-2.2"), ("packageFileName", "other"), ("SHA256", "MD5")] {
        let changed = document.to_string().replace(from, to);
        assert!(listed_files(&serde_json::from_str(&changed).unwrap()).is_err(), "{from}");
    }
}
