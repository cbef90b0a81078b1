//! Inputs of an image of another publisher.

use std::collections::BTreeSet;
use std::fs;

use super::bench::ReproduceBench;
use super::inputs::published;
use crate::command_output::write_program;
use crate::registry_server::{Options, Server};
use crate::rpms::{self, KERNEL};

const BUILDER: &str = "which is not on the list of allowed images";

#[tokio::test]
async fn inputs_of_a_published_image_are_not_built_unless_they_are_trusted() {
    let bench = ReproduceBench::new().await;
    let server = Server::start(Options { page: 100, ..Options::default() }).await;
    let image = published(&bench, &server).await;
    for arguments in [
        &["reproduce", &image][..],
        &["build", "--discard", "--inputs", &image],
        &["plan", "--inputs", &image],
    ] {
        let output = bench.run(arguments).await.with(1);
        output.explains(&["are not verified, so nothing is built from them", "--trust-inputs"]);
    }
    assert_eq!(bench.podman_log(), Vec::<String>::new());
    bench.run(&["reproduce", &image, "--trust-inputs"]).await.with(0);
    bench.run(&["plan", "--inputs", &image, "--trust-inputs"]).await.with(0);
}

#[tokio::test]
async fn unverified_inputs_have_a_compiler_cache_of_their_own() {
    let bench = ReproduceBench::new().await;
    let server = Server::start(Options { page: 100, ..Options::default() }).await;
    let image = published(&bench, &server).await;
    bench.run(&["reproduce", &image, "--trust-inputs"]).await.with(0);
    let own = format!("/ccache-unverified/{}:/ccache", bench.inputs.digest().hex());
    let log = bench.podman_log();
    let builds: Vec<_> = log.iter().filter(|line| line.starts_with("build ")).collect();
    assert!(!builds.is_empty() && builds.iter().all(|line| line.contains(&own)), "{log:#?}");
}

#[tokio::test]
async fn a_builder_image_that_is_not_allowed_is_never_run() {
    let mut bench = ReproduceBench::new().await;
    bench.set("ZFS_KMODS_ALLOW_BUILDER", "");
    let server = Server::start(Options { page: 100, ..Options::default() }).await;
    let image = published(&bench, &server).await;
    for arguments in [
        &["reproduce", &bench.store()][..],
        &["reproduce", &image, "--trust-inputs"],
        &["build", "--discard", "--inputs", &image, "--trust-inputs"],
    ] {
        bench
            .run(arguments)
            .await
            .with(1)
            .explains(&[BUILDER, "--allow-builder registry.example.org/fedora"]);
    }
    assert_eq!(bench.podman_log(), Vec::<String>::new());
    bench.run(&["reproduce", &bench.store(), "--allow-builder", "registry.example.org/fedora"]).await.with(0);
}

#[tokio::test]
async fn a_boot_test_never_runs_a_builder_image_that_is_not_allowed() {
    let zfs = crate::boot_test::with_tools(rpms::package("zfs", "x86_64"));
    let mut bench = ReproduceBench::of((vec![zfs], vec![rpms::kmod(KERNEL, &rpms::modules(KERNEL))])).await;
    bench.set("ZFS_KMODS_ALLOW_BUILDER", "");
    write_program(&bench.path("bin/qemu-system-x86_64"), "#!/bin/sh\necho 'QEMU emulator version 0.0'\n");
    let directory = bench.path("");
    let [core, modules] = [rpms::kernel_core(&directory), rpms::kernel_modules(&directory)]
        .map(|path| path.to_str().unwrap().to_owned());
    let arguments = ["boot-test", &bench.store(), "--kernel-core", &core, "--kernel-modules", &modules];
    bench.run(&arguments).await.with(1).explains(&[BUILDER]);
    assert_eq!(bench.podman_log(), Vec::<String>::new());
}

#[tokio::test]
async fn chroot_isolation_is_used_only_when_it_is_asked_for() {
    let mut bench = ReproduceBench::new().await;
    bench.set("BUILDAH_ISOLATION", "");
    let crun = "error running container: from /usr/bin/crun creating container for [/bin/sh]: setrlimit";
    bench.podman_says(crun);
    let store = bench.store();
    let refused = bench.run(&["reproduce", &store]).await.with(1);
    refused.explains(&["podman cannot start containers on this machine", "--isolation chroot"]);
    let log = bench.podman_log();
    assert!(log.iter().all(|line| !line.contains("chroot")), "{log:#?}");
    fs::remove_file(bench.path("podman-says")).unwrap();
    bench.run(&["reproduce", &store, "--isolation", "chroot"]).await.with(0);
    let last = bench.podman_log().into_iter().rfind(|line| line.starts_with("build ")).unwrap();
    assert!(last.contains("--isolation=chroot --cap-drop=CAP_SYS_CHROOT"), "{last}");
}

#[tokio::test]
async fn podman_does_not_inherit_secrets() {
    let mut bench = ReproduceBench::new().await;
    let secrets = [
        ("COSIGN_PASSWORD", "open-sesame"),
        ("GITHUB_TOKEN", "ghs_token"),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "oidc-token"),
        ("ZFS_KMODS_SIGNING_KEY", "private-key"),
    ];
    for (name, value) in secrets {
        bench.set(name, value);
    }
    bench.reproduce(&[]).await.with(0);
    let environment = fs::read_to_string(bench.path("podman.env")).unwrap();
    assert!(environment.contains("BUILDAH_ISOLATION=chroot"), "{environment}");
    for (name, value) in secrets {
        assert!(!environment.contains(name) && !environment.contains(value), "{environment}");
    }
}

#[tokio::test]
async fn one_bad_bundle_does_not_hide_the_others() {
    let bench = ReproduceBench::new().await;
    let server = Server::start(Options { page: 100, ..Options::default() }).await;
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/promote");
    let publish = async |key: &str| {
        let key = format!("{keys}/{key}.pem");
        let publish = ["publish", "--from", &bench.store(), "--to", &server.location(), "--key", &key];
        bench.run(&publish).await.with(0);
        server.stored().blobs.keys().cloned().collect::<BTreeSet<_>>()
    };
    let ours = publish("ours").await;
    for digest in publish("stranger").await.difference(&ours) {
        server.forget_blob(digest);
    }
    let image = format!("{}@{}", server.location(), bench.digest);
    let public = bench.path("ours.pub");
    let extract = tokio::process::Command::new("openssl")
        .args(["pkey", "-pubout", "-in", &format!("{keys}/ours.pem"), "-out", public.to_str().unwrap()])
        .status();
    assert!(extract.await.unwrap().success());
    let verify = ["verify", &image, "--public-key", public.to_str().unwrap()];
    let output = bench.run(&verify).await.with(0);
    assert!(output.error_text().contains("is ignored: the registry lists it"), "{}", output.stderr);
}

#[tokio::test]
async fn without_a_home_there_is_no_cache() {
    let bench = ReproduceBench::new().await;
    let store = bench.store();
    let mut command = bench.command(&["reproduce", &store]);
    command.env_remove("HOME").env_remove("ZFS_KMODS_CACHE");
    let output = crate::command_output::CommandOutput::from(command.output().await.unwrap()).with(1);
    output.explains(&["there is no directory for the cache", "set --cache, or HOME"]);
}

#[tokio::test]
async fn messages_of_a_registry_are_shown_as_text() {
    let server = wiremock::MockServer::start().await;
    let message = "denied\u{1b}[2J\u{1b}]0;title\u{7}\n::add-mask::secret\r\n##[add-mask]x";
    let errors = serde_json::json!({ "errors": [{ "code": "DENIED", "message": message }] });
    let answer = wiremock::ResponseTemplate::new(403).set_body_json(errors);
    wiremock::Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
    let bench = ReproduceBench::new().await;
    let image = format!("docker://{}/owner/zfs-kmods:stable", server.address());
    let output = bench.run(&["verify", &image]).await.with(1);
    let is_command = |line: &str| line.trim_start().starts_with("::") || line.contains("##[");
    assert!(output.stderr.contains("denied"), "{}", output.stderr);
    assert!(!output.stderr.contains(['\u{1b}', '\u{7}', '\r']), "{:?}", output.stderr);
    assert!(!output.stderr.lines().any(is_command), "{}", output.stderr);
}
