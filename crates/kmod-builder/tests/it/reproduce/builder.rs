//! The boot test looks for what the image does not bring along in the image in which it was built.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::bench::ReproduceBench;
use crate::rpms::{self, KERNEL};

#[tokio::test]
async fn the_boot_test_uses_the_builder_image_of_the_inputs() {
    let zfs = crate::boot_test::with_tools(rpms::package("zfs", "x86_64"));
    let bench = ReproduceBench::of((vec![zfs], vec![rpms::kmod(KERNEL, &rpms::modules(KERNEL))])).await;
    let emulator = bench.path("bin/qemu-system-x86_64");
    fs::write(&emulator, "#!/bin/sh\necho 'QEMU emulator version 0.0'\n").unwrap();
    fs::set_permissions(&emulator, fs::Permissions::from_mode(0o755)).unwrap();
    let core = rpms::kernel_core(bench.directory.path());
    let modules = rpms::kernel_modules(bench.directory.path());
    let [core, modules] = [core, modules].map(|path| path.to_str().unwrap().to_owned());

    let says = "Error: initializing source: reading manifest sha256:0 in registry.example.org/fedora: manifest unknown";
    let arguments = ["boot-test", &bench.store(), "--kernel-core", &core, "--kernel-modules", &modules];
    let command_output = bench.run_with(&arguments, &[("PODMAN_SAYS", says)]).await.with(1);
    let error_text = command_output.error_text().replace(' ', "");
    let sentence = format!("theimage{}isgonefromitsregistry", bench.inputs.builder_image);
    assert!(error_text.contains(&sentence), "{}", command_output.stderr);
}
