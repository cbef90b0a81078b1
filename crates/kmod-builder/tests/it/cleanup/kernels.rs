//! Images for kernels that Fedora CoreOS hosts can still run are kept; if these are unknown, nothing is deleted.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::environment::{CleanupEnvironment, OLD, all_of, version_tag};
use super::program::GITHUB;

fn release(version: &str) -> Value {
    let digest = kmod_builder::model::Digest::of(version.as_bytes());
    let image = format!("quay.io/fedora/fedora-coreos@{digest}");
    let images =
        json!([{ "architecture": "x86_64", "image": "quay.io/fedora/fedora-coreos", "digest-ref": image }]);
    json!({ "version": version, "metadata": "https://x", "commits": [], "oci-images": images })
}

async fn serve(server: &MockServer, at: &str, answer: ResponseTemplate) {
    Mock::given(path(at)).respond_with(answer).mount(server).await;
}

#[tokio::test]
async fn images_for_kernels_that_hosts_can_still_run_stay() {
    let environment = CleanupEnvironment::memory().await;
    let wanted = environment.publish("wanted", &[&version_tag(0)], OLD).await;
    environment.publish("forgotten", &[&version_tag(1)], OLD).await;
    let newest = environment.publish("newest", &[&version_tag(2)], 1).await;

    let recent =
        (Timestamp::now() - SignedDuration::from_hours(20 * 24)).strftime("43.%Y%m%d.3.0").to_string();
    let coreos = MockServer::start().await;
    let strange =
        json!([{ "version": "30.20190716.1" }, { "version": 7 }, { "version": &recent, "oci-images": [{}] }]);
    let mut releases = strange.as_array().unwrap().clone();
    releases.extend([release("41.20240101.3.0"), release(&recent)]);
    let releases = json!({ "releases": releases });
    let index = "/prod/streams/stable/releases.json";
    serve(&coreos, index, ResponseTemplate::new(200).set_body_json(releases)).await;

    let mut program = environment.program();
    program.set("ZFS_KMODS_COREOS_URL", coreos.uri());
    let store = environment.store();
    let keep =
        ["--keep-newest", "1", "--minimum", "1", "--keep-kernels-of", "stable", "--keep-releases", "1"];
    let arguments = [&["cleanup", &store], &GITHUB[..], &keep].concat();
    // Its kernel is unknown: neither metadata nor image can be read.
    let metadata = format!("/prod/streams/stable/builds/{recent}/x86_64/commitmeta.json");
    let broken = Mock::given(path(metadata.as_str()))
        .respond_with(ResponseTemplate::new(403))
        .mount_as_scoped(&coreos)
        .await;
    let output = program.run(&arguments).await.with(1);
    output.explains(&["it is not known which kernels hosts can still run"]);
    assert_eq!(environment.count("DELETE"), 0);
    drop(broken);

    let kernel = version_tag(0).split_once("_kernel-").unwrap().1.to_owned();
    let answer = ResponseTemplate::new(200).set_body_json(json!({ "ostree.linux": kernel }));
    serve(&coreos, &metadata, answer).await;
    let output = program.run(&arguments).await.with(0);
    assert_eq!(environment.digests(), all_of([&wanted, &newest]), "{}", output.stderr);
    let skipped = format!(
        "skipped releases of stable: 2 without a valid version (such as releases[1]), 1 malformed (such as {recent})"
    );
    let output = output.explains(&[&skipped]);
    output.says(&[&format!("hosts can still run {kernel} (stable {recent})")]);
}
