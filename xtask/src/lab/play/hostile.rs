//! What a hostile image, mirror or lock can try: each is refused with an exit status and a sentence.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Context as _, Result};
use crate::lab::cache;
use crate::lab::environment;
use crate::lab::make::fedora;
use crate::lab::make::kernel::Kernels;
use crate::lab::make::openzfs;
use crate::lab::oci::{LabLayout, layer_descriptor};
use crate::lab::play::bench;
use crate::lab::play::program::Program;
use crate::report::Report;

/// MiB. The list of packages of a good image needs about 20.
const MEMORY: u64 = 128;
/// Below the HTTP server's root.
const UNSIGNED: &str = "unsigned";

pub(crate) fn all(report: &mut Report, program: &Program, run: &Path, kernels: &Kernels) {
    let mut inputs = Value::Null;
    let planned = report.step("inputs to change", || {
        let plan = ["plan", "--streams", "stable", "--arches", "x86_64", "--format", "json"];
        inputs = program.done(&plan)?.json()?["targets"][0]["inputs"].take();
        let tarball = inputs["tarball"]["digest"].as_str().context("the plan has no inputs")?;
        Ok(tarball.to_owned())
    });
    if planned {
        report.step("another builder image", || {
            let mut hostile = inputs.clone();
            hostile["builder_image"] =
                json!(format!("{}/hostile@sha256:{}", environment::HTTP, "0".repeat(64)));
            refused(program, &hostile, "which is not on the list of allowed images")
        });
        report.step("a path as a package's name", || {
            let outside = program.path("../outside");
            let mut hostile = inputs.clone();
            hostile["kernel_devel"]["nevra"] = json!(outside.display().to_string());
            let remark = refused(program, &hostile, "is not the name of a package")?;
            if outside.with_extension("rpm").exists() || outside.exists() {
                return Err("a file was written outside of the workspace".into());
            }
            Ok(remark)
        });
        report.step("a changed tarball in a lock", || changed_tarball(program, run, &inputs));
        report.step("a lock with it for users", || lock_for_users(program, &inputs));
    }
    report.step("an unsigned kernel package", || unsigned(program, run, kernels));
    report.step("a layer that needs gigabytes", || bomb(program));
}

/// Exit status 1, with the sentence.
fn refused(program: &Program, inputs: &Value, sentence: &str) -> Result<String> {
    let inputs = inputs.to_string();
    let output = program.run(&["build", "--discard", "--inputs", &inputs])?;
    output.expect(1)?.explains(&[sentence]).map(|_| format!("exit status 1, `{sentence}`"))
}

/// A tarball with one more byte, under its own checksum.
fn changed_tarball(program: &Program, run: &Path, inputs: &Value) -> Result<String> {
    let name = format!("www/openzfs/releases/download/zfs-{0}/zfs-{0}.tar.gz", openzfs::VERSION);
    let mut content = fs::read(run.join(name))?;
    content.push(0);
    fs::write(run.join("www/changed.tar.gz"), &content)?;
    let mut hostile = inputs.clone();
    hostile["tarball"] = json!({
        "digest": format!("sha256:{}", cache::digest(&content)),
        "url": environment::url("/changed.tar.gz"),
    });
    refused(program, &hostile, "and the compatibility matrix says")
}

/// Such a lock is not planned for users.
fn lock_for_users(program: &Program, inputs: &Value) -> Result<String> {
    let mut hostile = inputs.clone();
    hostile["tarball"]["digest"] = json!(format!("sha256:{}", "1".repeat(64)));
    let plan = program.done(&["plan", "--inputs", &hostile.to_string(), "--format", "json"])?.json()?;
    let target = &plan["targets"][0];
    if target["decision"] != "unacceptable-inputs" || !target["steps"].is_null() {
        return Err(format!("the lock is planned: {target}").into());
    }
    Ok("exit status 0, `unacceptable-inputs`, no step".to_owned())
}

/// A mirror whose package nobody signed.
fn unsigned(program: &Program, run: &Path, kernels: &Kernels) -> Result<String> {
    let package = kernels.rpm("kernel-devel", &kernels.current);
    let directory = run.join("www").join(UNSIGNED).join(fedora::UPDATES).join("Packages/k");
    fs::create_dir_all(&directory)?;
    fs::copy(&package, directory.join(package.file_name().context("the package has no name")?))?;
    let mirror = [("ZFS_KMODS_FEDORA_URL".to_owned(), environment::url(&format!("/{UNSIGNED}")))];
    let arguments = ["build", "--kernel", &kernels.current, "--to", "oci:of-an-unsigned-package"];
    let sentence = "its header has no OpenPGP signature";
    program.run_with(&arguments, &mirror)?.expect(1)?.explains(&[sentence])?;
    Ok(format!("exit status 1, `{sentence}`"))
}

/// 4096 entries of an RPM header that share one string of 8 MiB.
fn bomb(program: &Program) -> Result<String> {
    const ENTRIES: u32 = 4096;
    /// The longest one that a header may have.
    const TEXT: u32 = (8 << 20) - 1;
    const HEADER: [u8; 8] = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    let mut rpm = vec![0; 96];
    rpm[..4].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb]);
    // An empty signature header.
    rpm.extend([&HEADER[..], &[0; 8], &HEADER].concat());
    rpm.extend([ENTRIES.to_be_bytes(), (TEXT + 1).to_be_bytes()].concat());
    // A string (type 6) at the begin of the data.
    rpm.extend((0..ENTRIES).flat_map(|tag| [1000 + tag, 6, 0, 1]).flat_map(u32::to_be_bytes));
    rpm.extend(vec![b'a'; TEXT as usize]);
    rpm.push(0);
    let (files, store) = (tempfile::tempdir()?, program.path("bomb"));
    fs::write(files.path().join("kmod-zfs.rpm"), rpm)?;
    let layout = LabLayout::create(&store)?;
    let layer = layout.add_files(files.path())?;
    let labels = json!({ "io.github.zfs-kmods.schema": "1" });
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Labels": labels },
        "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json" },
        "layers": [layer_descriptor(&layer)],
    });
    layout.add_manifest("hostile", &config, manifest)?;
    let image = format!("oci:{}:hostile", store.display());
    let sentence = "a header points to data that it does not have";
    program.run(&["list-rpms", &image])?.expect(1)?.explains(&[sentence])?;
    let (used, _) = bench::measured(program.command_of(&["list-rpms", &image]))?;
    let (mib, kib) = (used.memory.div_ceil(1024), layer.size.div_ceil(1024));
    if mib > MEMORY {
        return Err(format!("a layer of {kib} KiB needs {mib} MiB of memory").into());
    }
    Ok(format!("{kib} KiB: exit status 1 with {mib} MiB of memory, `{sentence}`"))
}
