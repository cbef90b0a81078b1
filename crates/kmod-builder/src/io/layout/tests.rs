use super::*;
use crate::model::oci;

fn layout() -> (tempfile::TempDir, Layout) {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create(&directory.path().join("images")).unwrap();
    (directory, layout)
}

#[test]
fn creates_a_layout_once_and_then_opens_it() {
    let (_directory, layout) = layout();
    let blob = layout.put("x", b"bytes").unwrap();
    let again = Layout::create(layout.directory()).unwrap();
    assert!(again.has(&blob.digest));
    assert_eq!(again.read_blob(&blob.digest).unwrap(), b"bytes");
    assert!(matches!(Layout::open(Path::new("/nowhere")), Err(LayoutError::Missing { .. })));
    fs::write(layout.directory().join(MARKER), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(matches!(Layout::open(layout.directory()), Err(LayoutError::Version { .. })));
}

#[test]
fn an_unfinished_blob_has_no_name() {
    let (_directory, layout) = layout();
    let mut writer = layout.writer().unwrap();
    writer.write_all(b"half").unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(layout.blobs()).unwrap().count(), 0);
    let names: Vec<_> = fs::read_dir(layout.directory()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with(".unfinished")), "{names:?}");
}

#[test]
fn removes_files_of_killed_writers_only() {
    let (_directory, layout) = layout();
    let left = layout.directory().join(".unfinished-dead");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
    fs::write(&left, "half").unwrap();
    File::options().write(true).open(&left).unwrap().set_modified(long_ago).unwrap();
    let young = layout.directory().join(".unfinished-young");
    fs::write(&young, "half").unwrap();
    let mut living = layout.writer().unwrap();
    living.write_all(b"whole").unwrap();
    Layout::create(layout.directory()).unwrap();
    assert!(!left.exists() && young.exists());
    let (digest, size) = living.finish().unwrap();
    assert_eq!((layout.read_blob(&digest).unwrap().as_slice(), size), (&b"whole"[..], 5));
}

#[test]
fn detects_a_changed_document() {
    let (_directory, layout) = layout();
    let blob = layout.put(oci::MANIFEST, b"{}").unwrap();
    fs::write(layout.path(&blob.digest), b"[]").unwrap();
    let error = layout.manifest(&TagOrDigest::Digest(blob.digest)).unwrap_err();
    assert!(error.to_string().contains("was changed after it was stored"), "{error}");
}

#[test]
fn sorts_tags_and_keeps_foreign_names() {
    let (_directory, layout) = layout();
    let manifest = layout.put(oci::MANIFEST, b"{}").unwrap();
    for tag in ["b", "a"] {
        layout.list(&manifest, Some(&tag.parse().unwrap())).unwrap();
    }
    layout.change_index(|index| index.tag("host/name:tag", manifest.clone())).unwrap();
    let tags: Vec<_> = layout.tags().unwrap().into_iter().map(|(tag, _)| tag.to_string()).collect();
    assert_eq!(tags, ["a", "b"]);
    assert_eq!(layout.index().unwrap().manifests.len(), 3);
    let tag = TagOrDigest::Tag("a".parse().unwrap());
    assert_eq!(layout.manifest(&tag).unwrap(), Some((manifest.digest, b"{}".to_vec())));
    assert_eq!(layout.manifest(&TagOrDigest::Tag("c".parse().unwrap())).unwrap(), None);
}

#[test]
fn writers_of_the_index_do_not_lose_each_others_changes() {
    let (_directory, layout) = layout();
    let manifest = layout.put(oci::MANIFEST, b"{}").unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (layout, manifest) = (&layout, &manifest);
            scope.spawn(move || {
                layout.list(manifest, Some(&format!("tag{number}").parse().unwrap())).unwrap();
            });
        }
    });
    assert_eq!(layout.tags().unwrap().len(), 8);
}
