//! The same image, and others.

use super::bench::ReproduceBench;
use crate::rpms::{self, KERNEL, Recipe};

/// The packages of kmod with one of them exchanged.
fn kmod_with(recipe: Recipe) -> (Vec<Recipe>, Vec<Recipe>) {
    let (userland, mut kmod) = rpms::good();
    kmod.retain(|other| other.name != recipe.name);
    kmod.push(recipe);
    (userland, kmod)
}

fn kmod_rpm() -> String {
    format!("kmod-zfs-{KERNEL}-2.4.3-1.fc43.x86_64.rpm")
}

#[tokio::test]
async fn the_same_packages_are_the_same_image_however_they_were_built() {
    let bench = ReproduceBench::new().await;
    let command_output = bench.reproduce(&[]).await.with(0);
    command_output.says(&[
        "userland  same",
        "kmod      same",
        &kmod_rpm(),
        "reproduced, bit for bit",
        "built now",
    ]);
    let command_output =
        bench.reproduce(&["--jobs", "3", "--no-compiler-cache", "--format", "json"]).await.with(0);
    let report = command_output.json();
    assert_eq!((&report["identical"], &report["second"]), (&true.into(), &bench.digest.as_str().into()));
    assert!(report["packages"].as_array().unwrap().iter().all(|package| package["result"] == "same"));

    let (log, removed): (Vec<_>, Vec<_>) =
        bench.podman_log().into_iter().partition(|line| line.starts_with("build "));
    let images = ["rmi --force --no-prune sha256:userland-rpms", "rmi --force --no-prune sha256:kmod-rpms"];
    assert_eq!(removed, [images, images].concat(), "what podman made stays with it");
    assert_eq!(log.len(), 4);
    assert!(
        log.iter().all(|line| line.contains("--no-cache --layers=false")),
        "nothing is taken from a cache"
    );
    assert!(log[..2].iter().all(|line| line.contains(":/ccache") && !line.contains("RPM_BUILD_NCPUS")));
    assert!(
        log[2..].iter().all(|line| !line.contains("/ccache") && line.contains("--env RPM_BUILD_NCPUS=3"))
    );
    let elsewhere = bench.path("work").display().to_string();
    assert!(log.iter().all(|line| line.contains(&elsewhere)), "built in another directory: {log:#?}");
}

#[tokio::test]
async fn a_changed_file_is_named() {
    let bench = ReproduceBench::new().await;
    let mut modules = rpms::modules(KERNEL);
    modules[1].1.extend(b"other code");
    modules.push(rpms::module(&format!("/lib/modules/{KERNEL}/extra/zfs/icp.ko"), KERNEL));
    bench.will_build(kmod_with(rpms::kmod(KERNEL, &modules)));
    let command_output = bench.reproduce(&[]).await.with(3);
    let zfs = format!("file  /lib/modules/{KERNEL}/extra/zfs/zfs.ko: content, size");
    let icp = format!("file  /lib/modules/{KERNEL}/extra/zfs/icp.ko: only in the second");
    let sentences =
        ["userland  same", "kmod      different", &zfs, &icp, "tag   FILEDIGESTS: 2 values, then 3"];
    let command_output = command_output.says(&sentences).says(&["NOT REPRODUCED"]);
    assert!(
        !command_output.stdout.contains("spl.ko"),
        "what is the same is not named:\n{}",
        command_output.stdout
    );
    assert_eq!(
        command_output.stdout.matches("  different").count(),
        2,
        "one layer, one package:\n{}",
        command_output.stdout
    );
}

#[tokio::test]
async fn a_changed_mode_is_named() {
    let file = |mode| {
        let options = rpm::FileOptions::new("/usr/src/zfs/configure").permissions(mode);
        let mut recipe = rpms::package("kmod-zfs-devel", "x86_64");
        recipe.builder.with_file_contents("#!/bin/sh", options).unwrap();
        kmod_with(recipe)
    };
    let bench = ReproduceBench::of(file(0o755)).await;
    bench.will_build(file(0o644));
    let command_output = bench.reproduce(&["--format", "json"]).await.with(3);
    let report = command_output.json();
    let differing = report["packages"].as_array().unwrap().iter().find(|package| package["result"] != "same");
    let differing = differing.unwrap();
    assert_eq!(differing["files"][0]["path"], "/usr/src/zfs/configure");
    assert_eq!(differing["files"][0]["aspects"], serde_json::json!(["mode"]));
    let tags: Vec<_> = differing["tags"].as_array().unwrap().iter().map(|tag| &tag["tag"]).collect();
    assert!(tags.contains(&&"FILEMODES".into()), "{tags:?}");
}

#[tokio::test]
async fn a_changed_tag_is_named_with_both_values() {
    let kmod = |host: &str| {
        let mut recipe = rpms::kmod(KERNEL, &rpms::modules(KERNEL));
        recipe.builder.build_host(host);
        kmod_with(recipe)
    };
    let bench = ReproduceBench::of(kmod("zfs-kmods")).await;
    bench.will_build(kmod("laptop"));
    let command_output =
        bench.reproduce(&[]).await.with(3).says(&["tag   BUILDHOST: `zfs-kmods`, then `laptop`"]);
    assert_eq!(command_output.stdout.matches("  tag   ").count(), 1, "{}", command_output.stdout);
    assert!(!command_output.stdout.contains("  file  "), "{}", command_output.stdout);
}

#[tokio::test]
async fn two_images_are_compared_without_building() {
    let one = ReproduceBench::new().await;
    let other = ReproduceBench::of(kmod_with(rpms::kmod(KERNEL, &rpms::modules(KERNEL)[..1]))).await;
    let command_output = one.run(&["reproduce", &one.store(), "--with", &other.store()]).await.with(3);
    command_output.says(&["zfs.ko: only in the first", "NOT THE SAME", other.digest.as_str()]);
    let command_output = one.run(&["reproduce", &one.store(), "--with", &one.store()]).await.with(0);
    command_output.says(&["the same, bit for bit"]);
    assert_eq!(one.podman_log().len(), 0);
}
