//! Faults: nothing that is kept is lost, and nothing is deleted unless everything could be read.

use std::time::Duration;

use super::environment::{CleanupEnvironment, OLD, Published, all_of, version_tag};
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
        (Faults { manifest: Some((digest.clone(), 429)), ..Faults::default() }, "429"),
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

#[tokio::test]
async fn reports_manifests_that_another_program_broke() {
    let (environment, images, program) = with_four(CleanupEnvironment::memory().await).await;
    program.cleanup(&environment, &["--dry-run"]).await.with(0);
    // The list still shows it, and so does the cache.
    let bundle = images[3].all["bundle"].clone();
    environment.github.package().faults.manifest = Some((bundle.clone(), 404));
    let output = program.cleanup(&environment, &DELETING).await.with(1);
    assert!(output.stdout.contains(&format!("BROKEN {bundle}: it lacks its manifest")), "{}", output.stdout);
}
