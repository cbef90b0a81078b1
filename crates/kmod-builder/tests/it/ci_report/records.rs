//! The record and the outputs that a command writes.

use std::fs;

use serde_json::Value;

use crate::command_output::Program;

const KERNEL: &str = "6.17.8-300.fc43.x86_64";

/// The newest record whose file name begins so.
fn record(program: &Program, beginning: &str) -> Value {
    let entries = fs::read_dir(program.path("records")).unwrap().map(Result::unwrap);
    let own = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning));
    let newest = own.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap()).unwrap();
    serde_json::from_slice(&fs::read(newest.path()).unwrap()).unwrap()
}

#[tokio::test]
async fn every_command_records_how_it_ended() {
    let mut program = Program::new();
    program.set("ZFS_KMODS_RECORD", "records");
    program.set("ZFS_KMODS_TARGET", "some-target");
    program.run(&["check", "--zfs", "2.4.3", "--kernel", KERNEL]).await.with(0);
    let good = record(&program, "check.some-target.");
    assert_eq!(good["status"], "done");
    assert_eq!(good["schema"]["name"], "command-record", "{good}");
    assert_eq!(good["arguments"][0], "check");

    program.run(&["check", "--zfs", "2.1.16", "--kernel", KERNEL]).await.with(3);
    assert_eq!(record(&program, "check.some-target.")["status"], "refused");

    program.set("ZFS_KMODS_COREOS_URL", "http://127.0.0.1:9");
    program.run(&["check", "--zfs", "2.4.3"]).await.with(1);
    let failed = record(&program, "check.some-target.");
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["failure"]["kind"], "upstream", "{failed}");

    program.run(&["verify", "oci:nowhere"]).await.with(1);
    assert_eq!(record(&program, "verify.some-target.")["failure"]["kind"], "other");
}

#[tokio::test]
async fn a_plan_writes_the_matrix_for_later_jobs() {
    let inputs = serde_json::json!({
        "schema": 1, "tool": "0.1.0", "template": format!("sha256:{}", "0".repeat(64)), "zfs": "2.4.3",
        "tarball": {"url": "https://example.org/z.tar.gz", "digest": format!("sha256:{}", "1".repeat(64))},
        "kernel": "6.17.8-300.fc43.aarch64", "arch": "aarch64",
        "kernel_devel": {"nevra": "kernel-devel-6.17.8-300.fc43.aarch64", "url": "https://example.org/k.rpm"},
        "builder_image": format!("registry.example.org/fedora@sha256:{}", "2".repeat(64)), "fedora": "43",
        "source_date_epoch": 1, "compression": "zstd",
    });
    let mut program = Program::new();
    let file = program.path("output");
    program.set("GITHUB_OUTPUT", file.display().to_string());
    // On a branch, a channel of a stream is not possible.
    program.set("ZFS_KMODS_CHANNEL", "stable");
    program.set("GITHUB_REF_NAME", "feature/x");
    program.run(&["plan", "--inputs", &inputs.to_string()]).await.with(0);
    let text = fs::read_to_string(&file).unwrap();
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap();
    assert_eq!(line("build"), "true");
    let matrix: Value = serde_json::from_str(line("matrix")).unwrap();
    let job = &matrix["include"][0];
    assert_eq!(job["inputs"], inputs);
    assert_eq!(job["runner"], "ubuntu-24.04-arm");
    assert_eq!(job["channel"], "beta-feature/x");
    // An empty input of a workflow is an empty variable; the plan then needs upstream, which does not answer.
    program.set("ZFS_KMODS_INPUTS", "");
    program.set("ZFS_KMODS_LOCK", "");
    program.set("ZFS_KMODS_COREOS_URL", "http://127.0.0.1:9");
    program.set("GITHUB_API_URL", "http://127.0.0.1:9");
    program.run(&["plan"]).await.with(1);
}
