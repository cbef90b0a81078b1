//! Clean-ups of a plain registry, through its protocol alone, and of a directory.

use jiff::{SignedDuration, Timestamp};
use kmod_builder::io::layout::Layout;
use kmod_builder::model::Digest;

use super::environment::{LayoutImages, OLD, Pusher, version_tag};
use crate::command_output::Program;
use crate::docker::DockerRegistry;

const KEEP_ONE: [&str; 6] = ["--keep-kernels-of", "none", "--keep-newest", "1", "--minimum", "1"];

#[tokio::test]
async fn a_registry_is_cleaned_up_by_digest() {
    let registry = DockerRegistry::start().await;
    let pusher = Pusher::new(&registry.address());
    let old = pusher.publish("old", &[&version_tag(0)], OLD).await;
    let promoted = pusher.publish("promoted", &[&version_tag(1), "stable"], OLD).await;
    let young = pusher.publish("young", &[&version_tag(2)], 24).await;
    let program = Program::new();
    let store = format!("docker://{}/owner/zfs-kmods", registry.address());
    let arguments = [&["cleanup", &store], &KEEP_ONE[..]].concat();
    let output = program.run(&arguments).await.with(0);
    assert!(
        output.stderr.contains("Deleted 4 of 12 manifests. The 8 that stay are whole."),
        "{}",
        output.stderr
    );
    for digest in old.all.values() {
        assert!(!pusher.has(digest.as_str()).await, "{digest}");
    }
    for digest in promoted.all.values().chain(young.all.values()) {
        assert!(pusher.has(digest.as_str()).await, "{digest}");
    }
    program.run(&arguments).await.with(0);

    let [journal] = program.journals().try_into().unwrap();
    program.restore(&journal, &[]).await.with(0);
    for reference in old.all.values().map(ToString::to_string).chain([version_tag(0)]) {
        assert!(pusher.has(&reference).await, "{reference}");
    }
}

#[tokio::test]
async fn a_registry_run_finds_what_an_interrupted_run_left() {
    let registry = DockerRegistry::start().await;
    let pusher = Pusher::new(&registry.address());
    let old = pusher.publish("old", &[&version_tag(0)], OLD).await;
    pusher.publish("young", &[&version_tag(2), "stable"], 24).await;
    let program = Program::new();
    let store = format!("docker://{}/owner/zfs-kmods", registry.address());
    let arguments = [&["cleanup", &store], &KEEP_ONE[..]].concat();
    program.run(&[&arguments[..], &["--dry-run"]].concat()).await.with(0);
    // No tag or index leads to the bundle any more, and the signature has no age.
    pusher.delete(&old.all["image"]).await;
    pusher.delete(&old.all["index"]).await;
    program.run(&arguments).await.with(0);
    assert!(!pusher.has(old.all["bundle"].as_str()).await);
    assert!(pusher.has(old.all["signature"].as_str()).await, "it was first seen just now");
}

/// An image, and evidence for it.
fn add(images: &LayoutImages, name: &str, tag: &str, hours: i64) -> [Digest; 2] {
    let image = images.image(&["userland", name], &[tag], ago(hours), None);
    let bundle = images.image(&[&format!("proof of {name}")], &[], ago(hours), Some(&image));
    [image.digest, bundle.digest]
}

fn ago(hours: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(hours)
}

#[tokio::test]
async fn a_directory_loses_the_blobs_that_nothing_needs() {
    let program = Program::new();
    let images = LayoutImages(Layout::create(&program.path("images")).unwrap());
    let old = add(&images, "old", &version_tag(0), OLD);
    let kept = add(&images, "kept", &version_tag(1), 24);
    let uploading = images.blob("of an image that is being uploaded").digest;
    let abandoned = images.blob("of an image that was never listed").digest;
    images.date(&abandoned, ago(25));
    let arguments = [&["cleanup", "oci:images"], &KEEP_ONE[..]].concat();
    let output = program.run(&arguments).await.with(0);
    assert!(output.stderr.contains("Deleted 2 of 4 manifests."), "{}", output.stderr);
    let has = |text: &str| images.0.has(&Digest::of(text.as_bytes()));
    assert!(!images.0.has(&old[0]) && !images.0.has(&old[1]) && !has("old") && !has("proof of old"));
    assert!(images.0.has(&kept[0]) && images.0.has(&kept[1]) && has("kept") && has("proof of kept"));
    assert!(has("userland") && has("{}"), "shared blobs stay");
    assert!(images.0.has(&uploading) && !images.0.has(&abandoned));

    // For a day everything can be restored.
    let [journal] = program.journals().try_into().unwrap();
    program.restore(&journal, &[]).await.with(0);
    assert!(has("old") && has("proof of old") && images.0.tags().unwrap().len() == 2);

    // After a day it is deleted.
    for digest in &old {
        images.date(digest, ago(OLD));
    }
    program.run(&arguments).await.with(0);
    let removed = images.0.directory().join(".removed");
    for entry in std::fs::read_dir(&removed).unwrap() {
        std::fs::File::open(entry.unwrap().path()).unwrap().set_modified(ago(25).into()).unwrap();
    }
    let last = add(&images, "last", &version_tag(2), OLD);
    add(&images, "newest", &version_tag(3), 1);
    program.run(&arguments).await.with(0);
    assert!(!images.0.has(&last[0]) && removed.join(last[0].hex()).exists());
    assert!(!removed.join(old[0].hex()).exists());
}
