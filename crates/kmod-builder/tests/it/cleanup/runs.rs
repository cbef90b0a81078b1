//! What a clean-up does when nothing goes wrong.

use super::environment::{CleanupEnvironment, Published, all_of, version_tag};
use super::package::Owner;
use super::program::{Program, text};
use crate::command_output::CommandOutput;

const OLD: i64 = 200 * 24;

/// Of the six, so many newest are kept.
const NEWEST: [&str; 2] = ["--keep-newest", "2"];

async fn cleanup(program: &Program, environment: &CleanupEnvironment, arguments: &[&str]) -> CommandOutput {
    program.cleanup(environment, &[&NEWEST[..], arguments].concat()).await
}

/// Six images with evidence: three old and plain, one old and promoted, two young.
async fn six(environment: &CleanupEnvironment) -> Vec<Published> {
    let mut all = Vec::new();
    for number in 0..3 {
        all.push(
            environment
                .publish(
                    &format!("old {number}"),
                    &[&version_tag(number)],
                    OLD - 24 * i64::try_from(number).unwrap(),
                )
                .await,
        );
    }
    all.push(
        environment.publish("promoted", &[&version_tag(3), "stable", "stable-77-0123abc"], OLD + 24).await,
    );
    all.push(environment.publish("young", &[&version_tag(4)], 24).await);
    all.push(environment.publish("newest", &[&version_tag(5)], 2).await);
    all
}

#[tokio::test]
async fn old_images_go_with_their_evidence_and_come_back() {
    let environment = CleanupEnvironment::real().await;
    let images = six(&environment).await;
    let program = Program::new(&environment);
    let output = cleanup(&program, &environment, &["--format", "json"]).await.with(0);
    let kept = all_of(&images[3..]);
    assert_eq!(environment.digests(), kept, "{}", output.stderr);
    assert!(
        output.stderr.contains("Deleted 12 of 24 manifests. The 12 that stay are whole."),
        "{}",
        output.stderr
    );
    // The registry agrees with GitHub.
    for digest in images.iter().flat_map(|image| image.all.values()) {
        assert_eq!(environment.pusher.has(digest.as_str()).await, kept.contains(digest), "{digest}");
    }
    assert!(!environment.pusher.has(&version_tag(0)).await && environment.pusher.has("stable").await);

    // There is nothing left to do.
    let again = cleanup(&program, &environment, &[]).await.with(0);
    assert!(again.stderr.contains("Nothing was deleted: all 12 manifests are kept."), "{}", again.stderr);

    // One image comes back, whole, and with its tag.
    let [journal] = program.journals().try_into().unwrap();
    let digest = images[1].image.as_str();
    let arguments =
        ["cleanup", "restore", text(&journal), digest, "--delete-api", "github", "--delete-interval", "0"];
    program.run(&arguments).await.with(0);
    assert_eq!(environment.digests(), all_of(images[3..].iter().chain([&images[1]])));
    for reference in images[1].all.values().map(ToString::to_string).chain([version_tag(1)]) {
        assert!(environment.pusher.has(&reference).await, "{reference}");
    }
}

#[tokio::test]
async fn the_journal_alone_brings_everything_back_where_github_cannot() {
    let environment = CleanupEnvironment::real().await;
    let images = six(&environment).await;
    let program = Program::new(&environment);
    cleanup(&program, &environment, &[]).await.with(0);
    // Thirty days later GitHub has forgotten.
    environment.github.package().versions.retain(|_, version| !version.deleted);
    let [journal] = program.journals().try_into().unwrap();
    let arguments =
        ["cleanup", "restore", text(&journal), "--delete-api", "github", "--delete-interval", "0"];
    program.run(&arguments).await.with(0);
    assert_eq!(environment.digests(), all_of(&images));
    assert!(environment.pusher.has(&version_tag(2)).await);
}

#[tokio::test]
async fn organisations_have_other_addresses() {
    let environment = CleanupEnvironment::memory().await;
    environment.github.package().owner = Owner::Organization;
    let images = six(&environment).await;
    cleanup(&Program::new(&environment), &environment, &[]).await.with(0);
    assert_eq!(environment.digests(), all_of(&images[3..]));
    assert!(environment.count("DELETE /orgs/owner/packages/container/zfs-kmods/versions/") == 12);
}

#[tokio::test]
async fn a_plan_is_shown_written_and_carried_out_as_it_is() {
    let environment = CleanupEnvironment::memory().await;
    let images = six(&environment).await;
    let program = Program::new(&environment);
    let file = program.path("plan.json");
    let dry = cleanup(&program, &environment, &["--dry-run", "--plan", text(&file), "--format", "json"])
        .await
        .with(0);
    assert_eq!(environment.digests(), all_of(&images), "a dry run deletes nothing");
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(dry.json(), written);
    let entries = written["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 24, "each manifest has its line");
    assert!(entries.iter().all(|entry| entry["reason"]["id"].is_string()
        && entry["reason"]["text"].is_string()
        && entry["bytes"].is_u64()));

    // Since then an image that was to go was promoted, and another one became old news.
    environment.pusher.tag(&images[0].image, "testing").await;
    let apply = ["cleanup", "--apply", text(&file), "--delete-api", "github", "--delete-interval", "0"];
    let output = program.run(&apply).await.with(0);
    assert_eq!(environment.digests(), all_of(images[3..].iter().chain([&images[0]])));
    assert!(output.stderr.contains("Deleted 8 of 24 manifests. 4 were left"), "{}", output.stderr);
}

#[tokio::test]
async fn a_tag_pushed_during_the_run_is_respected() {
    let environment = CleanupEnvironment::memory().await;
    let images = six(&environment).await;
    let program = Program::new(&environment);
    // Deletions are slow, so that there is a moment between the second look and the last deletions.
    environment.github.package().faults.slow_deletions = std::time::Duration::from_millis(100);
    let run = cleanup(&program, &environment, &[]);
    let push = async {
        while environment.count("DELETE") == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        environment.pusher.tag(&images[2].image, "mine").await;
    };
    let (output, ()) = tokio::join!(run, push);
    let output = output.with(0);
    assert_eq!(environment.digests(), all_of(&images[2..]), "{}", output.stdout);
    assert!(output.stdout.contains("its tags have changed"), "{}", output.stdout);
}

#[tokio::test]
async fn a_scheduled_dry_run_says_so() {
    let environment = CleanupEnvironment::memory().await;
    six(&environment).await;
    let mut program = Program::new(&environment);
    let summary = program.path("summary.md");
    program.set("GITHUB_EVENT_NAME", "schedule");
    program.set("GITHUB_STEP_SUMMARY", text(&summary));
    cleanup(&program, &environment, &["--dry-run"]).await.with(0);
    let summary = std::fs::read_to_string(summary).unwrap();
    let expected =
        "Nothing was deleted: this scheduled run was a dry run. It would delete 12 of 24 manifests";
    assert!(summary.contains(expected), "{summary}");
}

#[tokio::test]
async fn a_run_that_goes_too_far_is_refused_before_it_begins() {
    let environment = CleanupEnvironment::memory().await;
    let images = six(&environment).await;
    let program = Program::new(&environment);
    let output = cleanup(&program, &environment, &["--max-delete", "10%"]).await.with(3);
    assert!(
        output.stderr.contains("12 of 24 manifests would be deleted, which is more than 10%"),
        "{}",
        output.stderr
    );
    cleanup(&program, &environment, &["--minimum", "6"]).await.with(3);
    assert_eq!((environment.digests(), environment.count("DELETE")), (all_of(&images), 0));
    cleanup(&program, &environment, &["--max-delete", "10%", "--override-limits"]).await.with(0);
    assert_eq!(environment.digests(), all_of(&images[3..]));
}

#[tokio::test]
async fn earlier_names_of_flags_are_accepted() {
    let environment = CleanupEnvironment::memory().await;
    six(&environment).await;
    let store = environment.store();
    let earlier = ["cleanup", &store, "--through", "github", "--keep-kernels-of", "none", "--dry-run"];
    let flags = ["--betas-older-than", "1d", "--yes-really"];
    let program = Program::new(&environment);
    let output = program.run(&[&earlier[..], &flags].concat()).await.with(0);
    assert!(output.stderr.contains("this was a dry run"), "{}", output.stderr);
}
