//! Koji's unsigned copies with the signature headers that it keeps beside them.

use std::fs;

use kmod_builder::model::Digest;
use serde_json::Value;

use super::bench::ReproduceBench;
use crate::fedora_key;
use crate::rpms;

const UNSIGNED: &str = "/kernel/6.17.8/300.fc43/x86_64/kernel-devel-6.17.8-300.fc43.x86_64.rpm";

struct Koji {
    bench: ReproduceBench,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

/// The first header of a package, with its padding.
fn signature_header(package: &[u8]) -> &[u8] {
    let number =
        |at: usize| package[at..at + 4].iter().fold(0_usize, |number, &byte| number << 8 | usize::from(byte));
    let (entries, data) = (number(96 + 8), number(96 + 12));
    &package[96..96 + 16 + 16 * entries + data.next_multiple_of(8)]
}

impl Koji {
    /// Koji has the unsigned copy.
    async fn new() -> Self {
        let bench = ReproduceBench::new().await;
        let directory = bench.path("koji");
        fs::create_dir_all(&directory).unwrap();
        let file = rpms::kernel_package(&directory, "kernel-devel", &[]);
        let unsigned = fs::read(&file).unwrap();
        fedora_key::sign(&file);
        let signed = fs::read(&file).unwrap();
        let signature = signature_header(&signed).to_vec();
        bench.serve(UNSIGNED, unsigned).await;
        Self { bench, signed, signature }
    }

    /// Koji has this signature, too.
    async fn has_signature(&self, signature: &[u8]) {
        let key = fedora_key::fingerprint()[32..].to_lowercase();
        let file = UNSIGNED.rsplit_once('/').unwrap().1;
        let path = format!("/kernel/6.17.8/300.fc43/data/sigcache/{key}/x86_64/{file}.sig");
        self.bench.serve(&path, signature.to_vec()).await;
    }

    fn inputs(&self, inputs: &str) -> String {
        let mut inputs: Value = serde_json::from_str(inputs).unwrap();
        let server = inputs["tarball"]["url"].as_str().unwrap().rsplit_once('/').unwrap().0.to_owned();
        inputs["kernel_devel"]["url"] = format!("{server}{UNSIGNED}").into();
        if inputs["schema"] == 2 {
            inputs["kernel_devel"]["digest"] = Digest::of(&self.signed).as_str().into();
        }
        inputs.to_string()
    }

    async fn build(&self, inputs: &str, more: &[&str]) -> crate::command_output::CommandOutput {
        let inputs = self.inputs(inputs);
        self.bench.run(&[&["build", "--discard", "--inputs", &inputs][..], more].concat()).await
    }
}

#[tokio::test]
async fn an_unsigned_copy_is_used_with_its_detached_signature() {
    let koji = Koji::new().await;
    let inputs = koji.bench.inputs.canonical_json();
    koji.build(&inputs, &[]).await.with(1).explains(&["its header has no OpenPGP signature"]);
    koji.has_signature(&koji.signature).await;
    koji.build(&inputs, &[]).await.with(0);
    // The inputs have the digest of the package with its signature, and so has the copy that is kept.
    let stated = koji.bench.inputs_2(Some(&fedora_key::fingerprint()));
    koji.build(&stated, &[]).await.with(0);
    let kept = koji.bench.path(&format!("cache/downloads/{}.rpm", Digest::of(&koji.signed).hex()));
    assert_eq!(fs::read(kept).unwrap(), koji.signed);
}

#[tokio::test]
async fn a_detached_signature_that_does_not_fit_is_refused_even_if_unsigned_packages_are_allowed() {
    let other = {
        let directory = tempfile::tempdir().unwrap();
        let file = rpms::kernel_core(directory.path());
        fedora_key::sign(&file);
        signature_header(&fs::read(file).unwrap()).to_vec()
    };
    for (signature, reason) in [
        (b"not found".to_vec(), "cannot be used: not an RPM: truncated headers"),
        (vec![0; 4096], "cannot be used: not an RPM: a header has no magic number"),
        (other, "its header does not have the digest"),
    ] {
        let koji = Koji::new().await;
        koji.has_signature(&signature).await;
        let inputs = koji.bench.inputs.canonical_json();
        koji.build(&inputs, &["--allow-unsigned-headers"]).await.with(1).explains(&[reason]);
        assert_eq!(koji.bench.podman_log(), Vec::<String>::new());
    }
}
