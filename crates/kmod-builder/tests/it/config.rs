//! `zfs-kmods.toml` in the commands: what it replaces, and what wins over it.

use std::fs;

use kmod_builder::io::layout::Layout;
use kmod_builder::model::Digest;
use kmod_compat::CompatMatrix;
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::command_output::Program;

const KERNEL: &str = "6.19.13-200.fc43.x86_64";

/// A registry with the image `x/kinoite:43`, and the releases of OpenZFS. There is no package of any kernel.
async fn upstream() -> MockServer {
    let server = MockServer::start().await;
    let serve = async |at: &str, content: &Value| {
        let response = ResponseTemplate::new(200).set_body_json(content);
        Mock::given(path(at)).respond_with(response).mount(&server).await;
    };
    let config = json!({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
        "config": {"Labels": {"ostree.linux": KERNEL, "org.opencontainers.image.version": "43.1"}},
    });
    let digest = Digest::of(config.to_string().as_bytes());
    let descriptor = json!({"digest": digest, "size": config.to_string().len()});
    let manifest = json!({"schemaVersion": 2, "config": descriptor, "layers": []});
    let matrix = CompatMatrix::embedded().unwrap();
    serve("/v2/", &json!({})).await;
    serve(&format!("/v2/x/kinoite/blobs/{digest}"), &config).await;
    serve("/v2/x/kinoite/manifests/43", &manifest).await;
    for (line, versions) in [("2.4", ["2.4.3", "2.4.4"]), ("2.3", ["2.3.8", "2.3.9"])] {
        let tags = versions.map(|version| json!({"ref": format!("refs/tags/zfs-{version}")}));
        serve(&format!("/repos/openzfs/zfs/git/matching-refs/tags/zfs-{line}."), &json!(tags)).await;
        for version in versions {
            let tag = format!("zfs-{version}");
            let row = matrix.release(version.parse().unwrap()).unwrap();
            let digest = row
                .sha256()
                .map_or(Digest::of(b""), |sha256| format!("sha256:{}", sha256.as_str()).parse().unwrap());
            let release = json!({
                "tag_name": tag, "draft": false, "prerelease": false, "published_at": "2026-11-01T10:00:00Z",
                "assets": [{"name": format!("{tag}.tar.gz"), "state": "uploaded", "size": 1,
                    "digest": digest, "browser_download_url": format!("{}/{tag}.tar.gz", server.uri())}],
            });
            serve(&format!("/repos/openzfs/zfs/releases/tags/{tag}"), &release).await;
        }
    }
    server
}

fn program(upstream: &MockServer, config: &str) -> Program {
    let mut program = Program::new();
    program.set("GITHUB_API_URL", upstream.uri());
    for name in ["FEDORA_URL", "UPDATES_ARCHIVE_URL", "COREOS_POOL_URL", "KOJI_URL", "COREOS_URL"] {
        let name: &'static str = format!("ZFS_KMODS_{name}").leak();
        program.set(name, upstream.uri());
    }
    program.set("ZFS_KMODS_BUILDER_IMAGE", format!("{}/fedora:{{fedora}}", upstream.address()));
    fs::write(program.path("zfs-kmods.toml"), config).unwrap();
    program
}

fn image_source(upstream: &MockServer) -> String {
    format!("[[source]]\nimage = \"{}/x/kinoite:43\"\nchannel = \"kinoite\"\n", upstream.address())
}

#[tokio::test]
async fn an_image_is_planned_for_its_channel_and_all_lines() {
    let upstream = upstream().await;
    let config = format!(
        "lines = [\"2.4\", \"2.3\"]\narches = [\"x86_64\"]\n{}\
         [[exclude]]\nzfs = \"2.4.4\"\nkernel = \"6.19\"\nreason = \"it panics\"\nsource = \"https://example.org/1\"\n",
        image_source(&upstream)
    );
    let program = program(&upstream, &config);
    let plan = program.run(&["plan", "--format", "json"]).await.with(0).json();
    let channels: Vec<_> = plan["channels"].as_array().unwrap().iter().collect();
    let shown: Vec<_> = channels
        .iter()
        .map(|channel| ["channel", "status"].map(|member| channel[member].as_str().unwrap()))
        .collect();
    assert_eq!(shown, [["kinoite", "waiting"], ["zfs-2.3_kinoite", "waiting"]]);
    assert_eq!(channels[0]["source"], format!("{}/x/kinoite:43", upstream.address()));
    // The row of the configuration excludes the newest release.
    let tags: Vec<_> = plan["targets"].as_array().unwrap().iter().map(|target| &target["tag"]).collect();
    assert_eq!(
        tags,
        ["zfs-2.4.3", "zfs-2.3.9"]
            .map(|zfs| json!(format!("{zfs}_kernel-{KERNEL}")))
            .iter()
            .collect::<Vec<_>>()
    );
    let plan = program.run(&["plan", "--lines", "2.3", "--format", "json"]).await.with(0).json();
    assert_eq!(
        (&plan["channels"][0]["channel"], plan["channels"].as_array().unwrap().len()),
        (&json!("kinoite"), 1)
    );
    let versions = program.run(&["versions", "--field", "kernel"]).await.with(0);
    assert_eq!(versions.stdout.trim(), KERNEL);
}

#[tokio::test]
async fn a_release_that_was_asked_for_is_planned_or_explained() {
    let upstream = upstream().await;
    let config = format!(
        "arches = [\"x86_64\"]\n{}\
         [[exclude]]\nzfs = \"2.4.4\"\nkernel = \"6.19\"\nreason = \"it panics\"\nsource = \"https://example.org/1\"\n",
        image_source(&upstream)
    );
    let program = program(&upstream, &config);
    let plan = program.run(&["plan", "--zfs", "2.4.4", "--format", "json"]).await.with(0).json();
    assert_eq!(plan["targets"][0]["tag"], format!("zfs-2.4.4_kernel-{KERNEL}"), "{plan}");
    assert!(plan["targets"][0].to_string().contains("it panics"), "{plan}");
    let missing = program.run(&["plan", "--zfs", "2.4.77"]).await.with(1);
    missing.explains(&["2.4.77"]);
}

#[tokio::test]
async fn streams_on_the_command_line_win_over_the_sources() {
    let upstream = upstream().await;
    let program = program(&upstream, &image_source(&upstream));
    let sources = async |arguments: &[&str]| {
        let all = [&["plan", "--arches", "x86_64", "--format", "json"], arguments].concat();
        let plan = program.run(&all).await.with(0).json();
        let names = plan["channels"].as_array().unwrap().iter();
        names.map(|channel| channel["channel"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(sources(&[]).await, ["kinoite"]);
    // The server has no stream: that source is gone.
    assert_eq!(sources(&["--streams", "next"]).await, ["next"]);
    assert_eq!(sources(&["--streams", ""]).await, ["kinoite"], "workflows pass what is not set as empty");
}

#[tokio::test]
async fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let upstream = upstream().await;
    let check = ["check", "--zfs", "2.4.3", "--kernel", KERNEL];
    let mut program = program(&upstream, "openzfs-keys = [\"of-the-file\"]\n");
    let reads = async |program: &Program, more: &[&str], file: &str| {
        program
            .run(&[&check[..], more].concat())
            .await
            .with(1)
            .explains(&[&format!("cannot read or write {file}")]);
    };
    reads(&program, &[], "of-the-file").await;
    program.set("ZFS_KMODS_OPENZFS_KEYS", "of-the-environment");
    reads(&program, &[], "of-the-environment").await;
    reads(&program, &["--openzfs-keys", "of-the-flag"], "of-the-flag").await;
    program.set("ZFS_KMODS_OPENZFS_KEYS", "");
    reads(&program, &[], "of-the-file").await;
    fs::remove_file(program.path("zfs-kmods.toml")).unwrap();
    program.run(&check).await.with(0);
}

#[tokio::test]
async fn the_file_is_named_or_stands_in_the_current_directory() {
    let mut program = Program::new();
    let check = ["check", "--zfs", "2.4.77", "--kernel", KERNEL, "--format", "json"];
    let row = |max: &str| {
        format!(
            "[[release]]\nversion = \"2.4.77\"\nlinux_min = \"4.18\"\nlinux_max = \"{max}\"\n\
             source = \"https://example.org/\"\n"
        )
    };
    fs::write(program.path("zfs-kmods.toml"), row("6.1")).unwrap();
    fs::write(program.path("other.toml"), row("7.0")).unwrap();
    program.run(&check).await.with(3);
    program.set("ZFS_KMODS_CONFIG", "other.toml");
    program.run(&check).await.with(0);
    program.run(&[&check[..], &["--config", "zfs-kmods.toml"]].concat()).await.with(3);
    program.set("ZFS_KMODS_CONFIG", "");
    program.run(&check).await.with(3);
    let missing = program.run(&[&check[..], &["--config", "missing.toml"]].concat()).await.with(1);
    missing.explains(&["cannot read the configuration missing.toml", "--config"]);
}

#[tokio::test]
async fn a_faulty_file_is_shown_with_the_places_of_its_faults() {
    let program = Program::new();
    let text =
        "[[source]]\nstream = \"stable\"\n\n[[source]]\nimage = \"quay.io/x/y:1\"\nchannel = \"stable\"\n";
    fs::write(program.path("zfs-kmods.toml"), text).unwrap();
    let output = program.run(&["plan"]).await.with(1);
    output.explains(&[
        "`zfs-kmods.toml` is not a valid configuration",
        "two sources have the channel `stable`",
        "zfs-kmods.toml:6:11",
        "first",
        "second",
        "help: give one of them another channel",
    ]);
}

#[tokio::test]
async fn limits_of_the_file_are_those_of_the_clean_up() {
    let program = Program::new();
    Layout::create(&program.path("images")).unwrap();
    let policy = async |more: &[&str]| {
        let arguments = ["cleanup", "oci:images", "--dry-run", "--format", "json"];
        let plan = program.run(&[&arguments[..], more].concat()).await.with(0).json();
        ["older_than", "keep_newest", "max_delete", "channels"].map(|member| plan["policy"][member].clone())
    };
    let none = ["--keep-kernels-of", "none"];
    assert_eq!(policy(&none).await, [json!("90d"), json!(3), json!("50%"), json!(null)]);
    let config = "[retention]\nolder-than = \"30d\"\nkeep-newest = 1\nkeep-kernels-of = [\"none\"]\n\
                  [[source]]\nimage = \"quay.io/x/y:1\"\nchannel = \"kinoite\"\n";
    fs::write(program.path("zfs-kmods.toml"), config).unwrap();
    assert_eq!(policy(&[]).await, [json!("30d"), json!(1), json!("50%"), json!(["kinoite"])]);
    assert_eq!(policy(&["--older-than", "1d"]).await[..2], [json!("1d"), json!(1)]);
}

#[tokio::test]
async fn what_is_named_nowhere_is_a_fault_of_the_command_line() {
    let program = Program::new();
    program
        .run(&["cleanup", "--dry-run"])
        .await
        .with(2)
        .explains(&["no store to clean up is named", "`repository`"]);
    program.run(&["publish", "--no-sign"]).await.with(2).explains(&["no repository to publish in", "--to"]);
    let image = format!("docker://127.0.0.1:9/x@{}", Digest::of(b""));
    let unknown = program.run(&["promote", &image, "--channel", "kinoite"]).await.with(2);
    unknown.explains(&["the channel `kinoite` belongs to no source", "[[source]]"]);
}
