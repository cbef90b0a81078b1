//! Plans and journals that earlier versions wrote: `tests/fixtures/retention-plan-2026-11-21.json` and
//! `retention-journal-2026-11-21.jsonl`, of the directory of images that [`store`] makes.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use kmod_builder::io::cleanup::{
    CleanupCache, Journal, LayoutBackend, PreparedCleanup, RetentionBackend, read_journal, restore,
};
use kmod_builder::io::layout::Layout;
use kmod_builder::model::Digest;
use kmod_builder::model::cleanup::{DELETE_REASONS, KEEP_RULES, RetentionDecision, RetentionPlan};
use kmod_builder::model::oci::{Descriptor, INDEX};
use serde_json::json;

use super::environment::{LayoutImages, OLD, version_tag};

fn made() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// One image for each reason that a directory can give.
fn store(directory: &Path) -> Layout {
    let images = LayoutImages(Layout::create(directory).unwrap());
    let ago = |hours| made() - SignedDuration::from_hours(hours);
    let image = |name: &str, tags: &[&str], hours: i64, subject: Option<&Descriptor>| {
        images.image(&[name], tags, ago(hours), subject)
    };
    let old = image("old", &[&version_tag(0)], OLD, None);
    image("proof of old", &[], OLD, Some(&old));
    image("host kernel", &[&version_tag(1)], OLD, None);
    image("newest", &[&version_tag(2)], 1, None);
    image("young", &[&version_tag(3)], 30 * 24, None);
    let channel = image("channel", &[&version_tag(4), "stable"], OLD, None);
    let proof = image("proof of channel", &[], OLD, Some(&channel));
    let list =
        |name: &str| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [proof], "name": name });
    images.put(&list("superseded"), &[], ago(OLD));
    images.put(&list("now"), &[&format!("sha256-{}", channel.digest.hex())], ago(OLD));
    image("audit", &[&version_tag(5), "stable-77-0123abc"], OLD, None);
    image("unknown tag", &["mine"], OLD, None);
    images.put(&json!({ "mediaType": "application/new" }), &[&version_tag(6)], ago(OLD));
    for (number, (name, hours)) in [("young", 24), ("old", OLD)].into_iter().enumerate() {
        let tag = format!("candidate-{}", version_tag(number));
        image(&format!("{name} candidate"), &[&tag], hours, None);
        image(&format!("{name} branch"), &[&format!("beta-{name}")], hours, None);
        let absent = Descriptor { digest: Digest::of(name.as_bytes()), ..channel.clone() };
        image(&format!("{name} orphan"), &[], hours / 24, Some(&absent));
    }
    image("untagged", &[], OLD, None);
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
    let fresh = RetentionPlan::decide("oci:images", &inventory, &stored.policy, made());
    assert_eq!(decisions(&stored), decisions(&fresh));
    let ids: BTreeSet<&str> = stored.entries().iter().map(|entry| &*entry.reason.id).collect();
    // A file always has an age; the other two are of a later version.
    let absent = ["age-unknown", "young-failed-builds", "old-failed-builds"];
    let all = KEEP_RULES.iter().map(|rule| rule.id).chain(DELETE_REASONS.iter().map(|(id, _)| *id));
    assert_eq!(ids, all.filter(|id| !absent.contains(id)).collect());

    let path = directory.path().join("journal.jsonl");
    let mut journal = Journal::begin(&path, &stored.store, made()).unwrap();
    let later = made() + SignedDuration::from_hours(1);
    let prepared = PreparedCleanup::new(&backend, &cache, &stored, &stored.policy, later).await.unwrap();
    let run = prepared.run(&mut journal, later, &|_| {}).await;
    assert!(run.error.is_none() && run.integrity.broken.is_empty(), "{run:?}");
    let (name, mut records) = read_journal(&fixtures.join("retention-journal-2026-11-21.jsonl")).unwrap();
    assert_eq!((name.as_str(), records.len()), ("oci:images", 7));
    let (_, mut written) = read_journal(&path).unwrap();
    // The reason may be worded otherwise; what restores a manifest may not change.
    assert!(records.iter().all(|record| !record.reason.text.is_empty()));
    for (old, new) in records.iter_mut().zip(&mut written) {
        assert!(old.layout_entries.is_none() && new.layout_entries.take().is_some());
        old.reason = new.reason.clone();
    }
    assert_eq!(records, written);
    restore(&backend, &records, &[]).await.unwrap();
    assert_eq!(backend.gather(&cache, made()).await.unwrap().all().len(), stored.entries().len());
}
