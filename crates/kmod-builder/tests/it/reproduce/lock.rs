//! Inputs that are given instead of planned: what contradicts the matrix is neither built nor planned for users.

use std::fs;

use kmod_builder::model::Digest;
use serde_json::{Value, json};

use super::bench::{KERNEL_DEVEL, ReproduceBench};
use crate::fedora_key;
use crate::images::matrix_row;
use crate::rpms;

async fn planned(bench: &ReproduceBench, inputs: &str) -> Value {
    let plan = bench.run(&["plan", "--inputs", inputs, "--format", "json"]).await.with(0).json();
    plan["targets"][0].clone()
}

fn contradict(bench: &ReproduceBench) {
    fs::write(bench.path("zfs-kmods.toml"), matrix_row(&Digest::of(b"another"))).unwrap();
}

#[tokio::test]
async fn a_lock_with_another_tarball_than_the_matrix_is_never_built() {
    let bench = ReproduceBench::new().await;
    let inputs = bench.inputs_2(Some(&fedora_key::fingerprint()));
    contradict(&bench);
    let store = bench.store();
    // Nor is the image published that is in the directory already.
    for arguments in [
        &["build", "--inputs", &inputs, "--discard"][..],
        &["build", "--inputs", &inputs, "--to", &store],
        &["reproduce", &store],
    ] {
        bench.run(arguments).await.with(1).explains(&[
            "nothing is built from these inputs",
            "and the compatibility matrix says",
            "a released tarball never changes",
        ]);
    }
    assert_eq!(bench.podman_log(), Vec::<String>::new());
}

#[tokio::test]
async fn a_lock_that_is_not_acceptable_is_planned_for_a_branch_only() {
    let mut bench = ReproduceBench::new().await;
    let good = bench.inputs_2(Some(&fedora_key::fingerprint()));
    assert_eq!(planned(&bench, &good).await["steps"], json!(["build", "boot-test", "promote"]));
    let change = |pointer: &str, value: &str| {
        let mut inputs: Value = serde_json::from_str(&good).unwrap();
        *inputs.pointer_mut(pointer).unwrap() = value.into();
        inputs.to_string()
    };
    let other = Digest::of(b"another");
    let locks = [
        (change("/tarball/digest", other.as_str()), "the compatibility matrix says"),
        (
            change("/builder_image", &format!("quay.io/evil/fedora@{other}")),
            "not on the list of allowed images",
        ),
        (change("/template", other.as_str()), "of a Containerfile.in"),
        (change("/kernel_devel/signer", &"4F".repeat(20)), "not a pinned key of Fedora 43"),
        (change("/zfs", "2.4.90"), "has no row"),
        (bench.inputs_2(None), "not signed by Fedora"),
        (bench.inputs.canonical_json(), "have no digest of"),
    ];
    for (lock, reason) in &locks {
        let target = planned(&bench, lock).await;
        assert_eq!((&target["decision"], &target["steps"]), (&json!("unacceptable-inputs"), &Value::Null));
        let text = target["reason"].as_str().unwrap();
        assert!(text.contains(reason) && text.contains("on a branch"), "{text}");
    }
    bench.set("GITHUB_REF_NAME", "fix/scrub");
    for (lock, reason) in &locks {
        let target = planned(&bench, lock).await;
        let text = target["reason"].as_str().unwrap();
        assert_eq!(target["decision"], "build", "{text}");
        assert!(text.contains("for this branch only") && text.contains(reason), "{text}");
    }
}

#[tokio::test]
async fn inputs_that_cannot_state_an_unsigned_package_are_not_built_with_one() {
    let bench = ReproduceBench::new().await;
    let directory = bench.path("unsigned");
    fs::create_dir_all(&directory).unwrap();
    let unsigned = fs::read(rpms::kernel_package(&directory, "kernel-devel", &[])).unwrap();
    bench.serve(KERNEL_DEVEL, unsigned).await;
    let inputs = bench.inputs.canonical_json();
    let build = ["build", "--discard", "--allow-unsigned-headers", "--inputs", &inputs];
    bench.run(&build).await.with(1).explains(&["its header has no OpenPGP signature"]);
    assert_eq!(bench.podman_log(), Vec::<String>::new());
}
