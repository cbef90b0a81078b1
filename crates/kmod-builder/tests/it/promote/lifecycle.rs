//! What happens to images after their first promotion, and several images in one run.

use std::collections::BTreeSet;
use std::fs;

use kmod_builder::model::Compression;
use kmod_builder::model::evidence::EvidenceKind;
use kmod_builder::model::tags::TagClass;
use serde_json::json;

use super::environment::{PromoteEnvironment, TestKey, key};
use crate::rpms::KERNEL;

const NEWER: &str = "6.17.9-300.fc43.x86_64";
const NEWEST: &str = "6.17.10-300.fc43.x86_64";

#[tokio::test]
async fn three_kernels_on_a_branch_get_their_own_tags_in_one_run() {
    let (mut world, first) = PromoteEnvironment::with_candidate().await;
    let second = world.prove(NEWER, Compression::Zstd).await;
    let third = world.prove(NEWEST, Compression::Zstd).await;
    world.program.environment = vec![
        ("GITHUB_REF_NAME", "fix/scrub".to_owned()),
        ("GITHUB_RUN_ID", "1234567".to_owned()),
        ("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567".to_owned()),
    ];
    // The channel follows the first source; an older line or an older lock is promoted in the same way.
    for (digest, channel) in [(&third, "none"), (&first, "beta-fix/scrub"), (&second, "none")] {
        world.promote(digest, &["--channel", channel, "--follow-source"]).await.with(0);
    }
    let tags = world.tags().await;
    let branch: BTreeSet<_> = tags.iter().filter(|(tag, _)| TagClass::of(tag) == TagClass::Branch).collect();
    let of = |end: &str| branch.iter().find(|(tag, _)| tag.ends_with(end)).map(|(_, digest)| *digest);
    for (kernel, digest) in [(KERNEL, &first), (NEWER, &second), (NEWEST, &third)] {
        assert_eq!(of(&format!("-zfs-2.4.3_kernel-{kernel}")), Some(digest), "{tags:?}");
    }
    // Three tags of their own, the audit tag and the channel.
    assert_eq!(branch.len(), 5, "{branch:?}");
    assert_eq!(of("-1234567-0123456789ab"), Some(&first));
    assert!(world.users_tags().await.is_empty());
}

#[tokio::test]
async fn a_refusal_counts_for_its_channel_only() {
    let (world, old) = PromoteEnvironment::with_candidate().await;
    let new = world.prove(NEWER, Compression::Zstd).await;
    world.promote(&new, &["--channel", "stable"]).await.with(0);
    world.promote(&old, &["--channel", "stable"]).await.with(3);
    world.promote(&old, &["--channel", "testing"]).await.with(0);
    let tags = world.tags().await;
    assert_eq!((&tags["stable"], &tags["testing"], &tags["fedora-43_testing"]), (&new, &old, &old));
    assert_eq!(tags[&format!("zfs-2.4.3_kernel-{KERNEL}")], old);
    let refused = world.promote(&old, &["--channel", "zfs-2.3_stable"]).await.with(1);
    refused.explains(&["the channel `zfs-2.3_stable` is not for", "line"]);
}

#[tokio::test]
async fn an_image_that_got_only_its_own_tag_is_promoted_later_without_another_boot_test() {
    let (world, old) = PromoteEnvironment::with_candidate().await;
    let key = ["--key", &*world.key_file(TestKey::Ours)];
    let new = world.prove(NEWER, Compression::Zstd).await;
    world.promote(&new, &[&["--channel", "stable"][..], &key].concat()).await.with(0);
    world.promote(&old, &[&["--channel", "stable"][..], &key].concat()).await.with(3);
    world.take(EvidenceKind::BootTest, &old).await;
    world.promote(&old, &["--channel", "testing"]).await.with(0);
    assert_eq!(world.tags().await["testing"], old);
}

#[tokio::test]
async fn audit_tags_of_another_line_are_those_of_its_channel() {
    let (world, digest) = PromoteEnvironment::with_candidate().await;
    let promote = async |channel: &str, tag: &str| {
        world.promote(&digest, &["--channel", channel, "--audit-tag", tag]).await
    };
    let refused = promote("zfs-2.4_stable", "stable-1-0123abc").await.with(1);
    refused.explains(&["stable-1-0123abc", "zfs-2.4_stable"]);
    promote("zfs-2.4_stable", "zfs-2.4_stable-1-0123abc").await.with(0);
    assert_eq!(world.tags().await["zfs-2.4_stable-1-0123abc"], digest);
    // Outside Actions, the same promotion again uses the tag that it made.
    let audits = async || {
        let tags = world.tags().await;
        let of_line = tags.keys().filter_map(|tag| tag.strip_suffix("-zfs-2.4"));
        of_line.filter(|tag| tag.starts_with("beta-main-")).count()
    };
    for _ in 0..2 {
        world.promote(&digest, &["--channel", "zfs-2.4_beta-main"]).await.with(0);
        assert_eq!(audits().await, 1, "{:?}", world.tags().await);
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    }
}

#[tokio::test]
async fn a_promoted_image_needs_no_other_boot_test() {
    let (world, digest) = PromoteEnvironment::with_candidate().await;
    let key = world.key_file(TestKey::Ours);
    world.promote(&digest, &["--key", &key]).await.with(0);
    world.take(EvidenceKind::BootTest, &digest).await;
    let again = world.promote(&digest, &["--channel", "testing", "--key", &key]).await.with(0).json();
    assert_eq!(again["result"], "promoted");
    // One promotion is stated once.
    let listing =
        world.run(&["attestations", &world.image(&digest), "--format", "json"]).await.with(0).json();
    let kinds = listing["attestations"].as_array().unwrap().iter();
    let promotions =
        kinds.filter(|attestation| attestation["summary"]["kind"] == json!(EvidenceKind::Promotion));
    assert_eq!(promotions.count(), 1, "{listing}");
}

#[tokio::test]
async fn a_recalled_image_is_refused_with_the_reason_until_it_is_reinstated() {
    let (world, digest) = PromoteEnvironment::with_candidate().await;
    world.promote(&digest, &[]).await.with(0);
    let (image, key) = (world.image(&digest), world.key_file(TestKey::Ours));
    let public_key = world.path("ours.pub").display().to_string();
    let trusted = ["--public-key", &public_key, "--format", "json"];
    let verify = async || world.run(&[&["verify", &*image][..], &trusted].concat()).await;
    let recall = async || world.run(&[&["recall", &*image, "--key", &key][..], &trusted].concat()).await;
    verify().await.with(0);
    assert_eq!(recall().await.with(0).json()["result"], "nothing-to-do");

    let row = "[[exclude]]\nzfs = \"2.4.3\"\nreason = \"it damages pools\"\nsource = \"https://example.org/issues/3\"\n";
    world.configure(row);
    let recalled = recall().await.with(0).json();
    assert_eq!((&recalled["result"], &recalled["withdrawn"]), (&json!("withdrawn"), &json!(true)));
    assert_eq!(recall().await.with(0).json()["result"], "nothing-to-do");
    let refused = verify().await.with(3).json();
    let failed =
        refused["checks"].as_array().unwrap().iter().find(|check| check["reason"].is_string()).unwrap();
    assert!(failed["reason"].as_str().unwrap().contains("it damages pools"), "{refused}");
    world.promote(&digest, &["--channel", "next"]).await.with(3);
    let tags = world.tags().await;
    assert_eq!(tags["stable"], digest, "nothing is deleted or moved");
    assert_eq!(tags[&format!("withdrawn-zfs-2.4.3_kernel-{KERNEL}")], digest);
    // A stranger's statement counts for nothing.
    let stranger = world.key_file(TestKey::Strangers);
    world.configure("");
    let refused = world.run(&[&["recall", &*image, "--key", &stranger][..], &trusted].concat()).await.with(1);
    assert!(refused.stderr.contains("does not count"), "{}", refused.stderr);
    verify().await.with(3);

    // The time in statements has whole seconds, and of two of one second the withdrawal counts.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(recall().await.with(0).json()["result"], "reinstated");
    verify().await.with(0);
    world.promote(&digest, &["--channel", "next"]).await.with(0);
}

#[tokio::test]
async fn after_a_change_of_the_key_the_same_image_is_signed_again() {
    let (world, digest) = PromoteEnvironment::with_candidate().await;
    world.promote(&digest, &["--key", &world.key_file(TestKey::Ours)]).await.with(0);
    let (image, new) = (world.image(&digest), world.path("new.pub").display().to_string());
    fs::write(&new, key(TestKey::Strangers).public().to_pem()).unwrap();
    let verify = async || world.run(&["verify", &image, "--public-key", &new]).await;
    verify().await.with(3);
    let (ours, strangers) =
        (world.path("ours.pub").display().to_string(), world.key_file(TestKey::Strangers));
    let sign = ["sign", &image, "--key", &strangers, "--public-key", &ours, "--format", "json"];
    let signed = world.run(&sign).await.with(0).json();
    let kinds = ["provenance", "sbom", "signature", "boot-test", "promotion", "signature"];
    assert_eq!(signed["signed"], json!(kinds));
    verify().await.with(0);
    assert_eq!(world.run(&sign).await.with(0).json()["signed"], json!([]));
    // Clients that know only the former key accept it, too.
    world.run(&["verify", &image, "--public-key", &ours]).await.with(0);
    let promote = ["promote", &image, "--channel", "testing", "--public-key", &new];
    world.run(&promote).await.with(0);
}

#[tokio::test]
async fn without_a_key_nothing_is_signed_again_if_that_is_allowed() {
    let (world, digest) = PromoteEnvironment::with_candidate().await;
    let (image, ours) = (world.image(&digest), world.path("ours.pub").display().to_string());
    let sign = ["sign", &image, "--public-key", &ours, "--format", "json"];
    world.run(&sign).await.with(1);
    let skipped = world.run(&[&sign[..], &["--skip-without-key"]].concat()).await.with(0).json();
    assert_eq!((&skipped["signed"], &skipped["skipped"]), (&json!([]), &json!(true)));
}
