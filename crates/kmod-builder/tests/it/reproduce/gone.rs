use super::bench::{KERNEL_DEVEL, ReproduceBench, TARBALL};
use crate::command_output::write_program;
use crate::rpms::{self, KERNEL};

#[tokio::test]
async fn a_file_that_is_gone_is_named() {
    for (name, what) in [(TARBALL, "zfs-2.4.3.tar.gz"), (KERNEL_DEVEL, "kernel-devel-6.17.8-300.fc43.x86_64")]
    {
        let bench = ReproduceBench::new().await;
        bench.lose(name).await;
        let sentence = format!("the build is pinned to {what}, which is not available");
        let sentences = [&sentence, "404 Not Found", "may be gone upstream"];
        let output = bench.reproduce(&[]).await.with(1).explains(&sentences);
        assert_eq!((output.stdout.as_str(), bench.podman_log().len()), ("", 0));
    }
}

#[tokio::test]
async fn a_builder_image_that_is_gone_is_named() {
    let bench = ReproduceBench::new().await;
    let image = bench.inputs.builder_image.to_string();
    let says = format!(
        "Error: creating build container: initializing source docker://{image}: reading manifest sha256:0 in \
         registry.example.org/fedora: manifest unknown"
    );
    bench.podman_says(&says);
    let output = bench.reproduce(&[]).await.with(1);
    let error_text = output.error_text().replace(' ', "");
    assert!(error_text.contains(&format!("theimage{image}isgonefromitsregistry")), "{error_text}");
    let full = "no space left on device";
    bench.podman_says(full);
    let output = bench.reproduce(&[]).await.with(1).explains(&[full]);
    assert!(!output.error_text().contains("is gone"), "{}", output.stderr);
}

#[tokio::test]
async fn the_boot_test_uses_the_builder_image_of_the_inputs() {
    let zfs = crate::boot_test::with_tools(rpms::package("zfs", "x86_64"));
    let bench = ReproduceBench::of((vec![zfs], vec![rpms::kmod(KERNEL, &rpms::modules(KERNEL))])).await;
    let emulator = bench.path("bin/qemu-system-x86_64");
    write_program(&emulator, "#!/bin/sh\necho 'QEMU emulator version 0.0'\n");
    let directory = bench.path("");
    let [core, modules] = [rpms::kernel_core(&directory), rpms::kernel_modules(&directory)]
        .map(|path| path.to_str().unwrap().to_owned());

    let says = "Error: initializing source: reading manifest sha256:0 in registry.example.org/fedora: manifest unknown";
    let arguments = ["boot-test", &bench.store(), "--kernel-core", &core, "--kernel-modules", &modules];
    bench.podman_says(says);
    let output = bench.run(&arguments).await.with(1);
    let error_text = output.error_text().replace(' ', "");
    let sentence = format!("theimage{}isgonefromitsregistry", bench.inputs.builder_image);
    assert!(error_text.contains(&sentence), "{}", output.stderr);
}
