use super::*;
use crate::model::evidence::tests::{inputs, subject};

/// The RPMs of a small image: a module, a library of the userland in a folder, and the module's source.
pub(in crate::model::evidence) fn packages() -> Vec<SbomPackage> {
    let package = |directory: &str, name: &str, evr: &str, arch: &str, source: Option<&str>| {
        let file_name = format!("{directory}{name}-2.4.3-1.fc43.{arch}.rpm");
        let (name, evr, arch, license) = (name.into(), evr.into(), arch.into(), "CDDL".into());
        let (digest, source_rpm) = (Digest::of(file_name.as_bytes()), source.map(str::to_owned));
        SbomPackage { file_name, name, evr, arch, license, digest, source_rpm }
    };
    let (kmod, sources) = ("kmod-zfs-6.17.8-300.fc43.x86_64", Some("zfs-kmod-2.4.3-1.fc43.src.rpm"));
    vec![
        package("", kmod, "2.4.3-1.fc43", "x86_64", sources),
        package("devel/", "libzfs6-devel", "1:2.4.3-1.fc43", "x86_64", Some("zfs-2.4.3-1.fc43.src.rpm")),
        package("src/", "zfs-kmod", "2.4.3-1.fc43", "src", None),
    ]
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
