//! `matrix sync` against a fake GitHub: only a release about which upstream's statements agree gets a row.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kmod_builder::model::Digest;
use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, EncryptionCaps, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
    SignedSecretKey,
};
use pgp::types::{KeyDetails as _, Password};
use serde_json::{Value, json};
use tempfile::TempDir;
use wiremock::matchers::{path, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::command_output::{CommandOutput, program};

const MATRIX: &str = r#"# Rows of the test.
[policy]
line = "2.4"  # followed
unknown_release = "declared"

[[release]]
version = "2.4.3"
linux_min = "4.18"
linux_max = "7.1"
source = "https://example.org/2.4.3"

# Known not to work.
[[exclude]]
zfs = "2.4.3"
kernel = "6.19"
reason = "pools are damaged"
source = "https://example.org/issues/2"
"#;

struct MatrixBench {
    directory: TempDir,
    upstream: MockServer,
    manager: SignedSecretKey,
    releases: Vec<Value>,
}

fn generate() -> SignedSecretKey {
    let mut parameters = SecretKeyParamsBuilder::default();
    parameters
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .can_encrypt(EncryptionCaps::None)
        .primary_user_id("Release manager <a@example.org>".into());
    parameters.build().unwrap().generate(rand::thread_rng()).unwrap()
}

fn fingerprint(key: &SignedSecretKey) -> String {
    format!("{:X}", key.fingerprint())
}

fn sign(key: &SignedSecretKey, text: &str) -> String {
    let signed = CleartextSignedMessage::sign(rand::thread_rng(), text, &key.primary_key, &Password::empty());
    signed.unwrap().to_armored_string(ArmorOptions::default()).unwrap()
}

fn meta(version: &str) -> String {
    format!("Meta: 1\nName: zfs\nVersion: {version}\nRelease: 1\nLinux-Maximum: 7.2\nLinux-Minimum: 4.18\n")
}

fn tarball(directory: &str, meta: &str) -> Vec<u8> {
    let compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(compressed);
    let mut header = tar::Header::new_gnu();
    header.set_size(meta.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, format!("{directory}/META"), meta.as_bytes()).unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

impl MatrixBench {
    async fn new() -> Self {
        let bench = Self {
            directory: tempfile::tempdir().unwrap(),
            upstream: MockServer::start().await,
            manager: generate(),
            releases: Vec::new(),
        };
        fs::write(bench.path("zfs.toml"), MATRIX).unwrap();
        let keys = format!(
            "[[key]]\nname = \"Manager\"\nfingerprint = \"{}\"\nsource = \"https://example.org/\"\n",
            fingerprint(&bench.manager)
        );
        fs::write(bench.path("keys.toml"), keys).unwrap();
        let key = SignedPublicKey::from(bench.manager.clone());
        let at = format!("/keys/{}", fingerprint(&bench.manager));
        bench.serve(&at, key.to_armored_string(ArmorOptions::default()).unwrap()).await;
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn serve(&self, at: &str, content: impl Into<Vec<u8>>) {
        let response = ResponseTemplate::new(200).set_body_bytes(content.into());
        Mock::given(path(at)).respond_with(response).mount(&self.upstream).await;
    }

    /// A release whose tarball has that META, with the signed checksum that `signed` makes of the right line.
    async fn release(&mut self, version: &str, tarball_meta: &str, signed: impl FnOnce(&str) -> String) {
        let (tag, content) = (format!("zfs-{version}"), tarball(&format!("zfs-{version}"), tarball_meta));
        let digest = Digest::of(&content);
        let tag_meta = json!({ "content": STANDARD.encode(meta(version)) });
        Mock::given(path("/repos/openzfs/zfs/contents/META"))
            .and(wiremock::matchers::query_param("ref", &tag))
            .respond_with(ResponseTemplate::new(200).set_body_json(tag_meta))
            .mount(&self.upstream)
            .await;
        let checksum = signed(&format!("{}  {tag}.tar.gz\n", digest.hex()));
        self.serve(&format!("/download/{tag}.sha256.asc"), checksum).await;
        self.releases.push(json!({
            "tag_name": tag, "draft": false, "prerelease": false, "published_at": "2026-11-01T10:00:00Z",
            "assets": [{"name": format!("{tag}.tar.gz"), "state": "uploaded", "size": content.len(),
                "digest": digest, "browser_download_url": format!("{}/download/{tag}.tar.gz", self.upstream.uri())}],
        }));
        self.serve(&format!("/download/{tag}.tar.gz"), content).await;
    }

    /// A release that upstream signed.
    async fn good(&mut self, version: &str) {
        let manager = self.manager.clone();
        self.release(version, &meta(version), |text| sign(&manager, text)).await;
    }

    async fn publish(&self) {
        let response = ResponseTemplate::new(200).set_body_json(&self.releases);
        Mock::given(path("/repos/openzfs/zfs/releases")).respond_with(response).mount(&self.upstream).await;
    }

    async fn sync(&self, arguments: &[&str]) -> CommandOutput {
        let mut command = program(self.directory.path());
        command
            .args(["matrix", "sync", "--format", "json"])
            .args(arguments)
            .env("GITHUB_API_URL", self.upstream.uri())
            .env("ZFS_KMODS_OPENZFS_KEY_URL", format!("{}/keys/{{fingerprint}}", self.upstream.uri()))
            .env("ZFS_KMODS_OPENZFS_KEYS", self.path("keys.toml"));
        command.current_dir(self.directory.path()).output().await.unwrap().into()
    }

    fn matrix(&self) -> String {
        fs::read_to_string(self.path("zfs.toml")).unwrap()
    }

    async fn requests(&self, at: &str) -> usize {
        let requests = self.upstream.received_requests().await.unwrap();
        requests.iter().filter(|request| request.url.path() == at).count()
    }
}

/// The matrix with this row after that of 2.4.3.
fn with_row(version: &str, sha256: &str) -> String {
    let row = format!(
        "\n[[release]]\nversion = \"{version}\"\nlinux_min = \"4.18\"\nlinux_max = \"7.2\"\nsha256 = \"{sha256}\"\n\
         source = \"https://github.com/openzfs/zfs/blob/zfs-{version}/META\"\n"
    );
    let (head, tail) = MATRIX.split_at(MATRIX.find("\n# Known").unwrap());
    [head, &row, tail].concat()
}

#[tokio::test]
async fn only_the_release_about_which_everything_agrees_gets_a_row() {
    let mut bench = MatrixBench::new().await;
    let (manager, stranger) = (bench.manager.clone(), generate());
    bench.good("2.4.4").await;
    bench.release("2.4.5", &meta("99.99"), |text| sign(&manager, text)).await;
    bench.release("2.4.6", &meta("2.4.6"), |text| sign(&manager, text).replace(".6.tar", ".7.tar")).await;
    bench.release("2.4.7", &meta("2.4.7"), |text| sign(&stranger, text)).await;
    bench.publish().await;

    let output = bench.sync(&["--write", "zfs.toml"]).await.with(3);
    let report = output.json();
    let good = &report["rows"][0];
    assert_eq!((report["rows"].as_array().unwrap().len(), &good["version"]), (1, &json!("2.4.4")));
    assert_eq!(good["signer"], fingerprint(&bench.manager));
    assert_eq!(bench.matrix(), with_row("2.4.4", good["sha256"].as_str().unwrap()), "the rest is unchanged");

    let reasons: Vec<_> =
        report["disagreements"].as_array().unwrap().iter().map(|row| &row["reasons"]).collect();
    let expected = [
        "META in the tarball: META is not that of a released version: \
         `99.99` is not a released OpenZFS version (expected e.g. `2.4.0`)"
            .to_owned(),
        format!("the signature by {} is not valid", fingerprint(&bench.manager)),
        format!("the checksum is signed by {}, which is not a pinned key", fingerprint(&stranger)),
    ];
    assert_eq!(reasons, expected.map(|reason| json!([reason])).iter().collect::<Vec<_>>());

    // Again: nothing is left to add.
    let again = bench.sync(&["--write", "zfs.toml"]).await.with(3).json();
    assert_eq!(again["rows"], json!([]));
    assert_eq!(bench.matrix(), with_row("2.4.4", good["sha256"].as_str().unwrap()));
    let at = format!("/keys/{}", fingerprint(&bench.manager));
    assert_eq!(bench.requests(&at).await, 1, "the key is fetched once");
}

#[tokio::test]
async fn a_row_is_written_into_the_configuration() {
    let mut bench = MatrixBench::new().await;
    bench.good("2.4.98").await;
    bench.publish().await;
    let config = "# Mine.\nlines = [\"2.4\"]  # one\n\n[retention]\nkeep-newest = 1\n";
    fs::write(bench.path("zfs-kmods.toml"), config).unwrap();
    let report = bench.sync(&["--write", "zfs-kmods.toml"]).await.with(0).json();
    assert_eq!(report["rows"][0]["version"], "2.4.98");
    let written = fs::read_to_string(bench.path("zfs-kmods.toml")).unwrap();
    let rest = written.strip_prefix(config).unwrap();
    assert!(rest.starts_with("\n[[release]]\nversion = \"2.4.98\"\n"), "{written}");
    // The configuration has the row now.
    assert_eq!(bench.sync(&["--check"]).await.with(0).json()["rows"], json!([]));
    assert_eq!(bench.sync(&["--write", "zfs-kmods.toml"]).await.with(0).json()["rows"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_read_is_unknown_and_not_a_disagreement() {
    let mut bench = MatrixBench::new().await;
    bench.good("2.4.4").await;
    bench.good("2.4.5").await;
    bench.publish().await;
    let unavailable = ResponseTemplate::new(403);
    Mock::given(path_regex("zfs-2.4.5.sha256.asc$"))
        .respond_with(unavailable)
        .with_priority(1)
        .mount(&bench.upstream)
        .await;
    let output = bench.sync(&["--write", "zfs.toml"]).await.with(1);
    let report = output.json();
    assert_eq!(report["disagreements"], json!([]));
    assert_eq!(report["unchecked"][0]["version"], "2.4.5");
    assert!(output.stderr.contains("some releases could not be checked"), "{}", output.stderr);
    let good = report["rows"][0]["sha256"].as_str().unwrap();
    assert_eq!(bench.matrix(), with_row("2.4.4", good), "the other release is added");
}

#[tokio::test]
async fn a_new_line_is_reported_and_not_followed() {
    let mut bench = MatrixBench::new().await;
    bench.good("2.5.0").await;
    bench.good("2.5.1").await;
    bench.good("2.0.7").await;
    bench.publish().await;
    let report = bench.sync(&["--write", "zfs.toml"]).await.with(0).json();
    assert_eq!(report["new_lines"], json!({ "2.5": "2.5.1" }));
    assert_eq!((&report["rows"], &report["disagreements"]), (&json!([]), &json!([])));
    assert_eq!(bench.matrix(), MATRIX);
    assert_eq!(bench.requests("/download/zfs-2.5.1.tar.gz").await, 0);
}

#[tokio::test]
async fn the_check_fails_if_a_row_is_missing() {
    // The matrix that is built in has no row for it.
    let mut bench = MatrixBench::new().await;
    bench.publish().await;
    assert_eq!(bench.sync(&["--check"]).await.with(0).json()["rows"], json!([]));
    bench.upstream.reset().await;
    let key = SignedPublicKey::from(bench.manager.clone());
    let at = format!("/keys/{}", fingerprint(&bench.manager));
    bench.serve(&at, key.to_armored_string(ArmorOptions::default()).unwrap()).await;
    bench.good("2.4.98").await;
    bench.publish().await;
    let report = bench.sync(&["--check"]).await.with(3).json();
    assert_eq!(report["rows"][0]["version"], "2.4.98");
    bench.sync(&[]).await.with(0);
}
