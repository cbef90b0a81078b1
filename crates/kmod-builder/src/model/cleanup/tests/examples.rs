//! Stores as in practice.

use super::random::{digest, hours_ago, inventory, manifest_info, now, version_tag};
use crate::model::cleanup::{
    HostKernel, ManifestKind, PlanRejection, RetentionPlan, RetentionPolicy, StoredManifest,
};

const OLD: i64 = 200 * 24;

fn stored(number: usize, tags: &[&str], hours: i64) -> StoredManifest {
    StoredManifest {
        digest: digest(number),
        id: Some(number as u64),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        created: Some(hours_ago(hours)),
        updated: Some(hours_ago(hours)),
        info: manifest_info(ManifestKind::Image),
    }
}

fn referrer(number: usize, subject: usize, hours: i64) -> StoredManifest {
    let mut one = stored(number, &[], hours);
    one.info.subject = Some(digest(subject));
    one
}

fn index(number: usize, tags: &[&str], children: &[usize], hours: i64) -> StoredManifest {
    let mut one = stored(number, tags, hours);
    one.info.kind = ManifestKind::Index;
    one.info.children = children.iter().map(|child| digest(*child)).collect();
    one
}

/// An image with provenance, the index of it, and a signature: four manifests, numbered from the image's.
fn published(number: usize, tags: &[&str], hours: i64) -> Vec<StoredManifest> {
    let tag = format!("sha256-{}", digest(number).hex());
    vec![
        stored(number, tags, hours),
        referrer(number + 1, number, hours),
        index(number + 2, &[&tag], &[number + 1], hours),
        stored(number + 3, &[&format!("{tag}.sig")], hours),
    ]
}

fn policy() -> RetentionPolicy {
    RetentionPolicy { keep_newest: 1, minimum: 1, ..RetentionPolicy::default() }
}

fn decide(all: &[StoredManifest], policy: &RetentionPolicy) -> RetentionPlan {
    RetentionPlan::decide("oci:store", &inventory(all), policy, now())
}

fn deleted(plan: &RetentionPlan) -> Vec<usize> {
    let number = |entry: &crate::model::cleanup::RetentionEntry| {
        (0..200).find(|number| digest(*number) == entry.digest)
    };
    plan.deletions().iter().map(|entry| number(entry).unwrap()).collect()
}

/// Id and text.
#[track_caller]
fn reason(plan: &RetentionPlan, number: usize) -> (&str, &str) {
    let entry = plan.entries().iter().find(|entry| entry.digest == digest(number)).unwrap();
    (&entry.reason.id, &entry.reason.text)
}

#[test]
fn deletes_an_image_before_its_index_its_bundles_and_its_signature() {
    let mut all = published(10, &[&version_tag(3, 0)], OLD);
    all.extend(published(20, &[&version_tag(3, 2)], OLD - 24));
    let plan = decide(&all, &policy());
    assert_eq!(deleted(&plan), [10, 12, 11, 13]);
    assert_eq!(reason(&plan, 10), ("old", "it is older than 90d"));
    let kernel = version_tag(3, 4).split_once("_kernel-").unwrap().1.parse().unwrap();
    let keep_kernels = vec![HostKernel { kernel, seen: "stable".into() }];
    let plan_for_hosts = decide(&all, &RetentionPolicy { keep_kernels, ..policy() });
    assert_eq!(reason(&plan_for_hosts, 10), ("old", "it is older than 90d and no host runs its kernel"));
    assert_eq!(
        reason(&plan, 11),
        ("with", &*format!("it belongs to {}, which is deleted", digest(10).short()))
    );
    assert_eq!(reason(&plan, 20).0, "newest");
    assert_eq!(reason(&plan, 21), ("needed", &*format!("{} needs it", digest(20).short())));
}

/// The shell predecessor kept the tagged index of the newest images and deleted the bundles that it lists.
#[test]
fn untagged_bundles_of_a_kept_image_are_kept() {
    let all = published(10, &["stable"], OLD);
    assert_eq!(deleted(&decide(&all, &policy())), [0_usize; 0]);
}

#[test]
fn an_old_image_is_kept_for_each_of_these_reasons() {
    let tag = version_tag(3, 0);
    let candidate = format!("candidate-{tag}");
    let kernel = tag.split_once("_kernel-").unwrap().1.parse().unwrap();
    let host = HostKernel { kernel, seen: "stable 43.20260301.3.1".into() };
    for (id, tags, keep_kernels) in [
        // dependabot/dependabot-core#16328: neither date moves when a tag does.
        ("audit", &[&*tag, "stable-77-0123abc"][..], vec![]),
        // moritzrinow/regmaid#2: "delete one of three tags" deleted all three.
        ("unknown-tag", &[&tag, &candidate, "mine"], vec![]),
        ("host-kernel", &[&tag], vec![host]),
    ] {
        let all = published(10, tags, OLD);
        let plan = decide(&all, &RetentionPolicy { keep_newest: 0, keep_kernels, ..policy() });
        assert_eq!((reason(&plan, 10).0, deleted(&plan)), (id, vec![]), "{id}");
    }
}

#[test]
fn tags_of_named_channels_are_protected_as_channels() {
    let channels = vec!["kinoite".parse().unwrap()];
    let policy = RetentionPolicy { keep_newest: 0, channels, ..policy() };
    for (tag, id) in [
        ("kinoite", "channel"),
        ("zfs-2.4_kinoite_aarch64", "channel"),
        ("kinoite-77-0123abc", "audit"),
        ("silverblue", "unknown-tag"),
    ] {
        let plan = decide(&published(10, &[&version_tag(3, 0), tag], OLD), &policy);
        assert_eq!((reason(&plan, 10).0, deleted(&plan)), (id, vec![]), "{tag}");
    }
}

#[test]
fn the_newest_are_counted_by_digest_per_line_and_architecture() {
    let tag = |zfs: usize, kernel: usize| version_tag(zfs, kernel);
    let all = vec![
        // Two tags, one image.
        stored(1, &[&tag(2, 0), &tag(3, 2)], OLD),
        stored(2, &[&tag(3, 4)], OLD + 1),
        stored(3, &[&tag(3, 6)], OLD + 2),
        // The other architecture, and another line.
        stored(4, &[&tag(3, 1)], OLD + 90),
        stored(5, &[&tag(0, 0)], OLD + 90),
    ];
    assert_eq!(deleted(&decide(&all, &RetentionPolicy { keep_newest: 2, ..policy() })), [3]);
}

/// A plain registry has neither number nor time; an image says when its OpenZFS was released, which is the same for all.
#[test]
fn equal_dates_are_ranked_by_kernel_version() {
    let older_first = [(7, "6.12.107-152"), (3, "6.12.107-99"), (9, "6.12.107-151"), (1, "6.12.107-200")];
    let all = older_first.map(|(number, kernel)| {
        let mut one = stored(number, &[&format!("zfs-2.4.3_kernel-{kernel}.fc43.x86_64")], OLD);
        one.id = None;
        one
    });
    let mut gone = deleted(&decide(&all, &RetentionPolicy { keep_newest: 2, ..policy() }));
    gone.sort_unstable();
    assert_eq!(gone, [3, 9]);
}

#[test]
fn evidence_with_a_version_tag_does_not_count_as_an_image() {
    let mut all = vec![stored(1, &[&version_tag(3, 0)], OLD), stored(2, &["stable"], 1)];
    for (number, kernel) in [(10, 2), (11, 4), (12, 6)] {
        let mut evidence = referrer(number, 2, OLD);
        evidence.tags = [version_tag(3, kernel)].into();
        all.push(evidence);
    }
    let plan = decide(&all, &RetentionPolicy { minimum: 2, ..policy() });
    assert_eq!((reason(&plan, 1).0, reason(&plan, 10).0), ("newest", "needed"));
    let plan = decide(&all, &RetentionPolicy { keep_newest: 0, minimum: 2, ..policy() });
    assert_eq!(plan.rejections(), [PlanRejection::TooFew { left: 1, minimum: 2 }]);
}

#[test]
fn evidence_without_a_subject_is_deleted_after_a_day() {
    let all = vec![referrer(10, 99, 23), referrer(11, 99, 25), stored(20, &["stable"], OLD)];
    let plan = decide(&all, &policy());
    assert_eq!(deleted(&plan), [11]);
    assert_eq!(reason(&plan, 11), ("orphan", &*format!("its subject {} does not exist", digest(99).short())));
    assert_eq!(reason(&plan, 10), ("grace", "younger than 1d: its image may still be uploading"));
}

/// oras-project/oras#1228: each new state of the index leaves the one before without a tag.
#[test]
fn a_superseded_referrers_index_is_deleted_without_what_it_lists() {
    let mut all = published(10, &["stable"], OLD);
    all.push(index(14, &[], &[11], OLD));
    let plan = decide(&all, &policy());
    assert_eq!(deleted(&plan), [14]);
    assert_eq!(reason(&plan, 14).0, "superseded");
}

#[test]
fn children_of_a_kept_index_are_kept() {
    let all = vec![
        index(10, &["stable"], &[11, 12], OLD),
        stored(11, &[], OLD),
        stored(12, &[], OLD),
        index(20, &["beta-main"], &[12, 21], OLD),
        stored(21, &[], OLD),
    ];
    let plan = decide(&all, &policy());
    assert_eq!(deleted(&plan), [20, 21], "a child of both is kept");
}

#[test]
fn candidates_and_branches_have_their_own_ages() {
    let candidate = format!("candidate-{}", version_tag(3, 0));
    let young = format!("candidate-{}", version_tag(3, 2));
    let all = vec![
        stored(1, &[&candidate], 15 * 24),
        stored(2, &[&young], 13 * 24),
        stored(3, &["beta-main"], 15 * 24),
        stored(4, &[], 15 * 24),
        stored(5, &["stable"], 0),
    ];
    let mut gone = deleted(&decide(&all, &policy()));
    gone.sort_unstable();
    assert_eq!(gone, [1, 3]);
}

#[test]
fn a_plan_beyond_the_limits_is_refused() {
    let two = [stored(1, &[&version_tag(3, 0)], OLD), stored(2, &[&version_tag(3, 2)], OLD)];
    let none = RetentionPolicy { keep_newest: 0, ..policy() };
    let rejections = decide(&two, &none).rejections();
    assert!(
        rejections.contains(&PlanRejection::NothingLeft) && !PlanRejection::NothingLeft.can_be_overridden()
    );
    assert!(rejections.contains(&PlanRejection::TooMany { delete: 2, of: 2, share: policy().max_delete }));

    let plan = decide(&two, &RetentionPolicy { minimum: 2, ..policy() });
    assert_eq!(plan.rejections(), [PlanRejection::TooFew { left: 1, minimum: 2 }]);

    // A small store may still lose its candidates.
    let candidate = format!("candidate-{}", version_tag(3, 2));
    let small = [stored(1, &[&version_tag(3, 0)], 0), stored(2, &[&candidate], OLD)];
    let plan = decide(&small, &RetentionPolicy { minimum: 5, ..policy() });
    assert_eq!((deleted(&plan), plan.rejections()), (vec![2], vec![]));
}

#[test]
fn shared_layers_are_not_freed() {
    let mut all = vec![stored(1, &[&version_tag(3, 0)], OLD), stored(2, &[&version_tag(3, 2)], OLD - 1)];
    let blob = |name: usize, size| crate::model::cleanup::BlobRef { digest: digest(300 + name), size };
    all[0].info.blobs = vec![blob(0, 1 << 30), blob(1, 1000), blob(1, 1000)];
    all[1].info.blobs = vec![blob(0, 1 << 30)];
    assert_eq!(decide(&all, &policy()).freed_bytes, 1000 + 500);
}

#[test]
fn rejects_plans_with_duplicates_or_an_unknown_schema() {
    let all = published(10, &[&version_tag(3, 0)], OLD);
    let plan = decide(&all, &RetentionPolicy { keep_newest: 0, ..policy() });
    let good = serde_json::to_value(&plan).unwrap();
    let fails = |change: fn(&mut serde_json::Value)| {
        let mut bad = good.clone();
        change(&mut bad);
        serde_json::from_value::<RetentionPlan>(bad).unwrap_err().to_string()
    };
    assert!(fails(|plan| plan["schema"]["version"] = 3.into()).contains("unsupported schema cleanup-plan 3"));
    assert!(fails(|plan| plan["entries"][1] = plan["entries"][0].clone()).contains("duplicate entry"));

    // A later version may have written it with a policy that has more fields, or fewer.
    let mut other = good.clone();
    other["policy"]["more"] = 1.into();
    other["policy"].as_object_mut().unwrap().remove("minimum");
    let other: RetentionPlan = serde_json::from_value(other).unwrap();
    assert_eq!(other.policy.minimum, RetentionPolicy::default().minimum);
}

/// Their subject is the inputs, which are no manifest.
#[test]
fn records_of_failed_builds_are_kept_for_a_month_with_their_index() {
    let all = |days: i64| {
        let mut all = published(10, &[&version_tag(3, 0)], 24);
        let mut record = referrer(51, 50, days * 24);
        record.info.records_failed_builds = true;
        let tag = format!("sha256-{}", digest(50).hex());
        all.extend([record, index(52, &[&tag], &[51], days * 24)]);
        all
    };
    let plan = decide(&all(29), &policy());
    assert_eq!(deleted(&plan), [0_usize; 0]);
    assert_eq!([reason(&plan, 51).0, reason(&plan, 52).0], ["young-failed-builds"; 2]);
    let plan = decide(&all(31), &policy());
    assert_eq!(reason(&plan, 51), ("old-failed-builds", "it records failed builds and is older than 30d"));
    let mut gone = deleted(&plan);
    gone.sort_unstable();
    assert_eq!(gone, [51, 52]);
}
