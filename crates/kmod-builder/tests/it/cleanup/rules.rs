//! GitHub's own rules: what they retain is reported and is not a failure.

use std::time::Duration;

use kmod_builder::io::github::{DeleteOutcome, Packages, RateLimitPolicy};

use super::environment::{CleanupEnvironment, OLD, all_of, version_tag};
use super::package::{DOWNLOADS, LAST_TAGGED};

#[tokio::test]
async fn an_image_with_too_many_downloads_is_kept_with_its_evidence() {
    let environment = CleanupEnvironment::memory().await;
    let popular = environment.publish("popular", &[&version_tag(0)], OLD).await;
    let plain = environment.publish("plain", &[&version_tag(1)], OLD).await;
    let newest = environment.publish("newest", &[&version_tag(2)], 2).await;
    environment.github.package().find(popular.image.as_str()).unwrap().downloads = 5001;
    let arguments = ["--keep-newest", "1", "--minimum", "1", "--override-limits", "--format", "json"];
    let output = environment.program().cleanup(&environment, &arguments).await.with(0);
    assert_eq!(environment.digests(), all_of([&popular, &newest]), "{}", output.stderr);
    let report = output.json();
    assert_eq!(report["result"]["retained"][0]["reason"], DOWNLOADS);
    assert_eq!(report["result"]["skipped"].as_array().unwrap().len(), 3);
    assert_eq!(report["result"]["deleted"].as_array().unwrap().len(), plain.all.len());
}

async fn packages(environment: &CleanupEnvironment, between_changes: Duration) -> (Packages, Vec<u64>) {
    let repository = format!("{}/owner/zfs-kmods", environment.github.address()).parse().unwrap();
    let (base, policy) = (
        format!("http://{}", environment.github.address()),
        RateLimitPolicy { between_changes, ..RateLimitPolicy::default() },
    );
    let packages = Packages::connect(&base, None, &repository, policy).await.unwrap();
    (packages, environment.github.package().versions.keys().copied().collect())
}

#[tokio::test]
async fn concurrent_changes_keep_their_distance() {
    let environment = CleanupEnvironment::memory().await;
    environment.publish("one", &["mine"], OLD).await;
    assert_eq!(RateLimitPolicy::default().between_changes, Duration::from_secs(1));
    let (packages, ids) = packages(&environment, Duration::from_millis(200)).await;
    let started = std::time::Instant::now();
    tokio::join!(packages.delete(ids[0]), packages.delete(ids[1]), packages.delete(ids[2])).0.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn the_last_tagged_version_is_retained_and_not_a_failure() {
    let environment = CleanupEnvironment::memory().await;
    let only = environment.publish("only", &["mine"], OLD).await;
    let (packages, ids) = packages(&environment, Duration::ZERO).await;
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
    assert!(!packages.restore(ids[0]).await.unwrap(), "it was restored already");
    assert_eq!(packages.requests().changes, 7);
}
