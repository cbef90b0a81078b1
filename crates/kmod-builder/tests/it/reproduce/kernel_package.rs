//! The kernel's package is checked before it reaches the build context.

use std::fs;

use kmod_builder::io::resolve;
use kmod_builder::model::inputs::PartialInputs;
use kmod_builder::model::rpm_signature::KernelPackagePolicy;
use kmod_compat::FedoraKeys;
use kmod_query::{Endpoints, Http, HttpOptions, RetryPolicy, Upstream};
use wiremock::matchers::path_regex;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::bench::{KERNEL_DEVEL, ReproduceBench};
use crate::fedora_key;
use crate::registry_server::{Options, Server};
use crate::rpms::{self, KERNEL};

fn unsigned(bench: &ReproduceBench) -> Vec<u8> {
    let directory = bench.path("unsigned");
    fs::create_dir_all(&directory).unwrap();
    fs::read(rpms::kernel_package(&directory, "kernel-devel", &[])).unwrap()
}

#[tokio::test]
async fn an_unsigned_package_is_refused_unless_that_is_allowed() {
    let bench = ReproduceBench::new().await;
    bench.serve(KERNEL_DEVEL, unsigned(&bench)).await;
    let refused = bench.reproduce(&[]).await.with(1);
    refused.explains(&["its header has no OpenPGP signature", "`promote` refuses"]);
    assert_eq!(bench.podman_log(), Vec::<String>::new());
    bench.reproduce(&["--allow-unsigned-headers"]).await.with(0);
}

#[tokio::test]
async fn a_package_that_another_key_signed_is_refused() {
    let mut bench = ReproduceBench::new().await;
    bench.set("ZFS_KMODS_FEDORA_KEYS", concat!(env!("CARGO_MANIFEST_DIR"), "/../../compat/fedora-keys.toml"));
    bench.reproduce(&[]).await.with(1).explains(&["which is not a key of Fedora 43"]);
    assert_eq!(bench.podman_log(), Vec::<String>::new());
}

#[tokio::test]
async fn a_changed_package_is_refused_even_if_unsigned_ones_are_allowed() {
    let bench = ReproduceBench::new().await;
    let bytes = fs::read(bench.path("headers/kernel-devel.rpm")).unwrap();
    let mut changed = bytes.clone();
    let at = bytes.windows(16).rposition(|window| window == b"The Linux kernel").unwrap();
    changed[at] = b't';
    bench.serve(KERNEL_DEVEL, changed).await;
    for arguments in [&[][..], &["--allow-unsigned-headers"]] {
        bench.reproduce(arguments).await.with(1).explains(&["its header does not have the digest"]);
    }
    assert_eq!(bench.podman_log(), Vec::<String>::new());
}

#[tokio::test]
async fn a_build_uses_exactly_the_package_of_its_inputs() {
    let bench = ReproduceBench::new().await;
    let signer = fedora_key::fingerprint();
    let build = |inputs: String| {
        let bench = &bench;
        async move { bench.run(&["build", "--discard", "--inputs", &inputs]).await }
    };
    build(bench.inputs_2(Some(&signer))).await.with(0);
    build(bench.inputs_2(None)).await.with(1).explains(&["state another signer"]);
    build(bench.inputs_2(Some(&"4F".repeat(20)))).await.with(1).explains(&["state another signer"]);

    fs::remove_dir_all(bench.path("cache")).unwrap();
    bench.serve(KERNEL_DEVEL, unsigned(&bench)).await;
    let other = bench.run(&["build", "--discard", "--inputs", &bench.inputs_2(Some(&signer))]).await;
    other.with(1).explains(&["kernel-devel.rpm should have the digest"]);
}

#[tokio::test]
async fn a_package_that_upstream_deleted_is_read_from_the_repository_of_the_image() {
    let bench = ReproduceBench::new().await;
    let registry = Server::start(Options::default()).await;
    let (to, signer) = (registry.location(), fedora_key::fingerprint());
    let inputs = bench.inputs_2(Some(&signer));
    let store = format!("oci:{}", bench.path("built").display());
    let build =
        ["build", "--inputs", &inputs, "--to", &store, "--publish", &to, "--no-sign", "--format", "json"];
    let report = bench.run(&build).await.with(0).json();
    let image = report["published"]["image"]["reference"].as_str().unwrap();

    bench.lose(KERNEL_DEVEL).await;
    fs::remove_dir_all(bench.path("cache")).unwrap();
    // Without the repository it cannot be built any more.
    let lost = bench.run(&["build", "--inputs", &inputs, "--discard"]).await.with(1);
    lost.explains(&["which is not available"]);
    let again = bench.run(&["build", "--inputs", image, "--trust-inputs", "--discard"]).await.with(0);
    again.explains(&["is gone upstream, and is read from"]);
    fs::remove_dir_all(bench.path("cache")).unwrap();
    bench.run(&["reproduce", image, "--trust-inputs"]).await.with(0).says(&["reproduced, bit for bit"]);
}

#[tokio::test]
async fn planned_inputs_state_the_digest_and_the_signer() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = MockServer::start().await;
    let package = rpms::kernel_package(directory.path(), "kernel-devel", &[]);
    let mock = |bytes| {
        let answer = ResponseTemplate::new(200).set_body_bytes(bytes);
        Mock::given(path_regex(format!("^/updates/.*/kernel-devel-{KERNEL}.rpm$"))).respond_with(answer)
    };
    mock(fs::read(&package).unwrap()).up_to_n_times(2).mount(&upstream).await;
    fedora_key::sign(&package);
    mock(fs::read(&package).unwrap()).mount(&upstream).await;
    fedora_key::write_list(&directory.path().join("keys.toml"));
    let keys = fs::read_to_string(directory.path().join("keys.toml")).unwrap();
    let keys = FedoraKeys::parse("keys.toml", &keys).unwrap();

    let registry = Server::start(Options::default()).await;
    let image = registry.location();
    let image = image.trim_start_matches("docker://");
    let bench = ReproduceBench::new().await;
    super::inputs::published(&bench, &registry).await;
    let tag = format!("candidate-{}", bench.inputs.target().tag());
    let endpoints =
        Endpoints { fedora: upstream.uri(), builder_image: format!("{image}:{tag}"), ..Endpoints::default() };
    let http = Http::new(HttpOptions::default()).unwrap();
    let upstream =
        Upstream::new(http, endpoints, None, kmod_query::registry::NoCredentials, RetryPolicy::default())
            .unwrap();
    let inputs = &bench.inputs;
    let known = PartialInputs {
        template: inputs.template.clone(),
        target: inputs.target(),
        tarball: inputs.tarball.clone(),
        fedora: inputs.fedora,
        source_date_epoch: inputs.source_date_epoch,
        compression: inputs.compression,
        source_image: None,
        declared: None,
    };
    let policy = KernelPackagePolicy { keys, allow_unsigned: false };
    let resolve =
        async || resolve::inputs(&upstream, known.clone(), &policy, &directory.path().join("cache")).await;
    let refused = resolve().await.unwrap_err().to_string();
    assert!(refused.contains("its header has no OpenPGP signature"), "{refused}");
    let planned = resolve().await.unwrap().kernel_devel;
    let digest = kmod_builder::model::Digest::of(&fs::read(&package).unwrap());
    assert_eq!(planned.digest, Some(digest));
    assert_eq!(planned.signer.unwrap().as_str(), fedora_key::fingerprint());
}
