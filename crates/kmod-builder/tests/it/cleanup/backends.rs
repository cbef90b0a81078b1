//! The same clean-up of a registry that nobody but its protocol describes, and of a directory.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use kmod_builder::io::layout::Layout;
use kmod_builder::model::Digest;
use kmod_builder::model::oci::Descriptor;
use serde_json::json;

use crate::docker::DockerRegistry;

use super::environment::{Pusher, version_tag};
use super::program::{Program, text};

const OLD: i64 = 200 * 24;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn a_registry_is_cleaned_up_by_digest() {
    let registry = DockerRegistry::start().await;
    let pusher = Pusher::new(&registry.address(), true);
    let old = pusher.publish("old", &[&version_tag(0)], OLD).await;
    let promoted = pusher.publish("promoted", &[&version_tag(1), "stable"], OLD).await;
    let young = pusher.publish("young", &[&version_tag(2)], 24).await;
    let program = Program::at("127.0.0.1:1");
    let store = format!("docker://{}/owner/zfs-kmods", registry.address());
    let arguments = ["cleanup", &store, "--keep-kernels-of", "none", "--keep-newest", "1", "--minimum", "1"];
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
    program.run(&["cleanup", "restore", text(&journal)]).await.with(0);
    for reference in old.all.values().map(ToString::to_string).chain([version_tag(0)]) {
        assert!(pusher.has(&reference).await, "{reference}");
    }
}

#[tokio::test]
async fn what_an_interrupted_run_left_in_a_registry_is_found_again() {
    let registry = DockerRegistry::start().await;
    let pusher = Pusher::new(&registry.address(), true);
    let old = pusher.publish("old", &[&version_tag(0)], OLD).await;
    pusher.publish("young", &[&version_tag(2), "stable"], 24).await;
    let program = Program::at("127.0.0.1:1");
    let store = format!("docker://{}/owner/zfs-kmods", registry.address());
    let arguments = ["cleanup", &store, "--keep-kernels-of", "none", "--keep-newest", "1", "--minimum", "1"];
    program.run(&[&arguments[..], &["--dry-run"]].concat()).await.with(0);
    // Nothing leads to the bundle any more; and the signature's tag leads to something without an age.
    pusher.delete(&old.all["image"]).await;
    pusher.delete(&old.all["index"]).await;
    program.run(&arguments).await.with(0);
    assert!(!pusher.has(old.all["bundle"].as_str()).await);
    assert!(pusher.has(old.all["signature"].as_str()).await, "it was seen for the first time a moment ago");
}

struct Images {
    layout: Layout,
    _directory: tempfile::TempDir,
}

impl Images {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { layout: Layout::create(&directory.path().join("images")).unwrap(), _directory: directory }
    }

    fn blob(&self, bytes: &[u8]) -> Descriptor {
        self.layout.put("application/octet-stream", bytes).unwrap()
    }

    /// An image, and evidence for it, so many hours old by their files' dates.
    fn add(&self, name: &str, tag: &str, hours: i64) -> [Digest; 2] {
        let config = self.blob(format!("config of {name}").as_bytes());
        let layers = [self.blob(b"userland"), self.blob(name.as_bytes())];
        let image = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        let image = self.layout.put(MANIFEST, image.to_string().as_bytes()).unwrap();
        let proof = self.blob(format!("proof of {name}").as_bytes());
        let bundle = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": self.blob(b"{}"), "layers": [proof], "subject": image,
        });
        let bundle = self.layout.put(MANIFEST, bundle.to_string().as_bytes()).unwrap();
        self.layout.list(&image, Some(&tag.parse().unwrap())).unwrap();
        self.layout.list(&bundle, None).unwrap();
        for digest in [&image.digest, &bundle.digest] {
            age(&self.path(digest), hours);
        }
        [image.digest, bundle.digest]
    }

    fn path(&self, digest: &Digest) -> std::path::PathBuf {
        self.layout.directory().join("blobs/sha256").join(digest.hex())
    }

    fn store(&self) -> String {
        format!("oci:{}", self.layout.directory().display())
    }
}

fn age(path: &Path, hours: i64) {
    let then = Timestamp::now() - SignedDuration::from_hours(hours);
    std::fs::File::open(path).unwrap().set_modified(then.into()).unwrap();
}

#[tokio::test]
async fn a_directory_loses_the_blobs_that_nothing_needs() {
    let images = Images::new();
    let old = images.add("old", &version_tag(0), OLD);
    let kept = images.add("kept", &version_tag(1), 24);
    let in_flight = images.blob(b"of an image that is being made").digest;
    let abandoned = images.blob(b"of an image that never was").digest;
    age(&images.path(&abandoned), 25);
    let program = Program::at("127.0.0.1:1");
    let store = images.store();
    let arguments = ["cleanup", &store, "--keep-kernels-of", "none", "--keep-newest", "1", "--minimum", "1"];
    let output = program.run(&arguments).await.with(0);
    assert!(output.stderr.contains("Deleted 2 of 4 manifests."), "{}", output.stderr);
    let has = |bytes: &[u8]| images.layout.has(&Digest::of(bytes));
    assert!(
        !images.layout.has(&old[0]) && !images.layout.has(&old[1]) && !has(b"old") && !has(b"proof of old")
    );
    assert!(
        images.layout.has(&kept[0]) && images.layout.has(&kept[1]) && has(b"kept") && has(b"proof of kept")
    );
    assert!(has(b"userland") && has(b"{}"), "what both need stays");
    assert!(images.layout.has(&in_flight) && !images.layout.has(&abandoned));

    // For a day all of it can be had back.
    let [journal] = program.journals().try_into().unwrap();
    program.run(&["cleanup", "restore", text(&journal)]).await.with(0);
    assert!(has(b"old") && has(b"proof of old") && images.layout.tags().unwrap().len() == 2);

    // Then it is really gone.
    for digest in &old {
        age(&images.path(digest), OLD);
    }
    program.run(&arguments).await.with(0);
    let aside = images.layout.directory().join(".removed");
    for entry in std::fs::read_dir(&aside).unwrap() {
        age(&entry.unwrap().path(), 25);
    }
    let last = images.add("last", &version_tag(2), OLD);
    images.add("newest", &version_tag(3), 1);
    program.run(&arguments).await.with(0);
    assert!(!images.layout.has(&last[0]));
    let left: Vec<_> = std::fs::read_dir(&aside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.contains(&old[0].hex().into()), "{left:?}");
}
