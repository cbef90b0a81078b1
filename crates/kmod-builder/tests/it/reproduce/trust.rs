//! An image that was signed, and who is believed.

use std::fs;

use super::bench::ReproduceBench;
use crate::registry_server::{Options, Server};

/// What a second publication may cost, beside the question how to sign in.
const REQUESTS: usize = 12;
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/model/evidence/signing_key/cosign-3.1.1");

#[tokio::test]
async fn signed_inputs_are_read_from_the_provenance() {
    let bench = ReproduceBench::new().await;
    let server = Server::start(Options { page: 100, ..Options::default() }).await;
    let to = format!("docker://{}", server.repository());
    let key = format!("{FIXTURE}.key");
    let publish = ["publish", "--from", &bench.store(), "--to", &to, "--key", &key, "--format", "json"];
    let password = [("COSIGN_PASSWORD", "open-sesame")];
    bench.run_with(&publish, &password).await.with(0);
    server.forget_log();
    let second = bench.run_with(&publish, &password).await.with(0).json();
    assert_eq!(second["steps"], 0, "what is attached is attached once");
    let requests: Vec<_> = server.log().into_iter().filter(|line| line != "GET /v2/").collect();
    assert!(requests.len() <= REQUESTS, "{requests:#?}");

    fs::remove_dir_all(bench.path("images")).unwrap();
    let image = format!("{to}@{}", bench.digest);
    let trusted = ["reproduce", &image, "--public-key", &format!("{FIXTURE}.pub")];
    bench.run(&trusted).await.with(0).says(&["reproduced, bit for bit"]);
    // The provenance is enough for who trusts its signer, and the attached inputs for who trusts the digest.
    server.forget_blob(&bench.inputs.digest());
    bench.run(&trusted).await.with(0);
    bench.run(&["reproduce", &image]).await.with(1);
    let other = bench.run(&["reproduce", &image, "--identity-repo", "owner/zfs-kmods"]).await;
    other.with(1).explains(&["does not hold"]);
}
