//! A package with very many versions.

use std::io::Write as _;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::environment::{CleanupEnvironment, Documents};
use super::program::measure;

/// Adds versions to the fake GitHub's memory without requests.
fn fill(environment: &CleanupEnvironment, images: usize) {
    let mut package = environment.github.package();
    for number in 0..images {
        package.age = i64::try_from(images - number).unwrap() + 24;
        let version =
            format!("zfs-2.4.{}_kernel-6.{}.{}-300.fc43.x86_64", number % 9, number / 97, number % 97);
        let created = Timestamp::now() - SignedDuration::from_hours(package.age);
        for (kind, tag, document) in Documents::new(&format!("image {number}"), created).manifests {
            let tag = if kind == "image" { version.clone() } else { tag.unwrap_or_default() };
            let media_type = document["mediaType"].as_str().unwrap();
            package.push_new(&tag, media_type, &Bytes::from(document.to_string()));
        }
    }
}

/// Time and memory are printed but not checked, because they depend on the machine. Requests are checked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_versions_cost_two_hundred_lists_and_each_manifest_once() {
    for versions in [20_000, 40_000] {
        let environment = CleanupEnvironment::memory().await;
        fill(&environment, versions / 4);
        let program = environment.program();
        let lists = "GET /users/owner/packages/container/zfs-kmods/versions?";
        let manifests = "GET /v2/owner/zfs-kmods/manifests/";
        for (run, read) in [("first", versions), ("second", 0)] {
            environment.github.package().log.clear();
            let (output, seconds, memory) = measure(&program, &environment, &["--dry-run"]).await;
            let output = output.with(0);
            let said = output.stderr.lines().next().unwrap_or_default();
            writeln!(
                std::io::stderr(),
                "{versions} versions, {run} run: {seconds} s of processor time, {memory} MiB; {said}"
            )
            .unwrap();
            assert_eq!((environment.count(lists), environment.count(manifests)), (versions / 100, read));
            assert_eq!(output.stdout.lines().count(), versions + 1);
        }
    }
}

/// When everything that stays was requested, this run took 9,576 requests for the 4,788 manifests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_212_of_5000_manifests_checks_a_bounded_part_of_the_rest() {
    let environment = CleanupEnvironment::memory().await;
    fill(&environment, 5_000 / 4);
    let program = environment.program();
    // The oldest 53 images.
    let output = program.cleanup(&environment, &["--older-than", "1222h"]).await.with(0);
    let output = output.explains(&["Deleted 212 of 5000 manifests. Of the 4788 that stay,"]);
    let said = output.stderr.lines().last().unwrap_or_default();
    let heads = environment.count("HEAD /v2/owner/zfs-kmods/");
    writeln!(std::io::stderr(), "{heads} HEAD requests; {said}").unwrap();
    assert!((400..1_400).contains(&heads), "{heads}");
}
