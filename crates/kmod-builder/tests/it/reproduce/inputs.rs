use std::fs;

use super::bench::ReproduceBench;
use super::differences::kmod_with;
use crate::command_output::CommandOutput;
use crate::registry_server::{Options, Server};
use crate::rpms;

/// Maximum requests of a second publication, without authentication.
const REQUESTS: usize = 12;
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/model/evidence/signing_key/cosign-3.1.1");

fn inputs_file(bench: &ReproduceBench) -> std::path::PathBuf {
    bench.path("images").join(format!("{}.inputs.json", bench.inputs.target().tag()))
}

pub(super) async fn published(bench: &ReproduceBench, server: &Server) -> String {
    let to = server.location();
    bench.run(&["publish", "--from", &bench.store(), "--to", &to, "--no-sign"]).await.with(0);
    format!("{to}@{}", bench.digest)
}

#[tokio::test]
async fn other_inputs_are_refused() {
    let bench = ReproduceBench::new().await;
    let refused = bench.reproduce(&["--identity-repo", "owner/zfs-kmods"]).await.with(1);
    refused.explains(&["is in a directory, and directories store no evidence"]);
    let text = bench.inputs.canonical_json();
    fs::write(inputs_file(&bench), text.replace("1790000000", "1790000001")).unwrap();
    let refused = bench.reproduce(&[]).await.with(1);
    refused.explains(&["an image is built only from its own inputs"]);
    fs::remove_file(inputs_file(&bench)).unwrap();
    bench.reproduce(&[]).await.with(1).explains(&["cannot read the inputs in"]);
    assert_eq!(bench.podman_log().len(), 0);
}

#[tokio::test]
async fn another_template_is_refused() {
    let bench = ReproduceBench::new().await;
    let other = kmod_builder::model::Digest::of(b"another template");
    let text = bench.inputs.canonical_json().replace(bench.inputs.template.as_str(), other.as_str());
    let file = bench.path("other.json");
    fs::write(&file, text).unwrap();
    let build = ["build", "--test", "--inputs", file.to_str().unwrap()];
    bench.run(&build).await.with(1).explains(&["these inputs are of a Containerfile.in"]);
    assert_eq!(bench.podman_log().len(), 0);
}

#[tokio::test]
async fn reads_the_inputs_beside_a_published_image() {
    for referrers_api in [false, true] {
        let bench = ReproduceBench::new().await;
        let server = Server::start(Options { referrers_api, page: 100, ..Options::default() }).await;
        let image = published(&bench, &server).await;
        fs::remove_dir_all(bench.path("images")).unwrap();
        let output = bench.run(&["reproduce", &image, "--trust-inputs"]).await.with(0);
        output.says(&["reproduced, bit for bit", &image]);
        let to = format!("oci:{}", bench.path("again").display());
        let build = ["build", "--inputs", &image, "--trust-inputs", "--to", &to, "--format", "json"];
        let output = bench.run(&build).await.with(0);
        assert_eq!(output.json()["image"]["digest"], bench.digest.as_str());
        let written = output.json()["inputs"].as_str().unwrap().to_owned();
        // The attached inputs have neither; the publisher is on the image's label.
        let mut expected = bench.inputs.clone();
        expected.source_image = None;
        let expected = expected.canonical_json();
        assert!(expected.contains("https://github.com/owner/zfs-kmods"));
        assert_eq!(fs::read_to_string(written).unwrap().trim_end(), expected);
    }
}

#[tokio::test]
async fn fails_when_the_inputs_of_an_image_are_missing() {
    let bench = ReproduceBench::new().await;
    let server = Server::start(Options::default()).await;
    let image = published(&bench, &server).await;
    server.forget_blob(&bench.inputs.digest());
    let reproduce = ["reproduce", &image];
    let unverified = [&reproduce[..], &["--trust-inputs"]].concat();
    bench.run(&unverified).await.with(1).explains(&["are not in its repository"]);
    let signed = [&reproduce[..], &["--identity-repo", "owner/zfs-kmods"]].concat();
    bench.run(&signed).await.with(1).explains(&["is not valid: no provenance is attached"]);
}

#[tokio::test]
async fn prints_one_document_for_build_and_publish() {
    let bench = ReproduceBench::new().await;
    let server = Server::start(Options { page: 100, ..Options::default() }).await;
    let to = server.location();
    let file = inputs_file(&bench);
    let store = format!("oci:{}", bench.path("new").display());
    let arguments =
        ["build", "--inputs", file.to_str().unwrap(), "--to", &store, "--publish", &to, "--no-sign"];
    let json = [&arguments[..], &["--format", "json"]].concat();
    for decision in ["built", "up-to-date"] {
        let report = bench.run(&json).await.with(0).json();
        assert_eq!(report["decision"], decision);
        assert_eq!(report["image"]["digest"], bench.digest.as_str());
        let published = &report["published"];
        let image =
            serde_json::json!({ "reference": format!("{to}@{}", bench.digest), "digest": bench.digest });
        assert_eq!((&published["image"], &published["schema"]["name"]), (&image, &"publish-report".into()));
    }
    let output = bench.run(&arguments).await.with(0);
    output.says(&["up to date", "already published, nothing to do", &format!("inputs  {to}@sha256:")]);
}

#[tokio::test]
async fn shows_the_difference_when_a_tag_is_taken() {
    let bench = ReproduceBench::new().await;
    let server = Server::start(Options { page: 100, ..Options::default() }).await;
    published(&bench, &server).await;
    let devel = rpms::package("kmod-zfs-devel", "x86_64");
    let changed = rpms::with_files(devel, &[("/usr/src/x".into(), b"x".to_vec())]);
    let other = ReproduceBench::of(kmod_with(changed)).await;
    let to = server.location();
    let publish = ["publish", "--from", &other.store(), "--to", &to, "--no-sign"];
    other.run(&publish).await.with(1).explains(&[
        "devel/kmod-zfs-devel-2.4.3-1.fc43.x86_64.rpm different",
        "zfs-2.4.3-1.fc43.x86_64.rpm same",
        "userland same kmod different",
        "move the tag with `--replace`",
    ]);
    let file = inputs_file(&other).to_str().unwrap().to_owned();
    let store = other.store();
    let build =
        ["build", "--inputs", &file, "--to", &store, "--publish", &to, "--no-sign", "--format", "json"];
    let report = other.run(&build).await.with(1).json();
    assert_eq!((&report["decision"], &report["published"]), (&"up-to-date".into(), &serde_json::Value::Null));

    other.run(&[&publish[..], &["--replace"]].concat()).await.with(0);
}

#[tokio::test]
async fn signed_inputs_are_read_from_the_provenance() {
    let bench = ReproduceBench::new().await;
    let server = Server::start(Options { page: 100, ..Options::default() }).await;
    let to = server.location();
    let key = format!("{FIXTURE}.key");
    let publish = ["publish", "--from", &bench.store(), "--to", &to, "--key", &key, "--format", "json"];
    let publish = async || {
        let output = bench.command(&publish).env("COSIGN_PASSWORD", "open-sesame").output().await;
        CommandOutput::from(output.unwrap()).with(0)
    };
    publish().await;
    server.forget_log();
    let second = publish().await.json();
    assert_eq!(second["steps"], 0, "what is attached is attached once");
    let requests: Vec<_> = server.log().into_iter().filter(|line| line != "GET /v2/").collect();
    assert!(requests.len() <= REQUESTS, "{requests:#?}");

    fs::remove_dir_all(bench.path("images")).unwrap();
    let image = format!("{to}@{}", bench.digest);
    let trusted = ["reproduce", &image, "--public-key", &format!("{FIXTURE}.pub")];
    bench.run(&trusted).await.with(0).says(&["reproduced, bit for bit"]);
    // The provenance is enough for who trusts its signer, and the attached inputs for who trusts the digest.
    server.forget_blob(&bench.inputs.digest());
    bench.run(&trusted).await.with(0);
    bench.run(&["reproduce", &image, "--trust-inputs"]).await.with(1);
    let other = bench.run(&["reproduce", &image, "--identity-repo", "owner/zfs-kmods"]).await;
    other.with(1).explains(&["is not valid"]);
}
