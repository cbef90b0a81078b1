//! What a command leaves behind: its record, and its outputs.

use serde_json::Value;

use super::{Program, read};

const KERNEL: &str = "6.17.8-300.fc43.x86_64";

/// The newest record whose file name begins so.
fn record(program: &Program, beginning: &str) -> Value {
    let entries = std::fs::read_dir(program.path("records")).unwrap().map(Result::unwrap);
    let own = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning));
    let newest = own.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap()).unwrap();
    serde_json::from_str(&read(&newest.path())).unwrap()
}

#[tokio::test]
async fn every_command_records_how_it_ended() {
    let mut program = Program::new();
    program.set("ZFS_KMODS_RECORD", "records");
    program.set("ZFS_KMODS_TARGET", "some-target");
    assert_eq!(program.run(&["check", "--zfs", "2.4.3", "--kernel", KERNEL]).await.status, Some(0));
    let good = record(&program, "check.some-target.");
    assert_eq!(good["status"], "done");
    assert_eq!(good["schema"]["name"], "command-record", "{good}");
    assert_eq!(good["arguments"][0], "check");

    assert_eq!(program.run(&["check", "--zfs", "2.1.16", "--kernel", KERNEL]).await.status, Some(3));
    assert_eq!(record(&program, "check.some-target.")["status"], "refused");

    // Nobody listens there.
    program.set("ZFS_KMODS_COREOS_URL", "http://127.0.0.1:9");
    assert_eq!(program.run(&["check", "--zfs", "2.4.3"]).await.status, Some(1));
    let failed = record(&program, "check.some-target.");
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["failure"]["kind"], "upstream", "{failed}");

    assert_eq!(program.run(&["verify", "oci:nowhere"]).await.status, Some(1));
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
    // What a person asks for on a branch is no way around that.
    program.set("ZFS_KMODS_CHANNEL", "stable");
    program.set("GITHUB_REF_NAME", "feature/x");
    let command_output = program.run(&["plan", "--inputs", &inputs.to_string()]).await;
    assert_eq!(command_output.status, Some(0), "{command_output:?}");
    let text = read(&file);
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap();
    assert_eq!(line("build"), "true");
    let matrix: Value = serde_json::from_str(line("matrix")).unwrap();
    let job = &matrix["include"][0];
    assert_eq!(job["inputs"], inputs);
    assert_eq!(job["runner"], "ubuntu-24.04-arm");
    assert_eq!(job["channel"], "beta-feature/x");
    // An input of a workflow that was left empty is an empty variable: upstream is asked, which is not there.
    program.set("ZFS_KMODS_INPUTS", "");
    program.set("ZFS_KMODS_LOCK", "");
    program.set("ZFS_KMODS_COREOS_URL", "http://127.0.0.1:9");
    program.set("GITHUB_API_URL", "http://127.0.0.1:9");
    assert_eq!(program.run(&["plan"]).await.status, Some(1));
}
