use super::bench::ReproduceBench;
use crate::rpms::{self, KERNEL, Recipe};

pub(super) fn kmod_with(recipe: Recipe) -> (Vec<Recipe>, Vec<Recipe>) {
    let (userland, mut kmod) = rpms::good();
    kmod.retain(|other| other.name != recipe.name);
    kmod.push(recipe);
    (userland, kmod)
}

#[tokio::test]
async fn the_same_packages_are_the_same_image_however_they_were_built() {
    let bench = ReproduceBench::new().await;
    let output = bench.reproduce(&[]).await.with(0);
    let kmod = format!("kmod-zfs-{KERNEL}-2.4.3-1.fc43.x86_64.rpm");
    output.says(&["userland  same", "kmod      same", &kmod, "reproduced, bit for bit", "built now"]);
    let output = bench.reproduce(&["--jobs", "3", "--no-compiler-cache", "--format", "json"]).await.with(0);
    let report = output.json();
    assert_eq!((&report["identical"], &report["second"]), (&true.into(), &bench.digest.as_str().into()));
    assert_eq!(report["schema"], serde_json::json!({ "name": "reproduce-report", "version": 2 }));
    assert_eq!((&report["image"]["digest"], &report["with"]), (&bench.digest.as_str().into(), &().into()));
    assert!(report["packages"].as_array().unwrap().iter().all(|package| package["result"] == "same"));

    let (log, removed): (Vec<_>, Vec<_>) =
        bench.podman_log().into_iter().partition(|line| line.starts_with("build "));
    let images = ["rmi --force --no-prune sha256:userland-rpms", "rmi --force --no-prune sha256:kmod-rpms"];
    assert_eq!(removed, [images, images].concat(), "what podman made stays with it");
    assert_eq!(log.len(), 4);
    let uncached = |line: &String| line.contains("--no-cache --layers=false");
    assert!(log.iter().all(uncached), "nothing is taken from a cache");
    assert!(log[..2].iter().all(|line| line.contains(":/ccache") && !line.contains("RPM_BUILD_NCPUS")));
    let three_jobs = |line: &String| !line.contains("/ccache") && line.contains("--env RPM_BUILD_NCPUS=3");
    assert!(log[2..].iter().all(three_jobs));
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
    let zfs = format!("file  /lib/modules/{KERNEL}/extra/zfs/zfs.ko: content, size");
    let icp = format!("file  /lib/modules/{KERNEL}/extra/zfs/icp.ko: only in the second");
    let sentences =
        ["userland  same", "kmod      different", &zfs, &icp, "tag   FILEDIGESTS: 2 values, then 3"];
    let output = bench.reproduce(&[]).await.with(3).says(&sentences).says(&["NOT REPRODUCED"]).stdout;
    assert!(!output.contains("spl.ko"), "what is the same is not named:\n{output}");
    assert_eq!(output.matches("  different").count(), 2, "one layer, one package:\n{output}");
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
    let report = bench.reproduce(&["--format", "json"]).await.with(3).json();
    let mut packages = report["packages"].as_array().unwrap().iter();
    let differing = packages.find(|package| package["result"] != "same").unwrap();
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
    let output = bench.reproduce(&[]).await.with(3);
    let output = output.says(&["tag   BUILDHOST: `zfs-kmods`, then `laptop`"]).stdout;
    assert_eq!(output.matches("  tag   ").count(), 1, "{output}");
    assert!(!output.contains("  file  "), "{output}");
}

#[tokio::test]
async fn two_images_are_compared_without_building() {
    let one = ReproduceBench::new().await;
    let other = ReproduceBench::of(kmod_with(rpms::kmod(KERNEL, &rpms::modules(KERNEL)[..1]))).await;
    let output = one.run(&["reproduce", &one.store(), "--with", &other.store()]).await.with(3);
    output.says(&["zfs.ko: only in the first", "NOT THE SAME", other.digest.as_str()]);
    let output = one.run(&["reproduce", &one.store(), "--with", &one.store()]).await.with(0);
    output.says(&["the same, bit for bit"]);
    assert_eq!(one.podman_log().len(), 0);
}
