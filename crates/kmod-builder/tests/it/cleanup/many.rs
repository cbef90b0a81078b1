//! A package as large as years make it.

use std::io::Write as _;

use bytes::Bytes;
use serde_json::json;

use super::environment::CleanupEnvironment;
use super::program::Program;

/// Versions pushed straight into the stand-in's memory: images with a bundle, its index and a signature.
fn fill(environment: &CleanupEnvironment, images: usize) {
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let blob = |name: &str| json!({ "mediaType": "x", "digest": kmod_builder::model::Digest::of(name.as_bytes()), "size": 7 });
    let mut package = environment.github.package();
    for number in 0..images {
        package.age = i64::try_from(images - number).unwrap() + 24;
        let mut push = |reference: &str, document: serde_json::Value| {
            let media_type = document["mediaType"].as_str().unwrap().to_owned();
            package.push_new(reference, &media_type, &Bytes::from(document.to_string()))
        };
        let tag = format!("zfs-2.4.{}_kernel-6.{}.{}-300.fc43.x86_64", number % 9, number / 97, number % 97);
        let name = format!("image {number}");
        let image =
            push(&tag, json!({ "mediaType": manifest, "config": blob(&name), "layers": [blob("userland")] }));
        let bundle = push(
            "",
            json!({
                "mediaType": manifest, "config": blob("{}"), "layers": [blob(&format!("proof of {name}"))],
                "subject": { "mediaType": manifest, "digest": image, "size": 1 },
            }),
        );
        let tag = format!("sha256-{}", image.hex());
        push(
            &tag,
            json!({
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [{ "mediaType": manifest, "digest": bundle, "size": 1 }],
            }),
        );
        push(
            &format!("{tag}.sig"),
            json!({
                "mediaType": manifest, "config": blob("{}"),
                "layers": [{
                    "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                    "digest": kmod_builder::model::Digest::of(name.as_bytes()), "size": 7,
                }],
            }),
        );
    }
}

/// Figures are printed and not judged: a busy machine is no fault of the program. Requests are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_versions_cost_two_hundred_lists_and_each_manifest_once() {
    for versions in [20_000, 40_000] {
        let environment = CleanupEnvironment::memory().await;
        fill(&environment, versions / 4);
        let program = Program::new(&environment);
        let lists = "GET /users/owner/packages/container/zfs-kmods/versions?";
        let manifests = "GET /v2/owner/zfs-kmods/manifests/";
        for (run, read) in [("first", versions), ("second", 0)] {
            environment.github.package().log.clear();
            let (output, seconds, memory) = program.measure(&environment, &["--dry-run"]).await;
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
