//! Clean-ups without faults.

use kmod_builder::model::Digest;

use super::environment::{CleanupEnvironment, OLD, Published, all_of, version_tag};
use super::package::Owner;
use super::program::{GITHUB, cleanup as commanded, text};
use crate::command_output::{CommandOutput, Program};

const NEWEST: [&str; 2] = ["--keep-newest", "2"];

async fn cleanup(program: &Program, environment: &CleanupEnvironment, arguments: &[&str]) -> CommandOutput {
    program.cleanup(environment, &[&NEWEST[..], arguments].concat()).await
}

/// Six images with evidence: three old, one old and promoted, two young.
async fn with_six(environment: CleanupEnvironment) -> (CleanupEnvironment, Vec<Published>, Program) {
    let mut all = Vec::new();
    for (number, (name, tags, hours)) in [
        ("old 0", &[][..], OLD),
        ("old 1", &[], OLD - 24),
        ("old 2", &[], OLD - 48),
        ("promoted", &["stable", "stable-77-0123abc"], OLD + 24),
        ("young", &[], 24),
        ("newest", &[], 2),
    ]
    .into_iter()
    .enumerate()
    {
        all.push(environment.publish(name, &[&[&*version_tag(number)], tags].concat(), hours).await);
    }
    let program = environment.program();
    (environment, all, program)
}

#[tokio::test]
async fn old_images_are_deleted_with_their_evidence_and_can_be_restored() {
    let (environment, images, program) = with_six(CleanupEnvironment::real().await).await;
    let output = cleanup(&program, &environment, &["--format", "json"]).await.with(0);
    let kept = all_of(&images[3..]);
    assert_eq!(environment.digests(), kept, "{}", output.stderr);
    output.explains(&["Deleted 12 of 24 manifests. The 12 that stay are whole."]);
    // The registry agrees with GitHub.
    for digest in images.iter().flat_map(|image| image.all.values()) {
        assert_eq!(environment.pusher.has(digest.as_str()).await, kept.contains(digest), "{digest}");
    }
    assert!(!environment.pusher.has(&version_tag(0)).await && environment.pusher.has("stable").await);

    // There is nothing left to do.
    let again = cleanup(&program, &environment, &[]).await.with(0);
    again.explains(&["Nothing was deleted: all 12 manifests are kept."]);

    // One image is restored with its evidence and its tag.
    let [journal] = program.journals().try_into().unwrap();
    let digest = images[1].image.as_str();
    program.restore(&journal, &[&[digest], &GITHUB[..]].concat()).await.with(0);
    assert_eq!(environment.digests(), all_of(images[3..].iter().chain([&images[1]])));
    for reference in images[1].all.values().map(ToString::to_string).chain([version_tag(1)]) {
        assert!(environment.pusher.has(&reference).await, "{reference}");
    }
}

#[tokio::test]
async fn the_journal_alone_restores_what_github_no_longer_can() {
    let (environment, images, program) = with_six(CleanupEnvironment::real().await).await;
    cleanup(&program, &environment, &[]).await.with(0);
    // After thirty days GitHub can no longer restore.
    environment.github.package().versions.retain(|_, version| !version.deleted);
    let [journal] = program.journals().try_into().unwrap();
    program.restore(&journal, &GITHUB).await.with(0);
    assert_eq!(environment.digests(), all_of(&images));
    assert!(environment.pusher.has(&version_tag(2)).await);
}

#[tokio::test]
async fn cleans_up_packages_of_organisations() {
    let environment = CleanupEnvironment::memory().await;
    environment.github.package().owner = Owner::Organization;
    let (environment, images, program) = with_six(environment).await;
    cleanup(&program, &environment, &[]).await.with(0);
    assert_eq!(environment.digests(), all_of(&images[3..]));
    assert!(environment.count("DELETE /orgs/owner/packages/container/zfs-kmods/versions/") == 12);
}

#[tokio::test]
async fn a_written_plan_is_carried_out_as_shown() {
    let (environment, images, program) = with_six(CleanupEnvironment::memory().await).await;
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

    // In the meantime, an image that the plan deletes is promoted.
    environment.pusher.tag(&images[0].image, "testing").await;
    let output = program.run(&[&["cleanup", "--apply", text(&file)], &GITHUB[..]].concat()).await.with(0);
    assert_eq!(environment.digests(), all_of(images[3..].iter().chain([&images[0]])));
    output.explains(&["Deleted 8 of 24 manifests. 4 were left"]);
}

#[tokio::test]
async fn a_tag_pushed_during_the_run_is_respected() {
    let (environment, images, program) = with_six(CleanupEnvironment::memory().await).await;
    // Slow deletions leave time between the second listing and the last deletion.
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
async fn the_summary_of_a_scheduled_dry_run_says_that_nothing_was_deleted() {
    let (environment, _, mut program) = with_six(CleanupEnvironment::memory().await).await;
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
async fn a_plan_beyond_the_limits_is_refused_before_the_first_deletion() {
    let (environment, images, program) = with_six(CleanupEnvironment::memory().await).await;
    let output = cleanup(&program, &environment, &["--max-delete", "10%"]).await.with(3);
    output.explains(&["12 of 24 manifests would be deleted, which is more than 10%"]);
    cleanup(&program, &environment, &["--minimum", "6"]).await.with(3);
    assert_eq!((environment.digests(), environment.count("DELETE")), (all_of(&images), 0));
    cleanup(&program, &environment, &["--max-delete", "10%", "--override-limits"]).await.with(0);
    assert_eq!(environment.digests(), all_of(&images[3..]));
}

/// Others have deleted what the plan keeps.
#[tokio::test]
async fn a_plan_is_held_to_its_limits_by_what_is_stored_when_it_is_carried_out() {
    let (environment, images, program) = with_six(CleanupEnvironment::memory().await).await;
    let file = program.path("plan.json");
    for (newest, minimum, lost, why) in [
        ("0", "1", 3, "nothing with a tag would be left"),
        ("2", "3", 3, "only 2 images would be left for users, and 3 is the minimum"),
    ] {
        let policy = ["--keep-newest", newest, "--minimum", minimum, "--dry-run", "--plan", text(&file)];
        program.cleanup(&environment, &policy).await.with(0);
        let gone: Vec<Digest> = all_of(&images[6 - lost..]);
        let delete = |is_gone: bool| {
            for version in environment.github.package().versions.values_mut() {
                version.deleted = is_gone && gone.contains(&version.digest);
            }
        };
        delete(true);
        let output = program.run(&[&["cleanup", "--apply", text(&file)], &GITHUB[..]].concat()).await.with(3);
        output.explains(&["Nothing was deleted", why]);
        assert_eq!(environment.count("DELETE"), 0);
        delete(false);
    }
}

#[tokio::test]
async fn stricter_limits_given_with_a_plan_apply_as_well() {
    let (environment, images, program) = with_six(CleanupEnvironment::memory().await).await;
    let file = program.path("plan.json");
    cleanup(&program, &environment, &["--dry-run", "--plan", text(&file)]).await.with(0);
    let apply = async |more: &[&str]| {
        program.run(&[&["cleanup", "--apply", text(&file)], &GITHUB[..], more].concat()).await
    };
    apply(&["--minimum", "6"]).await.with(3).explains(&["6 is the minimum"]);
    apply(&["--max-delete", "10%"]).await.with(3).explains(&["which is more than 10%"]);
    assert_eq!(environment.count("DELETE"), 0);
    // A looser limit changes nothing.
    apply(&["--older-than", "199d", "--minimum", "1"]).await.with(0);
    assert_eq!(environment.digests(), all_of(&images[2..]));
}

#[tokio::test]
async fn carrying_out_a_plan_can_be_tried_without_deleting() {
    let (environment, images, program) = with_six(CleanupEnvironment::memory().await).await;
    let file = program.path("plan.json");
    cleanup(&program, &environment, &["--dry-run", "--plan", text(&file)]).await.with(0);
    environment.pusher.tag(&images[0].image, "testing").await;
    let arguments = [&["cleanup", "--apply", text(&file), "--dry-run"], &GITHUB[..]].concat();
    let output = program.run(&arguments).await.with(0);
    output.explains(&["this was a dry run. It would delete 8 of 24 manifests"]);
    assert_eq!((environment.digests(), environment.count("DELETE")), (all_of(&images), 0));
}

#[tokio::test]
async fn hosts_are_not_mentioned_if_they_were_not_asked_for() {
    let (environment, _, program) = with_six(CleanupEnvironment::memory().await).await;
    let output = cleanup(&program, &environment, &["--dry-run"]).await.with(0);
    let output = output.says(&["it is older than 90d"]);
    assert!(!output.stdout.contains("no host runs its kernel"), "{}", output.stdout);
}

#[tokio::test]
async fn an_interrupted_run_names_its_journal() {
    for (signal, status) in [("-INT", 130), ("-TERM", 143)] {
        let (environment, _, program) = with_six(CleanupEnvironment::memory().await).await;
        environment.github.package().faults.slow_deletions = std::time::Duration::from_millis(200);
        let child = program.command(&commanded(&environment.store(), &NEWEST)).spawn().unwrap();
        while environment.count("DELETE") == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let id = child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
        let output: CommandOutput = child.wait_with_output().await.unwrap().into();
        let [journal] = program.journals().try_into().unwrap();
        let restore = format!("zfs-kmods cleanup restore {}", journal.display());
        output.with(status).explains(&["interrupted", &restore]);
    }
}

#[tokio::test]
async fn reading_many_manifests_shows_progress() {
    let (environment, _, program) = with_six(CleanupEnvironment::memory().await).await;
    let output = cleanup(&program, &environment, &["--dry-run"]).await.with(0);
    output.explains(&["reading 24 manifests that are not in the cache"]);
    let output = cleanup(&program, &environment, &["--dry-run"]).await.with(0);
    assert!(!output.stderr.contains("not in the cache"), "{}", output.stderr);
}

#[tokio::test]
async fn earlier_names_of_flags_are_accepted() {
    let (environment, _, program) = with_six(CleanupEnvironment::memory().await).await;
    let store = environment.store();
    let earlier = ["cleanup", &store, "--through", "github", "--keep-kernels-of", "none", "--dry-run"];
    let flags = ["--betas-older-than", "1d", "--yes-really"];
    let output = program.run(&[&earlier[..], &flags].concat()).await.with(0);
    output.explains(&["this was a dry run"]);
}
