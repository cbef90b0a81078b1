//! What was pinned and is not there any more.

use super::bench::{KERNEL_DEVEL, ReproduceBench, TARBALL};

#[tokio::test]
async fn a_file_that_is_gone_is_named() {
    for (name, what) in [(TARBALL, "zfs-2.4.3.tar.gz"), (KERNEL_DEVEL, "kernel-devel-2.4.3-1.fc43.x86_64")] {
        let bench = ReproduceBench::new().await;
        bench.lose(name).await;
        let sentence = format!("the build is pinned to {what}, which cannot be had");
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
    let output = bench.reproduce_with(&[], &[("PODMAN_SAYS", &says)]).await.with(1);
    let error_text = output.error_text().replace(' ', "");
    assert!(error_text.contains(&format!("theimage{image}isgonefromitsregistry")), "{error_text}");
    let full = "no space left on device";
    let output = bench.reproduce_with(&[], &[("PODMAN_SAYS", full)]).await.with(1).explains(&[full]);
    assert!(!output.error_text().contains("is gone"), "{}", output.stderr);
}
