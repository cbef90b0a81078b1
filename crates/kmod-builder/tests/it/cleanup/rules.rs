//! GitHub's own rules, which no clean-up can change: what they keep is reported and is no failure.

use std::time::Duration;

use kmod_builder::io::github::{DeleteOutcome, Packages, RateLimitPolicy};

use super::environment::{CleanupEnvironment, all_of, version_tag};
use super::package::{DOWNLOADS, LAST_TAGGED};
use super::program::Program;

const OLD: i64 = 200 * 24;

#[tokio::test]
async fn what_was_downloaded_too_often_stays_and_so_does_its_evidence() {
    let environment = CleanupEnvironment::memory().await;
    let popular = environment.publish("popular", &[&version_tag(0)], OLD).await;
    let plain = environment.publish("plain", &[&version_tag(1)], OLD).await;
    let newest = environment.publish("newest", &[&version_tag(2)], 2).await;
    {
        let mut package = environment.github.package();
        let id = package.id(&popular.image).unwrap();
        package.versions.get_mut(&id).unwrap().downloads = 5001;
    }
    let arguments = ["--keep-newest", "1", "--minimum", "1", "--override-limits", "--format", "json"];
    let output = Program::new(&environment).cleanup(&environment, &arguments).await.with(0);
    assert_eq!(environment.digests(), all_of([&popular, &newest]), "{}", output.stderr);
    let report = output.json();
    assert_eq!(report["result"]["retained"][0]["reason"], DOWNLOADS);
    assert_eq!(report["result"]["skipped"].as_array().unwrap().len(), 3);
    assert_eq!(report["result"]["deleted"].as_array().unwrap().len(), plain.all.len());
}

#[tokio::test]
async fn changes_keep_their_distance() {
    let environment = CleanupEnvironment::memory().await;
    environment.publish("one", &["mine"], OLD).await;
    let repository = format!("{}/owner/zfs-kmods", environment.github.address()).parse().unwrap();
    let policy =
        RateLimitPolicy { between_changes: Duration::from_millis(200), ..RateLimitPolicy::default() };
    assert_eq!(RateLimitPolicy::default().between_changes, Duration::from_secs(1));
    let packages =
        Packages::connect(&format!("http://{}", environment.github.address()), None, &repository, policy)
            .await
            .unwrap();
    let ids: Vec<u64> = environment.github.package().versions.keys().copied().collect();
    let started = std::time::Instant::now();
    // Concurrent requests wait too.
    tokio::join!(packages.delete(ids[0]), packages.delete(ids[1]), packages.delete(ids[2])).0.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn the_last_tagged_version_is_retained_and_not_a_failure() {
    let environment = CleanupEnvironment::memory().await;
    let only = environment.publish("only", &["mine"], OLD).await;
    let ids: Vec<u64> = environment.github.package().versions.keys().copied().collect();
    let repository = format!("{}/owner/zfs-kmods", environment.github.address()).parse().unwrap();
    let policy = RateLimitPolicy { between_changes: Duration::ZERO, ..RateLimitPolicy::default() };
    let packages =
        Packages::connect(&format!("http://{}", environment.github.address()), None, &repository, policy)
            .await
            .unwrap();
    let mut answers = Vec::new();
    for id in &ids {
        answers.push(packages.delete(*id).await.unwrap());
    }
    // Evidence has tags as well: the signature's is the last one.
    assert_eq!(answers.last(), Some(&DeleteOutcome::Retained(LAST_TAGGED.to_owned())));
    assert_eq!(
        answers.iter().filter(|answer| **answer == DeleteOutcome::Deleted).count(),
        only.all.len() - 1
    );
    assert_eq!(packages.delete(ids[0]).await.unwrap(), DeleteOutcome::AlreadyGone, "404 is done");
    assert!(packages.restore(ids[0]).await.unwrap());
    assert!(!packages.restore(ids[0]).await.unwrap(), "it is there already");
    assert_eq!(packages.requests().changes, 7);
}
