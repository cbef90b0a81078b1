//! Fulcio, Rekor v1, a timestamp authority and the token endpoint of GitHub Actions on this machine, so that keyless
//! signing and verification can be tested without a network and an account.
//!
//! It issues certificates for the claims that it was started with, to every client. `cosign`, `gh` and `sigstore`
//! accept its signatures if they are given [`FakeSigstore::trusted_root`].

mod authority;
mod rekor;
pub mod server;
mod services;
mod timestamp;

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use services::Services;

/// The services, on one address, until dropped.
pub struct FakeSigstore {
    address: SocketAddr,
    trusted_root: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The claims of a scheduled run of `owner/zfs-kmods`, to start from.
pub fn claims() -> Value {
    let commit = "0123456789012345678901234567890123456789";
    let workflow = "owner/zfs-kmods/.github/workflows/build.yaml@refs/heads/main";
    json!({
        "iss": "https://token.actions.githubusercontent.com",
        "aud": "sigstore",
        "sub": "repo:owner/zfs-kmods:ref:refs/heads/main",
        "ref": "refs/heads/main",
        "sha": commit,
        "repository": "owner/zfs-kmods",
        "repository_owner": "owner",
        "repository_id": "1",
        "repository_owner_id": "2",
        "repository_visibility": "public",
        "event_name": "schedule",
        "workflow": "Build",
        "workflow_ref": workflow,
        "workflow_sha": commit,
        "job_workflow_ref": workflow,
        "job_workflow_sha": commit,
        "runner_environment": "github-hosted",
        "run_id": "3",
        "run_attempt": "1",
    })
}

impl FakeSigstore {
    /// Starts the services on an address of this machine (port 0: any), for a workflow with these claims.
    pub fn start(address: &str, claims: Value) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let services = Services::new(claims);
        let trusted_root = services.trusted_root(&format!("http://{address}")).to_string();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    // An error of the listener ends the services; their clients report it.
                    _ = server::serve(listener, move |request| services.answer(request)) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { address, trusted_root, stop: Some(stop), thread: Some(thread) })
    }

    /// The base URL of Fulcio and Rekor.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The URL of the timestamp authority.
    pub fn timestamp_url(&self) -> String {
        format!("{}/api/v1/timestamp", self.url())
    }

    /// For `ACTIONS_ID_TOKEN_REQUEST_URL`. Any `ACTIONS_ID_TOKEN_REQUEST_TOKEN` is accepted.
    pub fn token_url(&self) -> String {
        format!("{}/idtoken?api-version=2.0", self.url())
    }

    /// As [`Self::token_url`], for a run of another ref (`refs/heads/topic`) of the same workflow.
    pub fn token_url_of(&self, reference: &str) -> String {
        format!("{}&ref={reference}", self.token_url())
    }

    /// The trusted root of these services (`trusted_root.json`).
    pub fn trusted_root(&self) -> &str {
        &self.trusted_root
    }
}

impl Drop for FakeSigstore {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            drop(thread.join());
        }
    }
}
