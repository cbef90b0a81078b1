//! A registry that no one here wrote: Debian's docker-registry, which has no referrers API.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

const PROGRAM: &str = "docker-registry";

pub(crate) struct DockerRegistry {
    child: Child,
    pub(crate) port: u16,
    directory: TempDir,
}

impl DockerRegistry {
    /// Its default configuration would listen on every interface, hence one of our own.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            directory.path().join("data").display()
        );
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{PROGRAM} does not start ({error}): `apt install {PROGRAM}`"));
        let running = Self { child, port, directory };
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return running;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{PROGRAM} does not listen");
    }

    /// Where it keeps its files (its `docs/content/storage-drivers`, "filesystem").
    pub(crate) fn storage(&self) -> PathBuf {
        self.directory.path().join("data/docker/registry/v2")
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
