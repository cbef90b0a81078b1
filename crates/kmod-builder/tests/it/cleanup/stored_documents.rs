//! Plans and journals that earlier versions wrote: `tests/fixtures/retention-plan-2026-11-21.json` and
//! `retention-journal-2026-11-21.jsonl`, of the directory of images that [`store`] makes.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use kmod_builder::io::cleanup::{
    CleanupCache, Journal, LayoutBackend, RetentionBackend, apply, read_journal, restore,
};
use kmod_builder::io::layout::Layout;
use kmod_builder::model::Digest;
use kmod_builder::model::cleanup::{DELETE_REASONS, KEEP_RULES, RetentionDecision, RetentionPlan};
use kmod_builder::model::oci::Descriptor;
use serde_json::{Value, json};

use super::environment::version_tag;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OLD: i64 = 200 * 24;

fn made() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

struct Images(Layout);

impl Images {
    fn put(&self, document: &Value, tags: &[&str], hours: i64) -> Descriptor {
        let media_type = document["mediaType"].as_str().unwrap();
        let descriptor = self.0.put(media_type, document.to_string().as_bytes()).unwrap();
        if tags.is_empty() {
            self.0.list(&descriptor, None).unwrap();
        }
        for tag in tags {
            self.0.list(&descriptor, Some(&tag.parse().unwrap())).unwrap();
        }
        let path = self.0.directory().join("blobs/sha256").join(descriptor.digest.hex());
        let then = made() - SignedDuration::from_hours(hours);
        std::fs::File::open(path).unwrap().set_modified(then.into()).unwrap();
        descriptor
    }

    fn image(&self, name: &str, tags: &[&str], hours: i64, subject: Option<&Descriptor>) -> Descriptor {
        let blob = |text: &str| self.0.put("application/octet-stream", text.as_bytes()).unwrap();
        let mut document = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": blob("{}"), "layers": [blob(name)],
        });
        if let Some(subject) = subject {
            document["subject"] = serde_json::to_value(subject).unwrap();
        }
        self.put(&document, tags, hours)
    }
}

/// One image for each reason that a directory can give.
fn store(directory: &Path) -> Layout {
    let images = Images(Layout::create(directory).unwrap());
    let old = images.image("old", &[&version_tag(0)], OLD, None);
    images.image("proof of old", &[], OLD, Some(&old));
    images.image("host kernel", &[&version_tag(1)], OLD, None);
    images.image("newest", &[&version_tag(2)], 1, None);
    images.image("young", &[&version_tag(3)], 30 * 24, None);
    let channel = images.image("channel", &[&version_tag(4), "stable"], OLD, None);
    let proof = images.image("proof of channel", &[], OLD, Some(&channel));
    let list =
        |name: &str| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [proof], "name": name });
    images.put(&list("superseded"), &[], OLD);
    images.put(&list("now"), &[&format!("sha256-{}", channel.digest.hex())], OLD);
    images.image("audit", &[&version_tag(5), "stable-77-0123abc"], OLD, None);
    images.image("unknown tag", &["mine"], OLD, None);
    images.put(&json!({ "mediaType": "application/new" }), &[&version_tag(6)], OLD);
    for (name, hours) in [("young", 24), ("old", OLD)] {
        let number = usize::from(name == "old");
        images.image(
            &format!("{name} candidate"),
            &[&format!("candidate-{}", version_tag(number))],
            hours,
            None,
        );
        images.image(&format!("{name} branch"), &[&format!("beta-{name}")], hours, None);
        let absent = Descriptor { digest: Digest::of(name.as_bytes()), ..channel.clone() };
        images.image(&format!("{name} orphan"), &[], hours / 24, Some(&absent));
    }
    images.image("untagged", &[], OLD, None);
    images.0
}

type Decided<'a> = (&'a Digest, &'a BTreeSet<String>, RetentionDecision, &'a str);

fn decisions(plan: &RetentionPlan) -> Vec<Decided<'_>> {
    let entries = plan.entries().iter();
    entries.map(|entry| (&entry.digest, &entry.tags, entry.decision, &*entry.reason.id)).collect()
}

#[tokio::test]
async fn a_plan_of_an_earlier_version_is_carried_out_and_its_journal_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let backend = RetentionBackend::Layout(LayoutBackend::new(store(&directory.path().join("images"))));
    let cache = CleanupCache::new(directory.path().join("cache"));
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let text = std::fs::read(fixtures.join("retention-plan-2026-11-21.json")).unwrap();
    let stored: RetentionPlan = serde_json::from_slice(&text).unwrap();
    let inventory = backend.gather(&cache, made()).await.unwrap();
    let fresh = RetentionPlan::decide("oci:images", &inventory, stored.policy(), made());
    assert_eq!(decisions(&stored), decisions(&fresh));
    let ids: BTreeSet<&str> = stored.entries().iter().map(|entry| &*entry.reason.id).collect();
    // A file always has an age.
    let all = KEEP_RULES.iter().map(|rule| rule.id).filter(|id| *id != "age-unknown");
    assert_eq!(ids, all.chain(DELETE_REASONS.iter().map(|(id, _)| *id)).collect());

    let path = directory.path().join("journal.jsonl");
    let mut journal = Journal::begin(&path, stored.store(), made()).unwrap();
    let later = made() + SignedDuration::from_hours(1);
    apply(&backend, &cache, &stored, &mut journal, later, &|_| {}).await.unwrap();
    let (name, mut records) = read_journal(&fixtures.join("retention-journal-2026-11-21.jsonl")).unwrap();
    assert_eq!((name.as_str(), records.len()), ("oci:images", 7));
    let (_, mut written) = read_journal(&path).unwrap();
    // The reason may be worded otherwise; what restores a manifest may not change.
    assert!(records.iter().all(|record| !record.reason.text.is_empty()));
    records.iter_mut().zip(&mut written).for_each(|(old, new)| old.reason = new.reason.clone());
    assert_eq!(records, written);
    restore(&backend, &records, &[]).await.unwrap();
    assert_eq!(backend.gather(&cache, made()).await.unwrap().all().len(), stored.entries().len());
}
