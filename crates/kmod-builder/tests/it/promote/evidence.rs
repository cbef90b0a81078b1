//! What is not proven gets no tag: everything that can be missing, false or somebody else's, one at a time.

use jiff::SignedDuration;
use kmod_builder::model::evidence::{EvidenceKind, simple_signing};
use kmod_builder::model::image::TagOrDigest;
use kmod_builder::model::oci::Manifest;
use kmod_builder::model::{Compression, Digest};
use serde_json::Value;

use super::environment::{PromoteEnvironment, TestKey};
use crate::command_output::CommandOutput;
use crate::rpms::KERNEL;

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

/// The checks that are demanded and did not pass.
fn not_passed(command_output: &CommandOutput) -> Vec<String> {
    let checks = command_output.json()["checks"].as_array().unwrap().clone();
    let failed = checks.iter().filter(|check| check["required"] == true && check["outcome"] != "passed");
    failed.map(|check| check["check"].as_str().unwrap().to_owned()).collect()
}

/// The program refuses for this reason, and no tag is another one afterwards.
async fn refused(world: &PromoteEnvironment, digest: &Digest, check: &str) {
    let before = world.tags().await;
    let command_output = world.promote(digest, &[]).await.with(3);
    assert!(
        not_passed(&command_output).iter().any(|failed| failed == check),
        "{check}: {}",
        command_output.stdout
    );
    assert_eq!(
        (&command_output.json()["result"], &command_output.json()["tags"]),
        (&"not-proven".into(), &Value::Array(vec![]))
    );
    assert_eq!(world.tags().await, before, "{check}");
}

#[tokio::test]
async fn each_kind_of_evidence_is_needed_and_has_to_be_ours() {
    let world = PromoteEnvironment::new().await;
    let digest = world.prove(KERNEL, Compression::Zstd).await;
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
    let command_output = world.promote(&digest, &[]).await.with(0);
    assert_eq!(command_output.json()["result"], "promoted");
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
    let world = PromoteEnvironment::new().await;
    let digest = world.prove(KERNEL, Compression::Zstd).await;
    let manifest = world.client().manifest(&TagOrDigest::Digest(digest.clone())).await.unwrap().unwrap();
    let layer = Manifest::parse(&manifest.bytes).unwrap().layers[1].digest.clone();
    let file = world.blob(&layer);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    refused(&world, &digest, "blobs are unchanged").await;
}

#[tokio::test]
async fn what_is_not_demanded_is_recorded() {
    let world = PromoteEnvironment::new().await;
    let digest = world.publish(KERNEL, Compression::Zstd, TestKey::Ours).await;
    refused(&world, &digest, "newest boot test passed").await;
    let command_output = world.promote(&digest, &["--require", "provenance,sbom,signature"]).await.with(0);
    let report = command_output.json();
    assert_eq!(report["waived"], serde_json::json!(["boot-test"]));
    let test = report["checks"].as_array().unwrap().last().unwrap();
    assert_eq!((&test["outcome"], &test["required"]), (&"failed".into(), &false.into()));
}

#[tokio::test]
async fn the_command_line_names_a_digest_and_whom_to_trust() {
    let world = PromoteEnvironment::new().await;
    let repository = world.repository();
    let command_output =
        world.run(&["promote", &format!("docker://{repository}:stable"), "--public-key", "x"]).await;
    assert!(command_output.with(2).stderr.contains("zfs-kmods attestations"));
    let image = world.image(&Digest::of(b""));
    let command_output = world.run(&["promote", &image]).await.with(2);
    assert!(
        command_output.stderr.contains("--public-key <FILE>|--identity-repo <OWNER/NAME>"),
        "{}",
        command_output.stderr
    );
    world.promote(&Digest::of(b""), &["--channel", "latest"]).await.with(2);
    let command_output = world.promote(&Digest::of(b""), &["--audit-tag", "latest"]).await.with(1);
    assert!(command_output.stderr.contains("is not an audit tag of stable"), "{}", command_output.stderr);
    // An image that is not there is no refusal, and none to promote.
    world.promote(&Digest::of(b""), &[]).await.with(1);
}
