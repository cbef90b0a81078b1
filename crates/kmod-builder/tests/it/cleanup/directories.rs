//! Clean-ups of a directory that meet an unusual content or an interruption.

use std::fs;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use kmod_builder::io::layout::Layout;
use kmod_builder::model::Digest;
use kmod_builder::model::oci::{INDEX, MANIFEST};
use serde_json::json;

use super::environment::{LayoutImages, OLD, version_tag};
use crate::command_output::{CommandOutput, Program};

const CLEANUP: [&str; 8] =
    ["cleanup", "oci:images", "--keep-kernels-of", "none", "--keep-newest", "1", "--minimum", "1"];

fn ago(hours: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(hours)
}

/// With an old image for each name, and a young one.
fn store(program: &Program, names: &[&str]) -> (LayoutImages, Vec<Digest>) {
    let images = LayoutImages(Layout::create(&program.path("images")).unwrap());
    let old = names.iter().enumerate().map(|(number, name)| {
        images.image(&[&format!("layer of {name}")], &[&version_tag(number)], ago(OLD), None).digest
    });
    let old = old.collect();
    images.image(&["young"], &[&version_tag(50)], ago(1), None);
    images.image(&["younger"], &[&version_tag(51)], ago(1), None);
    images.image(&["youngest"], &[&version_tag(52)], ago(1), None);
    (images, old)
}

async fn cleanup(program: &Program) -> CommandOutput {
    program.run(&CLEANUP).await
}

fn removed(images: &LayoutImages) -> Vec<PathBuf> {
    let entries = fs::read_dir(images.0.directory().join(".removed")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn removed_blobs_are_deleted_a_day_later_by_a_run_that_deletes_nothing_else() {
    let program = Program::new();
    let (images, _) = store(&program, &["old"]);
    cleanup(&program).await.with(0);
    assert_eq!(removed(&images).len(), 2);
    for path in removed(&images) {
        fs::File::open(path).unwrap().set_modified(ago(25).into()).unwrap();
    }
    cleanup(&program).await.with(0).explains(&["Nothing was deleted"]);
    assert!(removed(&images).is_empty(), "{:?}", removed(&images));
}

/// The blob cannot be moved, as if the program had been killed between the two steps.
#[tokio::test]
async fn a_blob_gets_its_date_before_it_is_moved_aside() {
    let program = Program::new();
    let (images, old) = store(&program, &["old"]);
    let obstacle = images.0.directory().join(".removed").join(old[0].hex());
    fs::create_dir_all(obstacle.join("x")).unwrap();
    cleanup(&program).await.with(1);
    let modified = fs::metadata(images.0.path(&old[0])).unwrap().modified().unwrap();
    assert!(modified.elapsed().unwrap().as_secs() < 3600);
}

#[tokio::test]
async fn a_manifest_that_cannot_be_restored_does_not_stop_the_others() {
    let program = Program::new();
    let (images, old) = store(&program, &["one", "two", "three"]);
    cleanup(&program).await.with(0);
    fs::remove_file(images.0.directory().join(".removed").join(Digest::of(b"layer of two").hex())).unwrap();
    let [journal] = program.journals().try_into().unwrap();
    let output = program.restore(&journal, &[]).await.with(1);
    assert!(images.0.has(&old[0]) && !images.0.has(&old[1]) && images.0.has(&old[2]));
    let output = output.says(&[&format!("NOT RESTORED {}", old[1])]);
    output.explains(&["1 of 3 manifests could not be restored"]);
}

#[tokio::test]
async fn an_unknown_manifest_may_name_large_blobs() {
    let program = Program::new();
    let (images, old) = store(&program, &["old"]);
    let large = images.blob(&"x".repeat(5 << 20));
    let unknown =
        json!({ "mediaType": "application/new", "blob": large.digest, "layer": images.blob("small") });
    let unknown = images.put(&unknown, &["unknown"], ago(OLD));
    images.date(&large.digest, ago(OLD));
    cleanup(&program).await.with(0);
    assert!(!images.0.has(&old[0]) && images.0.has(&unknown.digest) && images.0.has(&large.digest));
}

#[tokio::test]
async fn what_only_an_index_lists_is_restored_with_annotations_and_platform() {
    let program = Program::new();
    let (images, _) = store(&program, &[]);
    let config = images.blob("{}");
    let child = |name: &str| {
        json!({ "schemaVersion": 2, "config": config, "layers": [images.blob(name)] }).to_string()
    };
    let children = ["amd64", "arm64"].map(|name| images.0.put(MANIFEST, child(name).as_bytes()).unwrap());
    for child in &children {
        images.date(&child.digest, ago(OLD));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
    let mut index = images.put(&index, &[], ago(OLD));
    images.0.change_index(|list| list.manifests.retain(|entry| entry.digest != index.digest)).unwrap();
    index.other.insert("platform".into(), json!({ "architecture": "amd64", "os": "linux" }));
    let index =
        index.annotated("org.opencontainers.image.ref.name", version_tag(0)).annotated("note", "mine");
    images.0.change_index(|list| list.manifests.push(index.clone())).unwrap();
    let before = images.0.index().unwrap();

    cleanup(&program).await.with(0).explains(&["Deleted 3 of 6 manifests"]);
    assert!(children.iter().all(|child| !images.0.has(&child.digest)));
    let [journal] = program.journals().try_into().unwrap();
    program.restore(&journal, &[]).await.with(0);
    assert!(children.iter().all(|child| images.0.has(&child.digest)));
    let mut after = images.0.index().unwrap();
    after.manifests.sort_by(|one, other| one.digest.cmp(&other.digest));
    let mut expected = before.manifests;
    expected.sort_by(|one, other| one.digest.cmp(&other.digest));
    assert_eq!(after.manifests, expected);
}

#[tokio::test]
async fn what_is_kept_of_a_deleted_index_stays_listed() {
    let program = Program::new();
    let (images, _) = store(&program, &[]);
    let child = images.image(&["child"], &[], ago(1), None);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child] });
    let index = images.put(&index, &[&version_tag(0)], ago(OLD));
    images.0.change_index(|list| list.manifests.retain(|entry| entry.digest != child.digest)).unwrap();
    cleanup(&program).await.with(0);
    assert!(!images.0.has(&index.digest));
    let listed = images.0.index().unwrap().manifests;
    assert!(listed.iter().any(|entry| entry.digest == child.digest), "{listed:?}");
}
