use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;

use super::error::GithubError;
use super::limits::Pace;
use super::transport::{Answer, Method, Transport};

/// Maximum time until a dispatched run appears in GitHub's list.
const APPEARS_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// Tolerated difference between GitHub's clock and the local one.
const CLOCKS: SignedDuration = SignedDuration::from_secs(30);

const HELP: &str = "set GITHUB_TOKEN to a token with `actions: write` for this repository (`gh auth token` prints one), \
                    and look whether the workflow is there and switched on";

#[derive(Debug)]
pub struct Workflow {
    transport: Transport,
    /// Without retries: a repeated dispatch starts a second run.
    once: Transport,
    /// URL of the repository's actions.
    actions: String,
    file: String,
}

/// In GitHub's format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
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

impl Run {
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
        let began = self.run_started_at.unwrap_or(self.created_at);
        let until = if self.has_ended() { self.updated_at } else { now };
        until.duration_since(began).max(SignedDuration::ZERO)
    }
}

impl Workflow {
    /// The workflow `.github/workflows/FILE` of `owner/name`.
    pub fn new(
        base: &str,
        token: Option<SecretString>,
        repository: &str,
        file: &str,
        pace: Pace,
    ) -> Result<Self, GithubError> {
        let base = base.trim_end_matches('/');
        let actions = format!("{base}/repos/{repository}/actions");
        let once = Transport::new(base, token.clone(), Pace { attempts: 1, ..pace })?;
        Ok(Self { transport: Transport::new(base, token, pace)?, once, actions, file: file.to_owned() })
    }

    /// Dispatches the workflow and waits until its run appears.
    ///
    /// From a server that does not return the run's id, it is the oldest run created after the dispatch.
    pub async fn start(
        &self,
        reference: &str,
        inputs: &BTreeMap<String, String>,
        interval: Duration,
    ) -> Result<Run, GithubError> {
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
        run: &mut Run,
        interval: Duration,
        on_change: impl Fn(&Run),
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
        struct Details {
            workflow_run_id: u64,
        }
        let what = format!("start the workflow {}", self.file);
        let mut body = json!({"ref": reference, "inputs": inputs, "return_run_details": true});
        let url = format!("{}/workflows/{}/dispatches", self.actions, self.file);
        let mut answer = self.once.change(&what, Method::Post(Some(&body)), &url).await?;
        if matches!(answer.status, 400 | 422) && answer.body.contains("return_run_details") {
            body = json!({"ref": reference, "inputs": inputs});
            answer = self.once.change(&what, Method::Post(Some(&body)), &url).await?;
        }
        match answer.status {
            // The run has started: an answer in another form must not look like a failure.
            200 => {
                Ok(serde_json::from_str(&answer.body).ok().map(|details: Details| details.workflow_run_id))
            }
            204 => Ok(None),
            _ => Err(denied(&what, &answer)),
        }
    }

    /// Newest first.
    pub async fn runs(&self, count: u8) -> Result<Vec<Run>, GithubError> {
        #[derive(Deserialize)]
        struct List {
            workflow_runs: Vec<Run>,
        }
        let what = format!("list the runs of {}", self.file);
        let url = format!("{}/workflows/{}/runs?per_page={count}", self.actions, self.file);
        Ok(self.get::<List>(&what, &url).await?.workflow_runs)
    }

    async fn run(&self, id: u64) -> Result<Run, GithubError> {
        self.get(&format!("read the run {id}"), &format!("{}/runs/{id}", self.actions)).await
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, what: &str, url: &str) -> Result<T, GithubError> {
        let answer = self.transport.send(what, Method::Get, url).await?;
        if answer.status != 200 {
            return Err(denied(what, &answer));
        }
        serde_json::from_str(&answer.body)
            .map_err(|error| GithubError::Malformed { what: what.to_owned(), reason: error.to_string() })
    }
}

fn denied(what: &str, answer: &Answer) -> GithubError {
    let (status, message) = (answer.status, answer.message());
    GithubError::Denied { what: what.to_owned(), status, message, help: HELP }
}
