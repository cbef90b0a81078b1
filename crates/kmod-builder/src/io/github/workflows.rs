use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;

use super::client::{GithubClient, RateLimitPolicy};
use super::error::GithubError;

/// Maximum time until a dispatched run appears in GitHub's list.
const APPEARS_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// Tolerated difference between GitHub's clock and the local one.
const CLOCKS: SignedDuration = SignedDuration::from_secs(30);

const HELP: &str = "set GITHUB_TOKEN to a token with `actions: write` for this repository (`gh auth token` prints one), \
                    and check that the workflow exists and is enabled";

#[derive(Debug)]
pub struct Workflow {
    client: GithubClient,
    actions: String,
    file: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRun {
    /// Unique across repositories.
    pub id: u64,
    /// Unique within the workflow.
    pub run_number: u64,
    /// `schedule`, `workflow_dispatch`, `push`.
    pub event: String,
    /// `queued`, `in_progress`, `completed` and others.
    pub status: Option<String>,
    /// `success`, `failure`, `cancelled` and others, once it is completed.
    pub conclusion: Option<String>,
    pub head_branch: Option<String>,
    pub created_at: Timestamp,
    /// Start of this attempt.
    #[serde(default)]
    pub run_started_at: Option<Timestamp>,
    /// Last change; the end of a completed run.
    pub updated_at: Timestamp,
    pub html_url: String,
}

impl WorkflowRun {
    pub fn has_ended(&self) -> bool {
        self.status.as_deref() == Some("completed")
    }

    /// The conclusion, else the status.
    pub fn state(&self) -> &str {
        let state = if self.has_ended() { self.conclusion.as_deref() } else { self.status.as_deref() };
        state.unwrap_or("unknown")
    }

    /// Until `now` if the run has not ended.
    pub fn duration(&self, now: Timestamp) -> SignedDuration {
        let started = self.run_started_at.unwrap_or(self.created_at);
        let until = if self.has_ended() { self.updated_at } else { now };
        until.duration_since(started).max(SignedDuration::ZERO)
    }
}

impl Workflow {
    /// The workflow `.github/workflows/FILE` of `owner/name`.
    pub fn new(
        base: &str,
        token: Option<SecretString>,
        repository: &str,
        file: &str,
        policy: RateLimitPolicy,
    ) -> Result<Self, GithubError> {
        let client = GithubClient::new(base, token, policy, HELP)?;
        let actions = format!("{}/repos/{repository}/actions", client.base());
        Ok(Self { client, actions, file: file.to_owned() })
    }

    /// Dispatches the workflow and waits until its run appears.
    ///
    /// From a server that does not return the run's id, it is the oldest run created after the dispatch.
    pub async fn start(
        &self,
        reference: &str,
        inputs: &BTreeMap<String, String>,
        interval: Duration,
    ) -> Result<WorkflowRun, GithubError> {
        let before: Vec<_> = self.runs(1).await?.iter().map(|run| run.id).collect();
        let asked = Timestamp::now();
        if let Some(id) = self.dispatch(reference, inputs).await? {
            return self.run(id).await;
        }
        loop {
            let new = self.runs(20).await?.into_iter().filter(|run| {
                run.event == "workflow_dispatch"
                    && !before.contains(&run.id)
                    && run.created_at + CLOCKS >= asked
            });
            if let Some(run) = new.min_by_key(|run| run.id) {
                return Ok(run);
            }
            if Timestamp::now().duration_since(asked) > APPEARS_WITHIN {
                return Err(GithubError::NoRun);
            }
            sleep(interval).await;
        }
    }

    /// Reads the run until it ends. Calls `on_change` with each new state.
    pub async fn wait(
        &self,
        run: &mut WorkflowRun,
        interval: Duration,
        on_change: impl Fn(&WorkflowRun),
    ) -> Result<(), GithubError> {
        let mut state = String::new();
        while !run.has_ended() {
            if run.state() != state {
                run.state().clone_into(&mut state);
                on_change(run);
            }
            sleep(interval).await;
            *run = self.run(run.id).await?;
        }
        Ok(())
    }

    /// Returns the id of the run; `None` from GitHub Enterprise servers without `return_run_details` (2026-02).
    async fn dispatch(
        &self,
        reference: &str,
        inputs: &BTreeMap<String, String>,
    ) -> Result<Option<u64>, GithubError> {
        #[derive(Deserialize)]
        struct RunDetails {
            workflow_run_id: u64,
        }
        let what = format!("start the workflow {}", self.file);
        let mut body = json!({"ref": reference, "inputs": inputs, "return_run_details": true});
        let url = format!("{}/workflows/{}/dispatches", self.actions, self.file);
        let mut response = self.client.post_once(&what, &url, &body).await?;
        if matches!(response.status, 400 | 422) && response.message().contains("return_run_details") {
            body = json!({"ref": reference, "inputs": inputs});
            response = self.client.post_once(&what, &url, &body).await?;
        }
        self.client.accept(&what, &response)?;
        // The run has started: a response in another form must not look like a failure.
        let details = self.client.json::<RunDetails>(&what, &response).ok();
        Ok(details.map(|details| details.workflow_run_id))
    }

    /// Newest first.
    pub async fn runs(&self, count: u8) -> Result<Vec<WorkflowRun>, GithubError> {
        #[derive(Deserialize)]
        struct RunsResponse {
            workflow_runs: Vec<WorkflowRun>,
        }
        let what = format!("list the runs of {}", self.file);
        let url = format!("{}/workflows/{}/runs?per_page={count}", self.actions, self.file);
        Ok(self.client.get_json::<RunsResponse>(&what, &url).await?.workflow_runs)
    }

    async fn run(&self, id: u64) -> Result<WorkflowRun, GithubError> {
        self.client.get_json(&format!("read the run {id}"), &format!("{}/runs/{id}", self.actions)).await
    }
}
