//! What goes wrong: nothing that is kept is ever lost, and nothing is deleted on a guess.

use std::time::Duration;

use super::environment::{CleanupEnvironment, Published, all_of, version_tag};
use super::package::Faults;
use super::program::{Program, text};
use crate::command_output::CommandOutput;

const OLD: i64 = 200 * 24;
const DELETING: [&str; 4] = ["--keep-newest", "1", "--minimum", "1"];

/// Two images that go and two that stay.
async fn four(environment: &CleanupEnvironment) -> Vec<Published> {
    let mut all = Vec::new();
    for (number, hours) in [OLD + 1, OLD, OLD - 1, 1].into_iter().enumerate() {
        let mut tags = vec![version_tag(number)];
        tags.extend((number == 2).then(|| "stable".to_owned()));
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        all.push(environment.publish(&format!("image {number}"), &tags, hours).await);
    }
    all
}

fn nothing_happened(
    environment: &CleanupEnvironment,
    images: &[Published],
    output: CommandOutput,
    why: &str,
) {
    let output = output.with(1);
    // Wrapped lines have margins.
    let said: String =
        output.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(said.contains(why), "{said}");
    assert_eq!((environment.digests(), environment.count("DELETE")), (all_of(images), 0));
}

#[tokio::test]
async fn deletes_nothing_when_anything_cannot_be_read() {
    let environment = CleanupEnvironment::memory().await;
    let images = four(&environment).await;
    let digest = images[2].all["bundle"].clone();
    let faults = |faults: Faults| environment.github.package().faults = faults;
    let run = async || Program::new(&environment).cleanup(&environment, &DELETING).await;

    faults(Faults { broken_page: Some(1), ..Faults::default() });
    nothing_happened(&environment, &images, run().await, "GitHub answered 500");
    faults(Faults { no_metadata: true, ..Faults::default() });
    nothing_happened(&environment, &images, run().await, "missing field `container`");
    faults(Faults { manifest: Some((digest.clone(), 403)), ..Faults::default() });
    nothing_happened(&environment, &images, run().await, "403");
    // GitHub lists it, and the registry says that it is not there: one of them is wrong.
    faults(Faults { manifest: Some((digest, 404)), ..Faults::default() });
    nothing_happened(&environment, &images, run().await, "GitHub lists it");
    faults(Faults { clock: 30 * 24, ..Faults::default() });
    nothing_happened(&environment, &images, run().await, "by this machine's clock");
    faults(Faults { clock: -30 * 24, ..Faults::default() });
    nothing_happened(&environment, &images, run().await, "by this machine's clock");

    faults(Faults::default());
    run().await.with(0);
    assert_eq!(environment.digests(), all_of(&images[2..]));
}

#[tokio::test]
async fn deletes_nothing_when_a_registry_only_answers_429() {
    let environment = CleanupEnvironment::memory().await;
    let images = four(&environment).await;
    environment.github.package().faults.manifest = Some((images[3].all["index"].clone(), 429));
    let output = Program::new(&environment).cleanup(&environment, &DELETING).await;
    nothing_happened(&environment, &images, output, "429");
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
        Program::new(&environment).cleanup(&environment, &DELETING).await.with(1);
        assert_eq!((environment.digests(), environment.count("DELETE")), (before.clone(), 0));
    }
}

#[tokio::test]
async fn a_limit_is_waited_out() {
    let environment = CleanupEnvironment::memory().await;
    let images = four(&environment).await;
    environment.github.package().faults.secondary = Some((3, 2, 1));
    let started = std::time::Instant::now();
    Program::new(&environment).cleanup(&environment, &DELETING).await.with(0);
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(environment.digests(), all_of(&images[2..]));
}

#[tokio::test]
async fn a_limit_that_lasts_too_long_ends_the_run_and_the_next_one_goes_on() {
    let environment = CleanupEnvironment::memory().await;
    let images = four(&environment).await;
    environment.github.package().faults.secondary = Some((3, 1, 3600));
    let program = Program::new(&environment);
    let output = program.cleanup(&environment, &DELETING).await.with(0);
    assert!(output.stderr.contains("Stopped before the end"), "{}", output.stderr);
    assert!(output.stderr.contains("Deleted 3 of 16"), "{}", output.stderr);
    // What is left of the first image is evidence without it, a day after it was pushed.
    program.cleanup(&environment, &DELETING).await.with(0);
    assert_eq!(environment.digests(), all_of(&images[2..]));
}

#[tokio::test]
async fn stale_lists_delete_nothing_that_is_kept() {
    let environment = CleanupEnvironment::memory().await;
    let images = four(&environment).await;
    let program = Program::new(&environment);
    program.cleanup(&environment, &DELETING).await.with(0);
    environment.github.package().faults.stale_lists = true;
    // From the cache the deleted ones look alive; another machine asks the registry and learns better.
    for program in [program, Program::new(&environment)] {
        program.cleanup(&environment, &DELETING).await.with(0);
        assert_eq!(environment.digests(), all_of(&images[2..]));
    }
}

#[tokio::test]
async fn a_killed_run_loses_nothing_that_is_kept() {
    let environment = CleanupEnvironment::real().await;
    let images = four(&environment).await;
    let program = Program::new(&environment);
    environment.github.package().faults.slow_deletions = Duration::from_millis(50);
    for deletions in [1, 2, 4] {
        let (before, store) = (environment.count("DELETE"), environment.store());
        let mut arguments = vec!["cleanup", &store, "--delete-api", "github", "--keep-kernels-of", "none"];
        arguments.extend(["--delete-interval", "0"]);
        arguments.extend(DELETING);
        let mut child = program.command(&arguments).spawn().unwrap();
        while environment.count("DELETE") < before + deletions && child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        child.kill().await.unwrap();
        // No image without its evidence, whether it was to go or not.
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
    // Everything that went is in one of the journals, the last deletion of a killed run included.
    // The last run is undone first: a registry takes no index whose images are not there.
    for journal in program.journals().into_iter().rev() {
        let arguments =
            ["cleanup", "restore", text(&journal), "--delete-api", "github", "--delete-interval", "0"];
        program.run(&arguments).await.with(0);
    }
    assert_eq!(environment.digests(), all_of(&images));
}

#[tokio::test]
async fn reports_manifests_that_another_program_broke() {
    let environment = CleanupEnvironment::memory().await;
    let images = four(&environment).await;
    let program = Program::new(&environment);
    program.cleanup(&environment, &["--dry-run"]).await.with(0);
    // The list still shows it, and so does the cache.
    let bundle = images[3].all["bundle"].clone();
    environment.github.package().faults.manifest = Some((bundle.clone(), 404));
    let output = program.cleanup(&environment, &DELETING).await.with(1);
    assert!(output.stdout.contains(&format!("BROKEN {bundle}: it lacks its manifest")), "{}", output.stdout);
}
