//! Unproven images get no tag: each kind of evidence is missing, invalid or of another signer, one at a time.

use std::fs;

use jiff::SignedDuration;
use kmod_builder::model::evidence::{EvidenceKind, simple_signing};
use kmod_builder::model::image::TagOrDigest;
use kmod_builder::model::oci::Manifest;
use kmod_builder::model::{Compression, Digest};
use serde_json::{Value, json};

use super::environment::{PromoteEnvironment, TestKey, key};
use crate::images::{damage, matrix_row};
use crate::rpms::KERNEL;

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

/// Checks that the promotion fails this check and changes no tag.
async fn refused(world: &PromoteEnvironment, digest: &Digest, check: &str) {
    let before = world.tags().await;
    let report = world.promote(digest, &[]).await.with(3).json();
    let mut checks = report["checks"].as_array().unwrap().iter();
    let failed = |of: &Value| of["check"] == check && of["required"] == true && of["outcome"] != "passed";
    assert!(checks.any(failed), "{check}: {report}");
    assert_eq!((&report["result"], &report["tags"]), (&json!("not-proven"), &json!([])));
    assert_eq!(world.tags().await, before, "{check}");
}

#[tokio::test]
async fn each_kind_of_evidence_is_needed_and_has_to_be_ours() {
    let (world, digest) = PromoteEnvironment::with_candidate().await;
    // A stranger vouches for all of it; that does no harm, and no good.
    world.publish(KERNEL, Compression::Zstd, TestKey::Strangers).await;
    world.test(&digest, TestKey::Strangers, true, minutes(1)).await;
    let subject = world.subject(&digest).await;
    for (kind, check) in [
        (EvidenceKind::Provenance, "provenance is signed and whole"),
        (EvidenceKind::Sbom, "SBOM is signed"),
        (EvidenceKind::Signature, "signature is good"),
        (EvidenceKind::BootTest, "newest boot test passed"),
    ] {
        let ours = world.take(kind, &digest).await;
        refused(&world, &digest, check).await;
        // One bit of what is signed, and the same of the signature.
        let text = String::from_utf8(ours.json.clone()).unwrap();
        for member in ["\"payload\":\"", "\"sig\":\""] {
            let at = text.find(member).unwrap() + member.len() + 8;
            let mut changed = ours.json.clone();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            world.attach(&changed, kind, &subject).await;
        }
        refused(&world, &digest, check).await;
        world.attach(&ours.json, kind, &subject).await;
    }
    let tag = simple_signing::tag(&digest);
    let client = world.client();
    let signatures = client.resolve(&TagOrDigest::Tag(tag)).await.unwrap().unwrap();
    assert_eq!(world.users_tags().await.len(), 0);
    world.promote(&digest, &["--dry-run"]).await.with(0);
    client.delete_manifest(&signatures).await.unwrap();
    refused(&world, &digest, "signature for podman and bootc is good").await;
    world.publish(KERNEL, Compression::Zstd, TestKey::Ours).await;
    let output = world.promote(&digest, &[]).await.with(0);
    assert_eq!(output.json()["result"], "promoted");
    assert!(world.users_tags().await.values().all(|there| *there == digest));
}

#[tokio::test]
async fn the_newest_boot_test_decides() {
    let world = PromoteEnvironment::new().await;
    let digest = world.publish(KERNEL, Compression::Zstd, TestKey::Ours).await;
    refused(&world, &digest, "newest boot test passed").await;
    world.test(&digest, TestKey::Ours, false, minutes(30)).await;
    refused(&world, &digest, "newest boot test passed").await;
    world.test(&digest, TestKey::Ours, true, minutes(20)).await;
    world.promote(&digest, &["--dry-run"]).await.with(0);
    world.test(&digest, TestKey::Ours, false, minutes(10)).await;
    refused(&world, &digest, "newest boot test passed").await;
    // What was attached last is not what was tested last.
    world.test(&digest, TestKey::Ours, true, minutes(15)).await;
    refused(&world, &digest, "newest boot test passed").await;
}

#[tokio::test]
async fn a_tampered_image_is_not_promoted() {
    let (world, digest) = PromoteEnvironment::with_candidate().await;
    let manifest = world.client().manifest(&TagOrDigest::Digest(digest.clone())).await.unwrap().unwrap();
    damage(&world.blob(&Manifest::parse(&manifest.bytes).unwrap().layers[1].digest));
    refused(&world, &digest, "blobs are unchanged").await;
}

#[tokio::test]
async fn what_is_not_demanded_is_recorded() {
    let world = PromoteEnvironment::new().await;
    let digest = world.publish(KERNEL, Compression::Zstd, TestKey::Ours).await;
    refused(&world, &digest, "newest boot test passed").await;
    let output = world.promote(&digest, &["--require", "provenance,sbom,signature"]).await.with(0);
    let report = output.json();
    assert_eq!(report["waived"], json!(["boot-test"]));
    let test = report["checks"].as_array().unwrap().last().unwrap();
    assert_eq!((&test["outcome"], &test["required"]), (&"failed".into(), &false.into()));
}

#[tokio::test]
async fn the_command_line_names_a_digest_and_whom_to_trust() {
    let world = PromoteEnvironment::new().await;
    let repository = world.repository();
    let tag = format!("docker://{repository}:stable");
    let by_tag = world.run(&["promote", &tag, "--public-key", "x"]).await.with(2);
    by_tag.explains(&["zfs-kmods attestations"]);
    let missing = Digest::of(b"");
    let untrusted = world.run(&["promote", &world.image(&missing)]).await.with(2);
    untrusted.explains(&["--public-key <FILE>|--identity-repo <OWNER/NAME>"]);
    world.promote(&missing, &["--channel", "latest"]).await.with(2);
    let audit = world.promote(&missing, &["--audit-tag", "latest"]).await.with(1);
    audit.explains(&["is not an audit tag of stable"]);
    // An image that is not there is no refusal, and none to promote.
    world.promote(&missing, &[]).await.with(1);
}

#[tokio::test]
async fn one_of_the_signers_in_the_configuration_suffices() {
    let (world, digest) = PromoteEnvironment::with_candidate().await;
    fs::write(world.path("strangers.pub"), key(TestKey::Strangers).public().to_pem()).unwrap();
    let (config, image) = (world.path("own.toml"), world.image(&digest));
    let promote = async |keys: &str| {
        // The names of the keys are relative to the file.
        let row = matrix_row(&Digest::of(b""));
        fs::write(&config, format!("{row}[trust]\npublic-keys = [{keys}]\n")).unwrap();
        world.run(&["promote", &image, "--dry-run", "--config", &config.display().to_string()]).await
    };
    promote("\"strangers.pub\", \"ours.pub\"").await.with(0);
    promote("\"strangers.pub\"").await.with(3);
}

#[tokio::test]
async fn an_image_with_an_unsigned_kernel_package_is_not_proven() {
    let (mut world, _) = PromoteEnvironment::with_candidate().await;
    world.unsigned_kernel_package = true;
    let digest = world.prove(KERNEL, Compression::Gzip).await;
    let report = world.promote(&digest, &["--replace"]).await.with(3);
    assert!(report.stdout.contains("the kernel's package was not signed by Fedora"), "{}", report.stdout);
    world.promote(&digest, &["--replace", "--allow-unsigned-headers"]).await.with(0);
}

/// A tarball that the matrix does not have, for example of a lock that was given by hand.
fn contradict(world: &PromoteEnvironment) {
    fs::write(world.path("zfs-kmods.toml"), matrix_row(&Digest::of(b"another"))).unwrap();
}

#[tokio::test]
async fn an_image_of_a_tarball_that_contradicts_the_matrix_is_promoted_on_a_branch_only() {
    let (world, digest) = PromoteEnvironment::with_candidate().await;
    let (key, image) = (world.key_file(TestKey::Ours), world.image(&digest));
    let public_key = world.path("ours.pub").display().to_string();
    let verify = ["verify", &image, "--public-key", &public_key];
    world.run(&verify).await.with(0);
    contradict(&world);
    refused(&world, &digest, "inputs are acceptable").await;
    world.run(&verify).await.with(3).says(&["inputs are acceptable", "the compatibility matrix says"]);
    world.promote(&digest, &["--channel", "beta-fix/scrub", "--key", &key]).await.with(0);
    // That it was promoted on a branch says nothing for users.
    refused(&world, &digest, "inputs are acceptable").await;
    assert!(world.users_tags().await.is_empty());
    world.configure("");
    world.promote(&digest, &["--key", &key]).await.with(0);
    contradict(&world);
    world.promote(&digest, &["--channel", "testing", "--key", &key]).await.with(3);
}

#[tokio::test]
async fn a_proven_image_of_a_builder_that_is_no_longer_allowed_stays_right() {
    let (mut world, digest) = PromoteEnvironment::with_candidate().await;
    let key = world.key_file(TestKey::Ours);
    let allow = |world: &mut PromoteEnvironment, builder: &str| {
        world.program.set("ZFS_KMODS_ALLOW_BUILDER", builder);
    };
    allow(&mut world, "");
    refused(&world, &digest, "inputs are acceptable").await;
    allow(&mut world, "registry.example.org/fedora");
    world.promote(&digest, &["--key", &key]).await.with(0);
    allow(&mut world, "");
    world.promote(&digest, &["--channel", "testing", "--key", &key]).await.with(0);
    let public_key = world.path("ours.pub").display().to_string();
    world.run(&["verify", &world.image(&digest), "--public-key", &public_key]).await.with(0);
}
