//! GitHub's own rules, which no clean-up can change: what they keep is reported and is no failure.

use std::time::Duration;

use kmod_builder::io::github::{Pace, Packages, Removal};

use super::package::{DOWNLOADS, LAST_TAGGED};
use super::program::Program;
use super::world::{World, all_of, version_tag};

const OLD: i64 = 200 * 24;

#[tokio::test]
async fn what_was_downloaded_too_often_stays_and_so_does_its_evidence() {
    let world = World::memory().await;
    let popular = world.publish("popular", &[&version_tag(0)], OLD).await;
    let plain = world.publish("plain", &[&version_tag(1)], OLD).await;
    let newest = world.publish("newest", &[&version_tag(2)], 2).await;
    {
        let mut package = world.github.package();
        let id = package.id(&popular.image).unwrap();
        package.versions.get_mut(&id).unwrap().downloads = 5001;
    }
    let arguments = ["--keep-newest", "1", "--minimum", "1", "--yes-really", "--format", "json"];
    let command_output = Program::new(&world).cleanup(&world, &arguments).await.with(0);
    assert_eq!(world.digests(), all_of([&popular, &newest]), "{}", command_output.stderr);
    let report = command_output.json();
    assert_eq!(report["applied"]["retained"][0][1], DOWNLOADS);
    assert_eq!(report["applied"]["skipped"].as_array().unwrap().len(), 3);
    assert_eq!(report["applied"]["deleted"].as_array().unwrap().len(), plain.all.len());
}

#[tokio::test]
async fn changes_keep_their_distance() {
    let world = World::memory().await;
    world.publish("one", &["mine"], OLD).await;
    let repository = format!("{}/owner/zfs-kmods", world.github.address()).parse().unwrap();
    let pace = Pace { between_changes: Duration::from_millis(200), ..Pace::default() };
    assert_eq!(Pace::default().between_changes, Duration::from_secs(1));
    let packages = Packages::connect(&format!("http://{}", world.github.address()), None, &repository, pace)
        .await
        .unwrap();
    let ids: Vec<u64> = world.github.package().versions.keys().copied().collect();
    let started = std::time::Instant::now();
    // Whoever asks at the same time waits as well.
    tokio::join!(packages.delete(ids[0]), packages.delete(ids[1]), packages.delete(ids[2])).0.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn the_last_tagged_version_is_retained_and_not_a_failure() {
    let world = World::memory().await;
    let only = world.publish("only", &["mine"], OLD).await;
    let ids: Vec<u64> = world.github.package().versions.keys().copied().collect();
    let repository = format!("{}/owner/zfs-kmods", world.github.address()).parse().unwrap();
    let pace = Pace { between_changes: Duration::ZERO, ..Pace::default() };
    let packages = Packages::connect(&format!("http://{}", world.github.address()), None, &repository, pace)
        .await
        .unwrap();
    let mut answers = Vec::new();
    for id in &ids {
        answers.push(packages.delete(*id).await.unwrap());
    }
    // Evidence has tags as well: the signature's is the last one.
    assert_eq!(answers.last(), Some(&Removal::Retained(LAST_TAGGED.to_owned())));
    assert_eq!(answers.iter().filter(|answer| **answer == Removal::Deleted).count(), only.all.len() - 1);
    assert_eq!(packages.delete(ids[0]).await.unwrap(), Removal::AlreadyGone, "404 is done");
    assert!(packages.restore(ids[0]).await.unwrap());
    assert!(!packages.restore(ids[0]).await.unwrap(), "it is there already");
    assert_eq!(packages.requests().changes, 7);
}
