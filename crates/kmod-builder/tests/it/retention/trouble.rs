//! What goes wrong: nothing that is kept is ever lost, and nothing is deleted on a guess.

use std::time::Duration;

use super::package::Trouble;
use super::program::{Program, text};
use super::world::{Published, World, all_of, version_tag};
use crate::command_output::CommandOutput;

const OLD: i64 = 200 * 24;
const DELETING: [&str; 4] = ["--keep-newest", "1", "--minimum", "1"];

/// Two images that go and two that stay.
async fn four(world: &World) -> Vec<Published> {
    let mut all = Vec::new();
    for (number, hours) in [OLD + 1, OLD, OLD - 1, 1].into_iter().enumerate() {
        let mut tags = vec![version_tag(number)];
        tags.extend((number == 2).then(|| "stable".to_owned()));
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        all.push(world.publish(&format!("image {number}"), &tags, hours).await);
    }
    all
}

fn nothing_happened(world: &World, images: &[Published], command_output: CommandOutput, why: &str) {
    let command_output = command_output.with(1);
    // Wrapped lines have margins.
    let said: String =
        command_output.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(said.contains(why), "{said}");
    assert_eq!((world.digests(), world.count("DELETE")), (all_of(images), 0));
}

#[tokio::test]
async fn without_complete_knowledge_nothing_is_deleted() {
    let world = World::memory().await;
    let images = four(&world).await;
    let digest = images[2].all["bundle"].clone();
    let trouble = |trouble: Trouble| world.github.package().trouble = trouble;
    let run = async || Program::new(&world).cleanup(&world, &DELETING).await;

    trouble(Trouble { broken_page: Some(1), ..Trouble::default() });
    nothing_happened(&world, &images, run().await, "GitHub answered 500");
    trouble(Trouble { no_metadata: true, ..Trouble::default() });
    nothing_happened(&world, &images, run().await, "missing field `container`");
    trouble(Trouble { manifest: Some((digest.clone(), 403)), ..Trouble::default() });
    nothing_happened(&world, &images, run().await, "403");
    // GitHub lists it, and the registry says that it is not there: one of them is wrong.
    trouble(Trouble { manifest: Some((digest, 404)), ..Trouble::default() });
    nothing_happened(&world, &images, run().await, "GitHub lists it");
    trouble(Trouble { clock: 30 * 24, ..Trouble::default() });
    nothing_happened(&world, &images, run().await, "by this machine's clock");
    trouble(Trouble { clock: -30 * 24, ..Trouble::default() });
    nothing_happened(&world, &images, run().await, "by this machine's clock");

    trouble(Trouble::default());
    run().await.with(0);
    assert_eq!(world.digests(), all_of(&images[2..]));
}

#[tokio::test]
async fn a_registry_that_asks_to_wait_and_never_answers_is_no_knowledge() {
    let world = World::memory().await;
    let images = four(&world).await;
    world.github.package().trouble.manifest = Some((images[3].all["index"].clone(), 429));
    let command_output = Program::new(&world).cleanup(&world, &DELETING).await;
    nothing_happened(&world, &images, command_output, "429");
}

#[tokio::test]
async fn a_page_that_fails_in_the_middle_is_no_shorter_list() {
    let world = World::memory().await;
    for number in 0..60 {
        world.publish(&format!("image {number}"), &[&version_tag(number)], OLD).await;
    }
    let before = world.digests();
    for page in [2, 3] {
        world.github.package().trouble.broken_page = Some(page);
        Program::new(&world).cleanup(&world, &DELETING).await.with(1);
        assert_eq!((world.digests(), world.count("DELETE")), (before.clone(), 0));
    }
}

#[tokio::test]
async fn a_limit_is_waited_out() {
    let world = World::memory().await;
    let images = four(&world).await;
    world.github.package().trouble.secondary = Some((3, 2, 1));
    let started = std::time::Instant::now();
    Program::new(&world).cleanup(&world, &DELETING).await.with(0);
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(world.digests(), all_of(&images[2..]));
}

#[tokio::test]
async fn a_limit_that_lasts_too_long_ends_the_run_and_the_next_one_goes_on() {
    let world = World::memory().await;
    let images = four(&world).await;
    world.github.package().trouble.secondary = Some((3, 1, 3600));
    let program = Program::new(&world);
    let command_output = program.cleanup(&world, &DELETING).await.with(0);
    assert!(command_output.stderr.contains("Stopped before the end"), "{}", command_output.stderr);
    assert!(command_output.stderr.contains("Deleted 3 of 16"), "{}", command_output.stderr);
    // What is left of the first image is evidence without it, a day after it was pushed.
    program.cleanup(&world, &DELETING).await.with(0);
    assert_eq!(world.digests(), all_of(&images[2..]));
}

#[tokio::test]
async fn lists_that_are_a_little_old_do_no_harm() {
    let world = World::memory().await;
    let images = four(&world).await;
    let program = Program::new(&world);
    program.cleanup(&world, &DELETING).await.with(0);
    world.github.package().trouble.stale_lists = true;
    // From the cache the deleted ones look alive; another machine asks the registry and learns better.
    for program in [program, Program::new(&world)] {
        program.cleanup(&world, &DELETING).await.with(0);
        assert_eq!(world.digests(), all_of(&images[2..]));
    }
}

#[tokio::test]
async fn killed_in_the_middle_nothing_kept_is_lost() {
    let world = World::real().await;
    let images = four(&world).await;
    let program = Program::new(&world);
    world.github.package().trouble.slow_deletions = Duration::from_millis(50);
    for deletions in [1, 2, 4] {
        let (before, store) = (world.count("DELETE"), world.store());
        let mut arguments = vec!["cleanup", &store, "--through", "github", "--keep-kernels-of", "none"];
        arguments.extend(["--delete-interval", "0"]);
        arguments.extend(DELETING);
        let mut child = program.command(&arguments).spawn().unwrap();
        while world.count("DELETE") < before + deletions && child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        child.kill().await.unwrap();
        // No image without its evidence, whether it was to go or not.
        let left = world.digests();
        for image in images.iter().filter(|image| left.contains(&image.image)) {
            for digest in image.all.values() {
                assert!(left.contains(digest) && world.pusher.has(digest.as_str()).await, "{digest}");
            }
        }
        for digest in all_of(&images[2..]) {
            assert!(world.pusher.has(digest.as_str()).await, "{digest}");
        }
    }
    world.github.package().trouble.slow_deletions = Duration::ZERO;
    program.cleanup(&world, &DELETING).await.with(0);
    assert_eq!(world.digests(), all_of(&images[2..]));
    // Everything that went is in one of the journals, the last deletion of a killed run included.
    // The last run is undone first: a registry takes no index whose images are not there.
    for journal in program.journals().into_iter().rev() {
        let arguments =
            ["cleanup", "restore", text(&journal), "--through", "github", "--delete-interval", "0"];
        program.run(&arguments).await.with(0);
    }
    assert_eq!(world.digests(), all_of(&images));
}

#[tokio::test]
async fn what_someone_else_broke_is_noticed_afterwards() {
    let world = World::memory().await;
    let images = four(&world).await;
    let program = Program::new(&world);
    program.cleanup(&world, &["--dry-run"]).await.with(0);
    // The list still shows it, and so does the cache.
    let bundle = images[3].all["bundle"].clone();
    world.github.package().trouble.manifest = Some((bundle.clone(), 404));
    let command_output = program.cleanup(&world, &DELETING).await.with(1);
    assert!(
        command_output.stdout.contains(&format!("BROKEN {bundle}: it lacks its manifest")),
        "{}",
        command_output.stdout
    );
}
