//! The boot test looks for what the image does not bring along in the image in which it was built.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rpm::{BuildConfig, CompressionType, FileOptions, PackageBuilder};

use super::bench::Bench;
use crate::rpms::{self, KERNEL};

fn kernel_package(bench: &Bench, name: &str, files: &[(&str, Vec<u8>)]) -> String {
    let (version, release) = KERNEL.strip_suffix(".x86_64").unwrap().split_once('-').unwrap();
    let mut builder = PackageBuilder::new(name, version, "GPL-2.0-only", "x86_64", "The Linux kernel");
    builder.using_config(BuildConfig::v4().compression(CompressionType::None)).release(release);
    for (path, bytes) in files {
        let options = FileOptions::new(format!("/lib/modules/{KERNEL}/{path}"));
        builder.with_file_contents(bytes.clone(), options).unwrap();
    }
    let file = bench.path(&format!("{name}.rpm"));
    builder.build().unwrap().write(&mut fs::File::create(&file).unwrap()).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_boot_test_uses_the_builder_image_of_the_inputs() {
    let script = |path: &str| (path.to_owned(), b"#!/bin/sh\n".to_vec());
    let programs = [script("/usr/sbin/zpool"), script("/usr/sbin/zfs")];
    let zfs = rpms::with_files(rpms::package("zfs", "x86_64"), &programs);
    let bench = Bench::of((vec![zfs], vec![rpms::kmod(KERNEL, &rpms::modules(KERNEL))])).await;
    let emulator = bench.path("bin/qemu-system-x86_64");
    fs::write(&emulator, "#!/bin/sh\necho 'QEMU emulator version 0.0'\n").unwrap();
    fs::set_permissions(&emulator, fs::Permissions::from_mode(0o755)).unwrap();
    let core = kernel_package(&bench, "kernel-core", &[("vmlinuz", b"kernel".to_vec())]);
    let drivers =
        ["virtio_pci", "virtio_blk"].map(|name| (format!("kernel/{name}.ko"), rpms::module_file(62, KERNEL)));
    let drivers = drivers.each_ref().map(|(path, bytes)| (path.as_str(), bytes.clone()));
    let modules = kernel_package(&bench, "kernel-modules-core", &drivers);

    let says = "Error: initializing source: reading manifest sha256:0 in registry.example.org/fedora: manifest unknown";
    let arguments = ["boot-test", &bench.store(), "--kernel-core", &core, "--kernel-modules", &modules];
    let command_output = bench.run_with(&arguments, &[("PODMAN_SAYS", says)]).await.with(1);
    let error_text = command_output.error_text().replace(' ', "");
    let sentence = format!("theimage{}isgonefromitsregistry", bench.inputs.builder_image);
    assert!(error_text.contains(&sentence), "{}", command_output.stderr);
}
