//! The tags of a promoted image.

use jiff::Timestamp;
use kmod_builder::io::evidence::stored_evidence;
use kmod_builder::io::inspect::inspect;
use kmod_builder::io::promote::{PromoteError, promote, tag_state};
use kmod_builder::io::registry::Registry;
use kmod_builder::io::store::ImageStore;
use kmod_builder::model::Compression;
use kmod_builder::model::builder_policy::BuilderPolicy;
use kmod_builder::model::evidence::EvidenceKind;
use kmod_builder::model::evidence::lifecycle::ImageHistory;
use kmod_builder::model::evidence::verify::TrustPolicy;
use kmod_builder::model::image::TagOrDigest;
use kmod_builder::model::inputs::InputsPolicy;
use kmod_builder::model::manifest::RawManifest;
use kmod_builder::model::promote::{
    Promotion, PromotionChannel, PromotionChecks, PromotionOverrides, PromotionRules,
};
use kmod_builder::model::rpm_signature::KernelPackagePolicy;
use kmod_builder::model::tags::{Channel, TagClass};
use kmod_compat::{CompatMatrix, FedoraKeys, ReleaseKeys};
use serde_json::json;

use super::environment::{PromoteEnvironment, TestKey, key};
use crate::rpms::KERNEL;

const NEWER: &str = "6.17.9-300.fc43.x86_64";

#[tokio::test]
async fn the_second_run_finds_nothing_to_do() {
    let (world, digest) = PromoteEnvironment::with_candidate().await;
    let first = world.promote(&digest, &[]).await.with(0).json();
    let image = format!("zfs-2.4.3_kernel-{KERNEL}");
    let audit = first["tags"][1].as_str().unwrap().to_owned();
    assert_eq!(first["tags"], json!([image, audit, "stable", "zfs-2.4_stable", "fedora-43_stable"]));
    assert!(audit.starts_with("stable-20") && audit.ends_with(digest.short()), "{audit}");
    assert_eq!(TagClass::of(&audit), TagClass::Audit);
    assert_eq!(first["updates"].as_array().unwrap().len(), 5);
    let before = world.tags().await;
    assert_eq!(world.users_tags().await.len(), 5);
    world.proxy.log();
    let second = world.promote(&digest, &[]).await.with(0);
    let log = world.proxy.log();
    assert_eq!((&second.json()["result"], &second.json()["updates"]), (&json!("nothing-to-do"), &json!([])));
    assert_eq!(world.tags().await, before);
    assert!(log.iter().all(|line| line.starts_with("GET ") || line.starts_with("HEAD ")), "{log:#?}");
    // The image itself is four of these, its evidence sixteen, and what is stated about its inputs two.
    assert!(log.len() <= 26, "{} requests: {log:#?}", log.len());
}

#[tokio::test]
async fn a_channel_does_not_go_back() {
    let (world, old) = PromoteEnvironment::with_candidate().await;
    let new = world.prove(NEWER, Compression::Zstd).await;
    world.promote(&new, &[]).await.with(0);
    let before = world.tags().await;
    let report = world.promote(&old, &["--replace"]).await.with(3).json();
    assert_eq!((&report["result"], report["rejections"].as_array().unwrap().len()), (&json!("refused"), 3));
    let mut after = world.tags().await;
    let own = after.remove(&format!("zfs-2.4.3_kernel-{KERNEL}"));
    assert_eq!((after, own), (before, Some(old.clone())), "its own tag depends on no channel");
    let public_key = world.path("ours.pub").display().to_string();
    let shown = world.run(&["promote", &world.image(&old), "--public-key", &public_key]).await.with(3).stdout;
    let sentence = format!(
        "`fedora-43_stable` has OpenZFS 2.4.3 for {NEWER}, and would go back to OpenZFS 2.4.3 for {KERNEL}\n  help: "
    );
    let image = world.image(&old);
    let end = format!(
        "\nREFUSED: no tag of the channel was changed: OpenZFS 2.4.3 for {KERNEL}, to stable\n{image}\n"
    );
    assert!(shown.contains(&sentence) && shown.ends_with(&end) && !shown.contains("leave"), "{shown}");
    world.promote(&old, &["--allow-downgrade"]).await.with(0);
    assert_eq!(world.tags().await["stable"], old);
    let report = world.promote(&new, &["--audit-tag", "stable-99999999999999-0123abc"]).await.with(0).json();
    assert_eq!(report["updates"].as_array().unwrap().len(), 4);
    assert_eq!(world.tags().await["stable-99999999999999-0123abc"], new);
}

#[tokio::test]
async fn a_tag_that_somebody_moves_meanwhile_is_not_moved_back() {
    let (world, digest) = PromoteEnvironment::with_candidate().await;
    let theirs = world.prove(NEWER, Compression::Zstd).await;
    let (client, name) = (world.client(), world.image(&digest).parse().unwrap());
    let inspection = inspect(&ImageStore::Registry(Registry::clone(&client)), &name).await.unwrap();
    let stored_evidence = stored_evidence(&client, &digest).await;
    let trust = TrustPolicy::key(key(TestKey::Ours).public().clone());
    let repository = world.repository().to_string();
    let policy = InputsPolicy {
        matrix: CompatMatrix::embedded().unwrap(),
        builders: BuilderPolicy::new("", []),
        packages: KernelPackagePolicy { keys: FedoraKeys::embedded().unwrap(), allow_unsigned: false },
        release_keys: ReleaseKeys::embedded().unwrap(),
    };
    let missing_boot_tests = &Ok(Vec::new());
    let rules =
        PromotionRules { policy: &policy, was_promoted: false, is_for_users: false, missing_boot_tests };
    let proven = |trust: &TrustPolicy| {
        PromotionChecks::new(&repository, &inspection, &stored_evidence, trust, Timestamp::now(), rules)
            .proven(&EvidenceKind::ALL.into())
    };
    let (proven, unverified) = (proven(&trust), proven(&TrustPolicy::Unverified));
    assert!(unverified.is_none(), "what anybody says is no proof");
    let proven = proven.unwrap();
    let (channel, audit): (Channel, _) = ("stable".parse().unwrap(), "stable-1-0123abc".parse().unwrap());
    let of = PromotionChannel { channel: "stable".parse().unwrap(), audit_tag: audit };
    let (overrides, now) = (PromotionOverrides::default(), Timestamp::now());
    let promotion = Promotion::new(proven, &channel, Some(of), overrides, now).unwrap();
    let state = async || {
        let history = ImageHistory::default();
        tag_state(&client, &promotion, &history, &trust, |_| false).await.unwrap()
    };
    let plan = promotion.plan(&state().await);
    let manifest = client.manifest(&TagOrDigest::Digest(theirs.clone())).await.unwrap().unwrap();
    client.put_tag(&"stable".parse().unwrap(), &manifest).await.unwrap();
    let mut steps = 0;
    let error = promote(&client, &digest, &plan.updates, |_| steps += 1).await.unwrap_err();
    assert!(matches!(error, PromoteError::Moved { .. }), "{error:?}");
    assert_eq!((steps, &world.tags().await["stable"]), (3, &theirs));
    let plan = promotion.plan(&state().await);
    assert!(!plan.rejections.is_empty() && plan.updates.is_empty(), "{plan:?}");
}

#[tokio::test]
async fn what_a_channel_points_to_must_be_known() {
    let (world, digest) = PromoteEnvironment::with_candidate().await;
    // Somebody's index under our tag: an image of which nobody can say whether it is older.
    let client = world.client();
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [] });
    let index = RawManifest::new(index.to_string(), "");
    client.put_tag(&"stable".parse().unwrap(), &index).await.unwrap();
    world.rejects(&digest, &[], "is not known").await;
    world.promote(&digest, &["--allow-downgrade"]).await.with(0);
    assert_eq!(world.tags().await["stable"], digest);
}

#[tokio::test]
async fn immutable_tags_are_taken_from_nobody() {
    let (world, first) = PromoteEnvironment::with_candidate().await;
    let rebuilt = world.prove(KERNEL, Compression::Gzip).await;
    assert_ne!(first, rebuilt);
    let audit = ["--audit-tag", "stable-1-0123abc"];
    world.promote(&first, &audit).await.with(0);
    world.rejects(&rebuilt, &[], "is immutable").await;
    assert_eq!(world.tags().await[&format!("zfs-2.4.3_kernel-{KERNEL}")], first);
    world.rejects(&rebuilt, &[&audit[..], &["--replace"]].concat(), "is in the audit").await;
    world.promote(&rebuilt, &["--replace", "--audit-tag", "stable-2-0123abc"]).await.with(0);
    let after = world.tags().await;
    assert_eq!((&after["stable"], &after["stable-1-0123abc"]), (&rebuilt, &first));
}

#[tokio::test]
async fn a_branch_touches_nothing_of_the_users() {
    let (world, stable) = PromoteEnvironment::with_candidate().await;
    world.promote(&stable, &[]).await.with(0);
    let branch = world.prove(NEWER, Compression::Zstd).await;
    let users = world.users_tags().await;
    let (slash, dash) = ("beta-fix/scrub", "beta-fix-scrub");
    let report = world.promote(&branch, &["--channel", slash]).await.with(0).json();
    assert_eq!(world.users_tags().await, users);
    let other = world.promote(&stable, &["--channel", dash]).await.with(0).json();
    assert_eq!(world.users_tags().await, users);
    let tags = |report: &serde_json::Value| -> Vec<String> {
        report["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
    };
    let after = world.tags().await;
    for (report, digest) in [(&report, &branch), (&other, &stable)] {
        assert_eq!(tags(report).len(), 3);
        for tag in tags(report) {
            assert_eq!((TagClass::of(&tag), &after[&tag]), (TagClass::Branch, digest), "{tag}");
        }
    }
    assert!(tags(&report).iter().all(|tag| !tags(&other).contains(tag)));
}
