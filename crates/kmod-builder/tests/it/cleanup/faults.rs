//! Faults: nothing that is kept is lost, and nothing is deleted unless everything could be read.

use std::time::Duration;

use kmod_builder::model::Digest;

use super::environment::{CleanupEnvironment, OLD, Published, all_of, index_of, version_tag};
use super::package::Faults;
use super::program::{GITHUB, cleanup};
use crate::command_output::{CommandOutput, Program};

const DELETING: [&str; 4] = ["--keep-newest", "1", "--minimum", "1"];

/// Two images that are deleted and two that are kept.
async fn with_four(environment: CleanupEnvironment) -> (CleanupEnvironment, Vec<Published>, Program) {
    let mut all = Vec::new();
    for (number, hours) in [OLD + 1, OLD, OLD - 1, 1].into_iter().enumerate() {
        let (version, stable) = (version_tag(number), &["stable"][..usize::from(number == 2)]);
        all.push(
            environment.publish(&format!("image {number}"), &[&[&*version], stable].concat(), hours).await,
        );
    }
    let program = environment.program();
    (environment, all, program)
}

fn nothing_happened(
    environment: &CleanupEnvironment,
    images: &[Published],
    output: CommandOutput,
    why: &str,
) {
    output.with(1).explains(&[why]);
    assert_eq!((environment.digests(), environment.count("DELETE")), (all_of(images), 0));
}

#[tokio::test]
async fn deletes_nothing_when_anything_cannot_be_read() {
    let (environment, images, _) = with_four(CleanupEnvironment::memory().await).await;
    let digest = images[2].all["bundle"].clone();
    let faults = |faults: Faults| environment.github.package().faults = faults;
    let run = async || environment.program().cleanup(&environment, &DELETING).await;

    for (fault, why) in [
        (Faults { broken_page: Some(1), ..Faults::default() }, "GitHub answered 500"),
        (Faults { no_metadata: true, ..Faults::default() }, "missing field `container`"),
        (Faults { manifest: Some((digest.clone(), 403)), ..Faults::default() }, "403"),
        // GitHub lists it, and the registry says that it does not exist: one of them is wrong.
        (Faults { manifest: Some((digest, 404)), ..Faults::default() }, "GitHub lists it"),
        (Faults { clock: 30 * 24, ..Faults::default() }, "by this machine's clock"),
        (Faults { clock: -30 * 24, ..Faults::default() }, "by this machine's clock"),
    ] {
        faults(fault);
        nothing_happened(&environment, &images, run().await, why);
    }

    faults(Faults::default());
    run().await.with(0);
    assert_eq!(environment.digests(), all_of(&images[2..]));
}

#[tokio::test]
async fn deletes_nothing_when_a_page_in_the_middle_fails() {
    let environment = CleanupEnvironment::memory().await;
    for number in 0..60 {
        environment.publish(&format!("image {number}"), &[&version_tag(number)], OLD).await;
    }
    let before = environment.digests();
    for page in [2, 3] {
        environment.github.package().faults.broken_page = Some(page);
        environment.program().cleanup(&environment, &DELETING).await.with(1);
        assert_eq!((environment.digests(), environment.count("DELETE")), (before.clone(), 0));
    }
}

#[tokio::test]
async fn waits_for_a_short_rate_limit() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    environment.github.package().faults.secondary = Some((3, 2, 1));
    let started = std::time::Instant::now();
    program.cleanup(&environment, &DELETING).await.with(0);
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(environment.digests(), all_of(&images[2..]));
}

#[tokio::test]
async fn a_long_rate_limit_ends_the_run_and_the_next_one_continues() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    environment.github.package().faults.secondary = Some((3, 1, 3600));
    let output = program.cleanup(&environment, &DELETING).await.with(0);
    assert!(output.stderr.contains("Stopped before the end"), "{}", output.stderr);
    assert!(output.stderr.contains("Deleted 3 of 16"), "{}", output.stderr);
    // What is left of the first image is evidence without it, a day after it was pushed.
    program.cleanup(&environment, &DELETING).await.with(0);
    assert_eq!(environment.digests(), all_of(&images[2..]));
}

#[tokio::test]
async fn stale_lists_delete_nothing_that_is_kept() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    program.cleanup(&environment, &DELETING).await.with(0);
    environment.github.package().faults.stale_lists = true;
    // In the cache the deleted manifests still exist; another machine asks the registry.
    for program in [program, environment.program()] {
        program.cleanup(&environment, &DELETING).await.with(0);
        assert_eq!(environment.digests(), all_of(&images[2..]));
    }
}

#[tokio::test]
async fn a_killed_run_loses_nothing_that_is_kept() {
    let (environment, images, program) = with_four(CleanupEnvironment::real().await).await;
    environment.github.package().faults.slow_deletions = Duration::from_millis(50);
    for deletions in [1, 2, 4] {
        let (before, store) = (environment.count("DELETE"), environment.store());
        let mut child = program.command(&cleanup(&store, &DELETING)).spawn().unwrap();
        while environment.count("DELETE") < before + deletions && child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        child.kill().await.unwrap();
        // No image is without its evidence.
        let left = environment.digests();
        for image in images.iter().filter(|image| left.contains(&image.image)) {
            for digest in image.all.values() {
                assert!(left.contains(digest) && environment.pusher.has(digest.as_str()).await, "{digest}");
            }
        }
        for digest in all_of(&images[2..]) {
            assert!(environment.pusher.has(digest.as_str()).await, "{digest}");
        }
    }
    environment.github.package().faults.slow_deletions = Duration::ZERO;
    program.cleanup(&environment, &DELETING).await.with(0);
    assert_eq!(environment.digests(), all_of(&images[2..]));
    // The journals have every deletion, including the last of a killed run. The last run is undone first, because a
    // registry rejects an index whose images do not exist.
    for journal in program.journals().into_iter().rev() {
        program.restore(&journal, &GITHUB).await.with(0);
    }
    assert_eq!(environment.digests(), all_of(&images));
}

/// GitHub lists seven old images, of which the three newest were just deleted.
#[tokio::test]
async fn images_that_only_the_list_still_shows_let_no_older_ones_go() {
    let environment = CleanupEnvironment::memory().await;
    let mut images = Vec::new();
    for number in 0..7 {
        let hours = OLD - i64::try_from(number).unwrap();
        images.push(environment.publish(&format!("image {number}"), &[&version_tag(number)], hours).await);
    }
    let program = environment.program();
    let arguments = ["--max-delete", "100%"];
    program.cleanup(&environment, &[&arguments[..], &["--dry-run"]].concat()).await.with(0);
    environment.github.package().faults.stale_lists = true;
    for version in environment.github.package().versions.values_mut().rev().take(12) {
        version.deleted = true;
    }
    nothing_happened(
        &environment,
        &images[..4],
        program.cleanup(&environment, &arguments).await,
        "it is listed and must be kept, but it does not exist",
    );
}

/// A version falls between two pages in both of the first reads.
#[tokio::test]
async fn an_index_that_moves_between_pages_keeps_its_images() {
    let environment = CleanupEnvironment::memory().await;
    let child = environment.publish("child", &[], OLD).await;
    let index = environment.pusher.put(&index_of([&child.image]), &["mine"]).await;
    for number in 0..30 {
        environment.publish(&format!("image {number}"), &[&version_tag(number)], 1).await;
    }
    // The index is the first version of the second page.
    while environment.github.package().active().skip_while(|(_, it)| it.digest != index).count() > 101 {
        let mut package = environment.github.package();
        let newest = package.active().map(|(id, _)| *id).max().unwrap();
        package.versions.remove(&newest);
    }
    environment.github.package().faults.shifts = 2;
    environment.program().cleanup(&environment, &DELETING).await.with(0);
    for digest in child.all.values().chain([&index]) {
        assert!(environment.pusher.has(digest.as_str()).await, "{digest}");
    }

    environment.github.package().faults.shifts = 100;
    let output = environment.program().cleanup(&environment, &DELETING).await.with(1);
    output.explains(&["the list changed each time it was read"]);
}

#[tokio::test]
async fn an_index_that_is_pushed_by_digest_during_the_run_keeps_its_images() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    environment.github.package().faults.slow_deletions = Duration::from_millis(100);
    let run = program.cleanup(&environment, &DELETING);
    let push = async {
        while environment.count("DELETE") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        environment.pusher.put(&index_of([&images[1].image]), &[]).await
    };
    let (output, index) = tokio::join!(run, push);
    let output = output.with(0);
    let mut left = all_of(&images[1..]);
    left.push(index);
    left.sort();
    assert_eq!(environment.digests(), left, "{}", output.stdout);
}

#[tokio::test]
async fn a_deletion_that_github_denies_ends_the_run() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    environment.github.package().faults.undeletable = Some(images[0].image.clone());
    let output = program.cleanup(&environment, &DELETING).await.with(1);
    output
        .explains(&["the store says that it does not exist, and still has it", "Deleted 0 of 16 manifests"]);
    assert_eq!(environment.digests(), all_of(&images));
}

#[tokio::test]
async fn a_rejection_in_the_middle_is_reported_with_what_was_done() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    environment.github.package().faults.forbidden_after = Some(4);
    let output = program.cleanup(&environment, &DELETING).await.with(1);
    output.explains(&["Deleted 4 of 16 manifests", "Stopped before the end", "GitHub answered 403"]);
    assert_eq!(environment.digests(), all_of(&images[1..]));
}

#[tokio::test]
async fn a_rate_limit_while_reading_ends_the_run_with_status_0() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    environment.github.package().faults.manifest = Some((images[2].all["bundle"].clone(), 429));
    let output = program.cleanup(&environment, &DELETING).await.with(0);
    output.explains(&["Nothing was deleted", "429", "Run it again to go on"]);
    assert_eq!((environment.digests(), environment.count("DELETE")), (all_of(&images), 0));
    // A dry run has nothing to show then.
    program.cleanup(&environment, &[&DELETING[..], &["--dry-run"]].concat()).await.with(1);
}

#[tokio::test]
async fn a_rate_limit_in_the_final_check_is_reported_with_what_was_done() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    let faults = Faults {
        manifest: Some((images[3].all["bundle"].clone(), 429)),
        manifest_after: 8,
        ..Faults::default()
    };
    environment.github.package().faults = faults;
    let output = program.cleanup(&environment, &DELETING).await.with(0);
    output.explains(&["Deleted 8 of 16 manifests", "The check of what stays did not finish", "429"]);
    assert_eq!(environment.digests(), all_of(&images[2..]));
}

#[tokio::test]
async fn a_transient_absence_in_the_final_check_is_no_damage() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    let faults = Faults {
        manifest: Some((images[3].all["bundle"].clone(), 404)),
        manifest_after: 8,
        manifest_times: Some(1),
        ..Faults::default()
    };
    environment.github.package().faults = faults;
    let output = program.cleanup(&environment, &DELETING).await.with(0);
    output.explains(&["The 8 that stay are whole"]);
}

#[tokio::test]
async fn earlier_damage_is_not_blamed_on_the_run() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    let lost = Digest::of(b"proof of image 3");
    environment.github.package().faults.lost_blob = Some(lost.clone());
    let output = program.cleanup(&environment, &DELETING).await.with(0);
    assert_eq!(environment.digests(), all_of(&images[2..]));
    let bundle = &images[3].all["bundle"];
    let output = output.says(&[&format!("damaged before this run: {bundle} lacks its blob {lost}")]);
    assert!(!output.stdout.contains("BROKEN"), "{}", output.stdout);
}

#[tokio::test]
async fn reports_manifests_that_another_program_broke_during_the_run() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    let bundle = images[3].all["bundle"].clone();
    let faults = Faults { manifest: Some((bundle.clone(), 404)), manifest_after: 8, ..Faults::default() };
    environment.github.package().faults = faults;
    let output = program.cleanup(&environment, &DELETING).await.with(1);
    output.says(&[&format!("BROKEN {bundle}: it lacks its manifest")]);
}

/// The list still shows it, and so does the cache.
#[tokio::test]
async fn deletes_nothing_while_something_that_stays_is_missing() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    program.cleanup(&environment, &["--dry-run"]).await.with(0);
    environment.github.package().faults.manifest = Some((images[3].image.clone(), 404));
    let output = program.cleanup(&environment, &DELETING).await;
    nothing_happened(&environment, &images, output, "it is listed and must be kept, but it does not exist");
}

/// GitHub's list lacks an image whose evidence it has.
#[tokio::test]
async fn evidence_of_an_image_that_the_list_lacks_stays() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    environment.github.package().faults.unlisted = Some(images[2].image.clone());
    let arguments = [&DELETING[..], &["--max-delete", "100%"]].concat();
    program.cleanup(&environment, &arguments).await.with(0);
    for digest in images[2].all.values() {
        assert!(environment.pusher.has(digest.as_str()).await, "{digest}");
    }
}

#[tokio::test]
async fn what_an_interrupted_run_left_of_an_index_goes_with_the_next_run() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    let child = environment.publish("child", &[], 15 * 24).await;
    let candidate = format!("candidate-{}", version_tag(9));
    let index = environment.pusher.put(&index_of([&child.image]), &[&candidate]).await;
    let arguments = ["--older-than", "9999d", "--max-delete", "100%"];
    environment.github.package().faults.forbidden_after = Some(1);
    program.cleanup(&environment, &arguments).await.with(1);
    assert!(!environment.pusher.has(index.as_str()).await);
    assert!(environment.pusher.has(child.image.as_str()).await);
    environment.github.package().faults.forbidden_after = None;
    program.cleanup(&environment, &arguments).await.with(0);
    assert_eq!(environment.digests(), all_of(&images));
}

#[tokio::test]
async fn a_channel_that_github_shows_late_is_respected() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    environment.pusher.tag(&images[0].image, "stable").await;
    environment.github.package().faults.late_tag = Some(("stable", images[2].image.clone()));
    program.cleanup(&environment, &DELETING).await.with(0);
    assert_eq!(environment.digests(), all_of([&images[0], &images[2], &images[3]]));
}
