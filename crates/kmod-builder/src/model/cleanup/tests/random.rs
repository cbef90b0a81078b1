//! Random stores: images, indexes of indexes, shared children, evidence on evidence, many tags on one digest, equal
//! times, orphans, and unknown kinds.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use proptest::collection::{btree_set, vec};
use proptest::option::weighted;
use proptest::prelude::*;

use crate::model::Digest;
use crate::model::cleanup::{
    Age, BlobRef, HostKernel, Inventory, ManifestInfo, ManifestKind, Percentage, RetentionPolicy,
    StoredManifest,
};

pub(super) const NOW: &str = "2026-06-01T12:00:00Z";

pub(super) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(super) fn hours_ago(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

/// The digest of the manifest with this number, which may not be in the store.
pub(super) fn digest(number: usize) -> Digest {
    Digest::of(&number.to_le_bytes())
}

pub(super) fn manifest_info(kind: ManifestKind) -> ManifestInfo {
    ManifestInfo {
        kind,
        media_type: format!("application/{kind:?}"),
        size: 500,
        children: Vec::new(),
        subject: None,
        blobs: Vec::new(),
        created: None,
        config: None,
        records_failed_builds: false,
    }
}

/// Few lines, kernels and architectures, so that many are equal.
pub(super) fn version_tag(zfs: usize, kernel: usize) -> String {
    let zfs = ["2.3.1", "2.3.2", "2.4.0", "2.4.3"][zfs % 4];
    let arch = ["x86_64", "aarch64"][kernel % 2];
    format!("zfs-{zfs}_kernel-6.{}.{}-200.fc43.{arch}", 12 + kernel / 2 % 3, kernel % 7)
}

fn tags() -> impl Strategy<Value = Vec<String>> {
    let version = || (0..4_usize, 0..12_usize).prop_map(|(zfs, kernel)| version_tag(zfs, kernel));
    let promoted = |(tag, run)| vec![format!("candidate-{tag}"), tag, format!("stable-{run}-0123abc")];
    prop_oneof![
        18 => Just(Vec::new()),
        14 => version().prop_map(|tag| vec![tag]),
        6 => version().prop_map(|tag| vec![format!("candidate-{tag}")]),
        1 => (version(), 0..3_usize).prop_map(promoted),
        1 => Just(vec!["stable".to_owned()]),
        2 => Just(vec!["beta-main".to_owned()]),
        1 => "[a-z]{1,4}".prop_map(|tag| vec![tag]),
    ]
}

/// A manifest with references by distance: digests refer to earlier manifests, only tags refer to any.
#[derive(Clone, Debug)]
struct Seed {
    kind: ManifestKind,
    tags: Vec<String>,
    children: BTreeSet<usize>,
    subject: Option<usize>,
    evidence_of: Option<(usize, &'static str)>,
    created: Option<i64>,
    updated: Option<i64>,
}

fn kind() -> impl Strategy<Value = ManifestKind> {
    prop_oneof![
        20 => Just(ManifestKind::Image),
        9 => Just(ManifestKind::Index),
        2 => Just(ManifestKind::Signature),
        1 => Just(ManifestKind::Unknown),
    ]
}

/// Few different times, so that many are equal, and around the limits of the policy.
fn hours() -> impl Strategy<Value = i64> {
    prop_oneof![9 => (0..9_i64).prop_map(|step| step * 23 * 11), 1 => -100..100_i64]
}

fn suffix() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just(""), 1 => Just(".sig"), 1 => Just(".att"), 1 => Just(".sbom")]
}

prop_compose! {
    fn seed()(
        kind in kind(),
        tags in tags(),
        children in btree_set(1..6_usize, 0..3),
        subject in weighted(0.3, 1..8_usize),
        evidence_of in weighted(0.15, (0..40_usize, suffix())),
        created in weighted(0.95, hours()),
        updated in weighted(0.5, hours()),
    ) -> Seed {
        Seed { kind, tags, children, subject, evidence_of, created, updated }
    }
}

fn grow(seeds: Vec<Seed>) -> Vec<StoredManifest> {
    let missing = 1_000;
    let grown = seeds.into_iter().enumerate().map(|(number, seed)| {
        // Numbers before the first manifest are of missing manifests.
        let back = |distance: usize| digest(number.checked_sub(distance).unwrap_or(missing + distance));
        let mut info = manifest_info(seed.kind);
        if matches!(seed.kind, ManifestKind::Index | ManifestKind::Unknown) {
            info.children = seed.children.iter().map(|distance| back(*distance)).collect();
        } else {
            let layer = |name: usize| BlobRef { digest: digest(2_000 + name), size: 1 << name };
            info.blobs = seed.children.iter().map(|name| layer(*name)).collect();
        }
        if matches!(seed.kind, ManifestKind::Image | ManifestKind::Index) {
            info.subject = seed.subject.map(back);
        }
        let mut tags: BTreeSet<String> = seed.tags.into_iter().collect();
        if let Some((subject, suffix)) = seed.evidence_of {
            tags.insert(format!("sha256-{}{suffix}", digest(subject).hex()));
        }
        StoredManifest {
            digest: digest(number),
            id: Some(number as u64 + 1),
            tags,
            created: seed.created.map(hours_ago),
            updated: seed.updated.map(hours_ago),
            info,
        }
    });
    unique_tags(grown.collect())
}

/// A tag points to the last manifest that has it.
fn unique_tags(mut all: Vec<StoredManifest>) -> Vec<StoredManifest> {
    let mut taken = BTreeSet::new();
    for stored in all.iter_mut().rev() {
        stored.tags.retain(|tag| taken.insert(tag.clone()));
    }
    all
}

pub(super) fn stores() -> impl Strategy<Value = Vec<StoredManifest>> {
    vec(seed(), 0..36).prop_map(grow)
}

pub(super) fn policies() -> impl Strategy<Value = RetentionPolicy> {
    (0..100_u16, 0..20_u16, 0..20_u16, 0..4_usize, btree_set(0..12_usize, 0..3)).prop_map(
        |(older, candidates, branches, keep_newest, kernels)| RetentionPolicy {
            older_than: Age::days(older),
            candidates_older_than: Age::days(candidates),
            branches_older_than: Age::days(branches),
            orphans_older_than: Age::hours(24),
            keep_newest,
            keep_kernels: kernels.into_iter().map(host_kernel).collect(),
            channels: Vec::new(),
            minimum: 1,
            max_delete: Percentage::HALF,
        },
    )
}

fn host_kernel(kernel: usize) -> HostKernel {
    let tag = version_tag(0, kernel);
    let (_, kernel) = tag.split_once("_kernel-").unwrap();
    HostKernel { kernel: kernel.parse().unwrap(), seen: "stable".into() }
}

pub(super) fn inventory(all: &[StoredManifest]) -> Inventory {
    Inventory::new(all.iter().cloned())
}
