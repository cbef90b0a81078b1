//! The same against a registry that no one here wrote: Debian's docker-registry, which has no referrers API.

use std::process::{Child, Command, Stdio};

use super::*;

const PROGRAM: &str = "docker-registry";

/// A running docker-registry on a free port; ended with this value.
struct Running {
    child: Child,
    repository: Repository,
    _directory: tempfile::TempDir,
}

impl Running {
    /// Its default configuration would listen on every interface, hence one of our own.
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            directory.path().join("data").display()
        );
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new(PROGRAM)
            .arg("serve")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{PROGRAM} does not start ({error}): install it with `apt install {PROGRAM}`")
            });
        let running = Self {
            child,
            repository: format!("127.0.0.1:{port}/owner/zfs-kmods").parse().unwrap(),
            _directory: directory,
        };
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return running;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{PROGRAM} does not listen");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn a_real_registry_takes_it_once() {
    let running = Running::start().await;
    let directory = tempfile::tempdir().unwrap();
    let publication = publication(&image(directory.path(), 5 << 20));
    let patient = Patience { silence: Duration::from_secs(20), ..impatient() };
    let registry = open(&running.repository, patient);
    assert_eq!(registry.tags().await.unwrap(), []);
    let first = run(&registry, &publication, |_| {}).await.unwrap();
    assert_eq!(first.steps(), 10);
    let second = run(&open(&running.repository, patient), &publication, |_| {}).await.unwrap();
    assert_eq!(second.steps(), 0);
    let tags: Vec<_> = registry.tags().await.unwrap().iter().map(ToString::to_string).collect();
    let hex = publication.image().digest().hex();
    assert_eq!(tags, [TAG.to_owned(), format!("sha256-{hex}"), format!("sha256-{hex}.sig")]);
    let referrers = registry.referrers(publication.image().digest()).await.unwrap();
    let kinds: Vec<_> = referrers
        .found
        .iter()
        .map(|found| found.annotations["dev.sigstore.bundle.predicateType"].as_str())
        .collect();
    assert_eq!(kinds, ["provenance", "sbom"]);
    assert!(registry.delete_manifest(publication.image().digest()).await.unwrap());
    assert_eq!(
        registry.resolve(&kmod_builder::model::image::Selector::Tag(TAG.parse().unwrap())).await.unwrap(),
        None
    );
}
