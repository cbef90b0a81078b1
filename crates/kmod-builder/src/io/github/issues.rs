use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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

/// The issues of a repository that this program maintains.
#[derive(Debug)]
pub struct Issues {
    transport: Transport,
    /// URL of the repository.
    repository: String,
    label_created: AtomicBool,
    requests: AtomicU64,
}

#[derive(Deserialize)]
struct Wire {
    number: u64,
    state: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    user: Option<User>,
    #[serde(default)]
    author_association: String,
    /// Set for pull requests, which GitHub lists as issues.
    #[serde(default)]
    pull_request: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

#[derive(Deserialize)]
struct User {
    #[serde(rename = "type")]
    kind: String,
}

impl Wire {
    fn has_label(&self) -> bool {
        self.labels.iter().any(|label| label.name.eq_ignore_ascii_case(LABEL))
    }

    /// Anybody can open an issue with our marker; only those who can write to the repository can label it.
    fn is_by_maintainer(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.kind == "Bot")
            || ["OWNER", "MEMBER", "COLLABORATOR"].contains(&self.author_association.as_str())
    }
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
        let repository = format!("{base}/repos/{repository}");
        let (label_created, requests) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self { transport, repository, label_created, requests })
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Open and closed issues that carry our label and a marker.
    pub async fn labelled(&self) -> Result<Vec<ExistingIssue>, GithubError> {
        let issues = self.list(&format!("labels={LABEL}&state=all")).await?;
        Ok(issues.into_iter().filter_map(existing).collect())
    }

    /// Open issues that carry a marker but not our label: GitHub drops a label silently that the token may not set
    /// (crs-k/stale-branches#1645).
    pub async fn unlabelled(&self) -> Result<Vec<ExistingIssue>, GithubError> {
        let issues = self.list("state=open").await?;
        let ours = issues.into_iter().filter(|issue| !issue.has_label() && issue.is_by_maintainer());
        Ok(ours.filter_map(existing).collect())
    }

    async fn list(&self, query: &str) -> Result<Vec<Wire>, GithubError> {
        let mut all = Vec::new();
        let mut number = 1;
        loop {
            let url = format!("{}/issues?{query}&per_page=100&page={number}", self.repository);
            self.requests.fetch_add(1, Ordering::Relaxed);
            let what = "list the issues";
            let answer = self.transport.send(what, Method::Get, &url).await?;
            if answer.status != 200 {
                return Err(denied(what, &answer));
            }
            let issues: Vec<Wire> = parse(what, &answer.body)?;
            all.extend(issues.into_iter().filter(|issue| issue.pull_request.is_none()));
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
                self.create_label().await?;
                let text = json!({"title": wanted.title, "body": wanted.body, "labels": [LABEL]});
                let url = format!("{}/issues", self.repository);
                let answer = self.change(&step.to_string(), Method::Post(Some(&text)), &url).await?;
                let opened: Wire = parse(&step.to_string(), &answer.body)?;
                let mut all = self.labelled().await?;
                if !opened.has_label() {
                    tracing::warn!(
                        "issue #{} has not got the label `{LABEL}`; it is found by its first line instead",
                        opened.number
                    );
                    all.extend(self.unlabelled().await?);
                }
                all.retain(|issue| issue.marker == wanted.marker);
                for duplicate in duplicates(&all) {
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

    /// Once. A label that exists already is answered with 422; without permission, issues are opened all the same.
    async fn create_label(&self) -> Result<(), GithubError> {
        if self.label_created.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let what = format!("create the label `{LABEL}`");
        let label = json!({"name": LABEL, "color": "0e8a16", "description": "Maintained by zfs-kmods"});
        self.requests.fetch_add(1, Ordering::Relaxed);
        let url = format!("{}/labels", self.repository);
        let answer = self.transport.change(&what, Method::Post(Some(&label)), &url).await?;
        if !matches!(answer.status, 201 | 422) {
            tracing::warn!("{}", denied(&what, &answer));
        }
        Ok(())
    }

    /// Updates an issue and reopens it.
    async fn write(&self, number: u64, wanted: &DesiredIssue, step: &IssueAction) -> Result<(), GithubError> {
        let text = json!({"title": wanted.title, "body": wanted.body, "state": "open"});
        let url = format!("{}/issues/{number}", self.repository);
        self.change(&step.to_string(), Method::Patch(&text), &url).await.map(drop)
    }

    /// Closes before commenting: a lost comment is harmless, a repeated one is not.
    async fn close(&self, number: u64, why: &str, reason: &str) -> Result<(), GithubError> {
        let what = format!("close issue #{number}");
        let state = json!({"state": "closed", "state_reason": reason});
        let url = format!("{}/issues/{number}", self.repository);
        self.change(&what, Method::Patch(&state), &url).await?;
        let comment = json!({"body": why});
        self.change(&what, Method::Post(Some(&comment)), &format!("{url}/comments")).await.map(drop)
    }

    async fn change(&self, what: &str, method: Method<'_>, url: &str) -> Result<Answer, GithubError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = self.transport.change(what, method, url).await?;
        match answer.status {
            200 | 201 => Ok(answer),
            _ => Err(denied(what, &answer)),
        }
    }
}

fn existing(issue: Wire) -> Option<ExistingIssue> {
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
