//! From a candidate to a promoted image: `publish --candidate`, `boot-test`, `promote`.

use fake_sigstore::FakeSigstore;
use kmod_builder::io::layout::Layout;
use kmod_builder::model::Digest;
use kmod_builder::model::boot_test::{Boot, BootStep};
use kmod_builder::model::evidence::EvidenceKind;
use kmod_builder::model::image::{Tag, TagOrDigest};
use serde_json::{Value, json};

use super::environment::{PromoteEnvironment, TestKey};
use crate::boot_test::{self, with_tools};
use crate::command_output::CommandOutput;
use crate::rpms::{self, KERNEL};

struct Bench {
    world: PromoteEnvironment,
    booting: boot_test::World,
    digest: Digest,
}

impl Bench {
    /// With our key, or as the workflow of the environment.
    async fn new(publish: &[&str], environment: Vec<(&'static str, String)>) -> Self {
        let (mut userland, kmod) = rpms::good();
        let zfs = userland.remove(0);
        userland.push(with_tools(zfs));
        let (mut world, booting) =
            (PromoteEnvironment::new().await, boot_test::World::of((userland, kmod)).await);
        let images = booting.path("images");
        let tag: Tag = format!("zfs-2.4.3_kernel-{KERNEL}").parse().unwrap();
        let (digest, _) = Layout::open(&images).unwrap().manifest(&TagOrDigest::Tag(tag)).unwrap().unwrap();
        let test_key = environment.is_empty().then_some(TestKey::Ours);
        world.program.environment.extend(environment);
        world.publish_from(&images, KERNEL, &digest, test_key, publish).await;
        Self { world, booting, digest }
    }

    async fn test(&self, more: &[&str], status: i32) -> (Value, String) {
        let image = self.world.image(&self.digest);
        let arguments = [&["--accel", "tcg", "--format", "json"], more].concat();
        let output = self.booting.test(&image, &arguments, &self.world.environment).await.with(status);
        (output.json(), output.stderr)
    }

    async fn results(&self) -> usize {
        let image = self.world.image(&self.digest);
        let listing = self.world.run(&["attestations", &image, "--format", "json"]).await.with(0).json();
        let kind = json!(EvidenceKind::BootTest);
        let all = listing["attestations"].as_array().unwrap().iter();
        all.filter(|attestation| attestation["summary"]["kind"] == kind).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_boot_test_whose_result_is_deleted_is_noticed() {
    let bench = Bench::new(&[], vec![]).await;
    let key = bench.world.key_file(TestKey::Ours);
    bench.booting.emulator(|_, _, line| line);
    bench.test(&["--key", &key], 0).await;
    bench.world.promote(&bench.digest, &["--key", &key]).await.with(0);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    bench.booting.emulator(|boot, step, line| match (boot, step) {
        (Boot::Second, BootStep::Import) => "say 2 import failed no such pool; exit 0".to_owned(),
        _ => line,
    });
    bench.test(&["--key", &key], 3).await;
    // Both results: the promotion would stand for the first.
    for _ in 0..2 {
        bench.world.take(EvidenceKind::BootTest, &bench.digest).await;
    }
    assert_eq!(bench.results().await, 0);
    let promote = async || bench.world.promote(&bench.digest, &["--channel", "testing", "--key", &key]).await;
    let report = promote().await.with(3);
    report.says(&["no failed boot test is missing", "is no longer stored", "the pool did not come back"]);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    bench.booting.emulator(|_, _, line| line);
    bench.test(&["--key", &key], 0).await;
    promote().await.with(0);
}

// The program is waited for on one thread while the gate, which it talks to, is on another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_boots_is_promoted_and_one_that_stops_booting_is_not() {
    let bench = Bench::new(&["--candidate"], vec![]).await;
    let candidate = format!("candidate-zfs-2.4.3_kernel-{KERNEL}");
    assert!(bench.world.tags().await.contains_key(&candidate));
    bench.booting.emulator(|_, _, line| line);
    let key = bench.world.key_file(TestKey::Ours);
    let (test, _) = bench.test(&["--key", &key], 0).await;
    assert_eq!((&test["result"], test["attached"].as_array().unwrap().len()), (&json!("passed"), 1));
    assert_eq!(bench.results().await, 1);
    bench.world.promote(&bench.digest, &["--dry-run"]).await.with(0);

    // The time in statements has whole seconds, and of two results of one second the failure counts.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    bench.booting.emulator(|boot, step, line| match (boot, step) {
        (Boot::Second, BootStep::Import) => "say 2 import failed no such pool; exit 0".to_owned(),
        _ => line,
    });
    bench.test(&["--key", &key], 3).await;
    assert_eq!(bench.results().await, 2, "a failure is known, too");
    let report = bench.world.promote(&bench.digest, &[]).await.with(3).json();
    let last = report["checks"].as_array().unwrap().last().unwrap();
    assert!(last["reason"].as_str().unwrap().contains("the pool did not come back"), "{last}");
    assert!(bench.world.users_tags().await.is_empty());

    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    bench.booting.emulator(|_, _, line| line);
    bench.test(&["--key", &key], 0).await;
    bench.world.promote(&bench.digest, &[]).await.with(0);
    assert_eq!(bench.world.users_tags().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_signs_or_nobody_tested_is_not_attached() {
    let bench = Bench::new(&["--candidate", "--channel", "beta-fix/scrub"], vec![]).await;
    let tags = bench.world.tags().await;
    let candidate = tags.keys().find(|tag| tag.starts_with("candidate-beta-fix_scrub."));
    assert!(candidate.is_some_and(|tag| tag.ends_with(&format!("-zfs-2.4.3_kernel-{KERNEL}"))), "{tags:?}");
    bench.booting.emulator(|_, _, line| line);
    let (test, stderr) = bench.test(&[], 0).await;
    assert_eq!(test["attached"], json!([]));
    assert_eq!(stderr.matches("The result will not be attached").count(), 1, "{stderr}");
    let (test, stderr) = bench.test(&["--no-sign"], 0).await;
    assert_eq!((&test["attached"], stderr.contains("attached")), (&json!([]), false), "{stderr}");
    std::fs::remove_file(bench.booting.path("programs/qemu-system-x86_64")).unwrap();
    let (image, key) = (bench.world.image(&bench.digest), bench.world.key_file(TestKey::Ours));
    let mut command = bench.world.command(&["boot-test", &image, "--key", &key, "--format", "json"]);
    // Nothing else is on the search path either, wherever this test runs.
    let output = command.env("PATH", bench.booting.path("programs")).output().await.unwrap();
    let test = CommandOutput::from(output).with(1).json();
    assert_eq!((&test["result"], &test["attached"]), (&json!("not-tested"), &json!([])));
    assert_eq!(bench.results().await, 0);
    assert_eq!(bench.world.tags().await, tags);
}

/// Of a run of the workflow on a ref.
fn run_of(sigstore: &FakeSigstore, root: &std::path::Path, reference: &str) -> Vec<(&'static str, String)> {
    vec![
        ("ACTIONS_ID_TOKEN_REQUEST_URL", sigstore.token_url_of(reference)),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "bearer".to_owned()),
        ("GITHUB_RUN_ID", "1234567".to_owned()),
        ("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567".to_owned()),
        ("ZFS_KMODS_FULCIO_URL", sigstore.url()),
        ("ZFS_KMODS_REKOR_URL", sigstore.url()),
        ("ZFS_KMODS_TIMESTAMP_URL", sigstore.timestamp_url()),
        ("ZFS_KMODS_TRUSTED_ROOT", root.display().to_string()),
    ]
}

fn sigstore() -> (FakeSigstore, tempfile::NamedTempFile) {
    let sigstore = FakeSigstore::start("127.0.0.1:0", fake_sigstore::claims()).unwrap();
    let root = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(root.path(), sigstore.trusted_root()).unwrap();
    (sigstore, root)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_branch_published_first_is_signed_again_and_promoted_by_main() {
    let (sigstore, root) = sigstore();
    let run = |reference: &str| run_of(&sigstore, root.path(), reference);
    let channel = ["--channel", "beta-scrub"];
    let mut bench = Bench::new(&channel, run("refs/heads/scrub")).await;
    bench.booting.emulator(|_, _, line| line);
    let image = bench.world.image(&bench.digest);
    let trusted = ["--identity-repo", "owner/zfs-kmods", "--format", "json"];
    let of_branch = [&trusted[..], &["--identity-ref", "refs/heads/scrub"]].concat();
    // The branch promotes in its own channel, and users do not trust it.
    bench.test(&[], 0).await;
    bench.world.run(&[&["promote", &image][..], &channel, &of_branch].concat()).await.with(0);
    bench.world.run(&[&["verify", &image][..], &of_branch].concat()).await.with(0);
    bench.world.run(&[&["verify", &image][..], &trusted].concat()).await.with(3);
    bench.world.run(&[&["promote", &image][..], &trusted].concat()).await.with(3);
    assert!(bench.world.users_tags().await.is_empty());

    for (name, value) in run("refs/heads/main") {
        bench.world.program.set(name, value);
    }
    let images = bench.booting.path("images");
    bench.world.publish_from(&images, KERNEL, &bench.digest, None, &[]).await;
    bench.world.run(&[&["verify", &image][..], &trusted].concat()).await.with(0);
    // The boot test and the promotion of the branch count for nothing.
    bench.world.run(&[&["promote", &image][..], &trusted].concat()).await.with(3);
    bench.test(&[], 0).await;
    bench.world.run(&[&["promote", &image][..], &trusted].concat()).await.with(0);
    assert_eq!(bench.world.users_tags().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_tests_and_promotes_without_any_key() {
    let (sigstore, root) = sigstore();
    let environment = run_of(&sigstore, root.path(), "refs/heads/main");
    let bench = Bench::new(&["--candidate"], environment).await;
    bench.booting.emulator(|_, _, line| line);
    let image = bench.world.image(&bench.digest);
    let promote = ["promote", &image, "--format", "json", "--identity-repo", "owner/zfs-kmods"];
    bench.world.run(&promote).await.with(3);
    let (test, _) = bench.test(&[], 0).await;
    assert_eq!(test["attached"].as_array().unwrap().len(), 1);
    for other in [["--identity-ref", "refs/heads/other"], ["--identity-workflow", "other.yaml"]] {
        let report = bench.world.run(&[&promote[..], &other].concat()).await.with(3).json();
        let failed = report["checks"].as_array().unwrap().iter().filter(|check| check["outcome"] == "failed");
        assert!(failed.count() >= 4, "{report}");
    }
    assert!(bench.world.users_tags().await.is_empty());
    let report = bench.world.run(&promote).await.with(0).json();
    assert_eq!(report["tags"][1], "stable-1234567-0123456789ab");
    assert_eq!(bench.world.run(&promote).await.with(0).json()["result"], "nothing-to-do");
}
