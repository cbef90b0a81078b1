//! What was pinned and is not there any more.

use super::bench::{Bench, KERNEL_DEVEL, TARBALL};

#[tokio::test]
async fn a_file_that_is_gone_is_named() {
    for (name, what) in [(TARBALL, "zfs-2.4.3.tar.gz"), (KERNEL_DEVEL, "kernel-devel-2.4.3-1.fc43.x86_64")] {
        let bench = Bench::new().await;
        bench.lose(name).await;
        let ended = bench.reproduce(&[]).await.with(1);
        let oci_error = ended.oci_error();
        let sentence = format!("the build is pinned to {what}, which cannot be had");
        assert!(oci_error.contains(&sentence) && oci_error.contains("404 Not Found"), "{oci_error}");
        assert!(oci_error.contains("may be gone upstream"), "it says what to do: {oci_error}");
        assert_eq!((ended.stdout.as_str(), bench.podman_log().len()), ("", 0));
    }
}

#[tokio::test]
async fn a_builder_image_that_is_gone_is_named() {
    let bench = Bench::new().await;
    let image = bench.inputs.builder_image.to_string();
    let says = format!(
        "Error: creating build container: initializing source docker://{image}: reading manifest sha256:0 in \
         registry.example.org/fedora: manifest unknown"
    );
    let ended = bench.reproduce_with(&[], &[("PODMAN_SAYS", &says)]).await.with(1);
    let oci_error = ended.oci_error().replace(' ', "");
    assert!(oci_error.contains(&format!("theimage{image}isgonefromitsregistry")), "{}", ended.stderr);
    let ended = bench.reproduce_with(&[], &[("PODMAN_SAYS", "no space left on device")]).await.with(1);
    assert!(ended.oci_error().contains("no space left on device"), "{}", ended.stderr);
    assert!(!ended.oci_error().contains("is gone"), "{}", ended.stderr);
}
