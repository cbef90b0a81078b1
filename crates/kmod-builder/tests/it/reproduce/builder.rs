//! The boot test looks for what the image does not bring along in the image in which it was built.

use super::bench::ReproduceBench;
use crate::command_output::write_program;
use crate::rpms::{self, KERNEL};

#[tokio::test]
async fn the_boot_test_uses_the_builder_image_of_the_inputs() {
    let zfs = crate::boot_test::with_tools(rpms::package("zfs", "x86_64"));
    let bench = ReproduceBench::of((vec![zfs], vec![rpms::kmod(KERNEL, &rpms::modules(KERNEL))])).await;
    let emulator = bench.path("bin/qemu-system-x86_64");
    write_program(&emulator, "#!/bin/sh\necho 'QEMU emulator version 0.0'\n");
    let directory = bench.directory.path();
    let [core, modules] = [rpms::kernel_core(directory), rpms::kernel_modules(directory)]
        .map(|path| path.to_str().unwrap().to_owned());

    let says = "Error: initializing source: reading manifest sha256:0 in registry.example.org/fedora: manifest unknown";
    let arguments = ["boot-test", &bench.store(), "--kernel-core", &core, "--kernel-modules", &modules];
    let output = bench.run_with(&arguments, &[("PODMAN_SAYS", says)]).await.with(1);
    let error_text = output.error_text().replace(' ', "");
    let sentence = format!("theimage{}isgonefromitsregistry", bench.inputs.builder_image);
    assert!(error_text.contains(&sentence), "{}", output.stderr);
}
