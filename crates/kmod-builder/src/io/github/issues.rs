use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{GithubClient, GithubResponse, RateLimitPolicy, invalid_response};
use super::error::GithubError;
use crate::model::ci_report::{DesiredIssue, ExistingIssue, IssueAction, LABEL, Marker, duplicates};

/// More pages than one label can fill; ends a paging loop.
const MAX_PAGES: u32 = 100;
const HELP: &str = "give the job `permissions: issues: write`, and enable issues in the repository";

/// The issues of a repository that this program maintains.
#[derive(Debug)]
pub struct Issues {
    client: GithubClient,
    /// URL of the repository.
    repository: String,
    label_created: AtomicBool,
    requests: AtomicU64,
}

#[derive(Deserialize)]
struct IssueResponse {
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
    pull_request: Option<Value>,
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

impl IssueResponse {
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
        policy: RateLimitPolicy,
    ) -> Result<Self, GithubError> {
        let client = GithubClient::new(base, token, policy, HELP)?;
        let repository = format!("{}/repos/{repository}", client.base());
        let (label_created, requests) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self { client, repository, label_created, requests })
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Open and closed issues that carry our label and a marker.
    pub async fn labelled(&self) -> Result<Vec<ExistingIssue>, GithubError> {
        let issues = self.list(&format!("labels={LABEL}&state=all")).await?;
        Ok(issues.into_iter().filter_map(existing_issue).collect())
    }

    /// Open issues that carry a marker but not our label: GitHub drops a label silently that the token may not set
    /// (crs-k/stale-branches#1645).
    pub async fn unlabelled(&self) -> Result<Vec<ExistingIssue>, GithubError> {
        let issues = self.list("state=open").await?;
        let ours = issues.into_iter().filter(|issue| !issue.has_label() && issue.is_by_maintainer());
        Ok(ours.filter_map(existing_issue).collect())
    }

    async fn list(&self, query: &str) -> Result<Vec<IssueResponse>, GithubError> {
        let what = "list the issues";
        let (mut all, mut number) = (Vec::new(), 1);
        loop {
            let url = format!("{}/issues?{query}&per_page=100&page={number}", self.repository);
            self.requests.fetch_add(1, Ordering::Relaxed);
            let response = self.client.get(what, &url).await?;
            let issues: Vec<IssueResponse> = self.client.json(what, &response)?;
            all.extend(issues.into_iter().filter(|issue| issue.pull_request.is_none()));
            match response.page("next") {
                Some(next) if next > number && next <= MAX_PAGES => number = next,
                Some(_) => return Err(invalid_response(what, "too many pages")),
                None => return Ok(all),
            }
        }
    }

    /// Executes one action.
    ///
    /// Two reporters may open the same issue at once. After opening one, each reads the list again and closes all
    /// issues with the same marker but the oldest.
    pub async fn carry_out(&self, action: &IssueAction) -> Result<(), GithubError> {
        let what = action.to_string();
        match action {
            IssueAction::Open(desired) => {
                self.create_label().await?;
                let body = json!({"title": desired.title, "body": desired.body, "labels": [LABEL]});
                let url = format!("{}/issues", self.repository);
                let response = self.change(&what, Method::POST, &url, &body).await?;
                let opened: IssueResponse = self.client.json(&what, &response)?;
                let mut same = self.labelled().await?;
                if !opened.has_label() {
                    let number = opened.number;
                    tracing::warn!(
                        "issue #{number} did not get the label `{LABEL}`; it is found by its first line"
                    );
                    same.extend(self.unlabelled().await?);
                }
                same.retain(|issue| issue.marker == desired.marker);
                for duplicate in duplicates(&same) {
                    if let IssueAction::Close(number, why) = duplicate {
                        self.close(number, &why, "not_planned").await?;
                    }
                }
                Ok(())
            }
            IssueAction::Update(number, desired) | IssueAction::Reopen(number, desired) => {
                let DesiredIssue { title, body, .. } = desired;
                let body = json!({"title": title, "body": body, "state": "open"});
                let url = format!("{}/issues/{number}", self.repository);
                self.change(&what, Method::PATCH, &url, &body).await.map(drop)
            }
            IssueAction::Close(number, why) => self.close(*number, why, "completed").await,
        }
    }

    /// Once. An existing label is answered with 422; without permission, issues are opened all the same.
    async fn create_label(&self) -> Result<(), GithubError> {
        if self.label_created.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let what = format!("create the label `{LABEL}`");
        let label = json!({"name": LABEL, "color": "0e8a16", "description": "Maintained by zfs-kmods"});
        self.requests.fetch_add(1, Ordering::Relaxed);
        let url = format!("{}/labels", self.repository);
        let response = self.client.change(&what, Method::POST, &url, Some(&label)).await?;
        if response.status != 422
            && let Err(error) = self.client.accept(&what, &response)
        {
            tracing::warn!("{error}");
        }
        Ok(())
    }

    /// Closes before commenting: a lost comment is harmless, a repeated one is not.
    async fn close(&self, number: u64, why: &str, reason: &str) -> Result<(), GithubError> {
        let (what, url) = (format!("close issue #{number}"), format!("{}/issues/{number}", self.repository));
        let state = json!({"state": "closed", "state_reason": reason});
        self.change(&what, Method::PATCH, &url, &state).await?;
        self.change(&what, Method::POST, &format!("{url}/comments"), &json!({"body": why})).await.map(drop)
    }

    async fn change(
        &self,
        what: &str,
        method: Method,
        url: &str,
        body: &Value,
    ) -> Result<GithubResponse, GithubError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let response = self.client.change(what, method, url, Some(body)).await?;
        self.client.accept(what, &response)?;
        Ok(response)
    }
}

fn existing_issue(issue: IssueResponse) -> Option<ExistingIssue> {
    let body = issue.body.unwrap_or_default();
    let marker = Marker::of(&body)?;
    Some(ExistingIssue { number: issue.number, marker, open: issue.state == "open", body })
}
