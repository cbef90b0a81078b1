use std::sync::atomic::{AtomicU64, Ordering};

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::error::GithubError;
use super::limits::Pace;
use super::page::Pages;
use super::transport::{Answer, Method, Transport};
use crate::model::ci_report::{DesiredIssue, ExistingIssue, IssueAction, LABEL, Marker, duplicates};

/// More pages than one label can fill; ends a paging loop.
const MOST_PAGES: u32 = 100;
const HELP: &str =
    "the job needs `permissions: issues: write`, and the repository must have issues switched on";

/// The issues of a repository that carry our label.
#[derive(Debug)]
pub struct Issues {
    transport: Transport,
    /// URL without query.
    address: String,
    requests: AtomicU64,
}

#[derive(Deserialize)]
struct Wire {
    number: u64,
    state: String,
    #[serde(default)]
    body: Option<String>,
    /// Set for pull requests, which GitHub lists as issues.
    #[serde(default)]
    pull_request: Option<serde_json::Value>,
}

impl Issues {
    /// For `owner/name`, at this API base URL (`https://api.github.com`).
    pub fn new(
        base: &str,
        token: Option<SecretString>,
        repository: &str,
        pace: Pace,
    ) -> Result<Self, GithubError> {
        let base = base.trim_end_matches('/');
        let transport = Transport::new(base, token, pace)?;
        let address = format!("{base}/repos/{repository}/issues");
        Ok(Self { transport, address, requests: AtomicU64::new(0) })
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Open and closed issues that carry our label and a marker.
    pub async fn existing(&self) -> Result<Vec<ExistingIssue>, GithubError> {
        let mut all = Vec::new();
        let mut number = 1;
        loop {
            let url = format!("{}?labels={LABEL}&state=all&per_page=100&page={number}", self.address);
            self.requests.fetch_add(1, Ordering::Relaxed);
            let what = "list the issues";
            let answer = self.transport.send(what, Method::Get, &url).await?;
            if answer.status != 200 {
                return Err(denied(what, &answer));
            }
            let issues: Vec<Wire> = parse(what, &answer.body)?;
            all.extend(issues.into_iter().filter(|issue| issue.pull_request.is_none()).filter_map(found));
            match Pages::of(answer.link.as_deref()).next {
                Some(next) if next > number && next <= MOST_PAGES => number = next,
                Some(_) => {
                    let reason = "its pages never end".to_owned();
                    return Err(GithubError::Malformed { what: what.to_owned(), reason });
                }
                None => return Ok(all),
            }
        }
    }

    /// Executes one action.
    ///
    /// Two reporters may open the same issue at once. After opening one, each reads the list again and closes all
    /// issues with the same marker but the oldest.
    pub async fn carry_out(&self, step: &IssueAction) -> Result<(), GithubError> {
        match step {
            IssueAction::Open(wanted) => {
                let text = json!({"title": wanted.title, "body": wanted.body, "labels": [LABEL]});
                self.change(&step.to_string(), Method::Post(Some(&text)), &self.address).await?;
                let same: Vec<_> = self
                    .existing()
                    .await?
                    .into_iter()
                    .filter(|issue| issue.marker == wanted.marker)
                    .collect();
                for duplicate in duplicates(&same) {
                    if let IssueAction::Close(number, why) = duplicate {
                        self.close(number, &why, "not_planned").await?;
                    }
                }
                Ok(())
            }
            IssueAction::Update(number, wanted) | IssueAction::Reopen(number, wanted) => {
                self.write(*number, wanted, step).await
            }
            IssueAction::Close(number, why) => self.close(*number, why, "completed").await,
        }
    }

    /// Updates an issue and reopens it.
    async fn write(&self, number: u64, wanted: &DesiredIssue, step: &IssueAction) -> Result<(), GithubError> {
        let text = json!({"title": wanted.title, "body": wanted.body, "state": "open"});
        let url = format!("{}/{number}", self.address);
        self.change(&step.to_string(), Method::Patch(&text), &url).await
    }

    /// Closes before commenting: a lost comment is harmless, a repeated one is not.
    async fn close(&self, number: u64, why: &str, reason: &str) -> Result<(), GithubError> {
        let what = format!("close issue #{number}");
        let state = json!({"state": "closed", "state_reason": reason});
        self.change(&what, Method::Patch(&state), &format!("{}/{number}", self.address)).await?;
        let comment = json!({"body": why});
        let url = format!("{}/{number}/comments", self.address);
        self.change(&what, Method::Post(Some(&comment)), &url).await
    }

    async fn change(&self, what: &str, method: Method<'_>, url: &str) -> Result<(), GithubError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = self.transport.change(what, method, url).await?;
        match answer.status {
            200 | 201 => Ok(()),
            _ => Err(denied(what, &answer)),
        }
    }
}

fn found(issue: Wire) -> Option<ExistingIssue> {
    let body = issue.body.unwrap_or_default();
    let marker = Marker::of(&body)?;
    Some(ExistingIssue { number: issue.number, marker, open: issue.state == "open", body })
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, body: &str) -> Result<T, GithubError> {
    serde_json::from_str(body)
        .map_err(|error| GithubError::Malformed { what: what.to_owned(), reason: error.to_string() })
}

fn denied(what: &str, answer: &Answer) -> GithubError {
    let (status, message) = (answer.status, answer.message());
    GithubError::Denied { what: what.to_owned(), status, message, help: HELP }
}
