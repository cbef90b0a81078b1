//! Sends requests to GitHub, with rate limits and retries.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use octocrab::Octocrab;
use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::error::GithubError;
use super::limits::{Pace, Told};

#[derive(Debug)]
pub(super) struct Transport {
    github: Octocrab,
    pace: Pace,
    last_change: tokio::sync::Mutex<Option<Instant>>,
    server_time: Mutex<Option<Timestamp>>,
}

/// A response that is neither a rate limit nor a server error.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) link: Option<String>,
    pub(super) body: String,
}

/// HTTP method with its JSON body.
#[derive(Clone, Copy)]
pub(super) enum Method<'a> {
    Get,
    Delete,
    Post(Option<&'a Value>),
    Patch(&'a Value),
}

impl Transport {
    pub(super) fn new(base: &str, token: Option<SecretString>, pace: Pace) -> Result<Self, GithubError> {
        let github =
            client(base, token).map_err(|reason| GithubError::Client { base: base.to_owned(), reason })?;
        Ok(Self { github, pace, last_change: tokio::sync::Mutex::default(), server_time: Mutex::default() })
    }

    /// GitHub's clock, from the last response.
    pub(super) fn server_time(&self) -> Option<Timestamp> {
        *self.server_time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serialises changes at the rate that GitHub recommends.
    pub(super) async fn change(
        &self,
        what: &str,
        method: Method<'_>,
        url: &str,
    ) -> Result<Answer, GithubError> {
        let mut last = self.last_change.lock().await;
        if let Some(last) = *last {
            tokio::time::sleep(self.pace.between_changes.saturating_sub(last.elapsed())).await;
        }
        let answer = self.send(what, method, url).await;
        *last = Some(Instant::now());
        answer
    }

    /// Retries rate limits and server errors. Every request can be repeated: a repeated deletion gets 404, and a
    /// duplicate issue is closed by its reporter.
    pub(super) async fn send(
        &self,
        what: &str,
        method: Method<'_>,
        url: &str,
    ) -> Result<Answer, GithubError> {
        let pace = &self.pace;
        let (mut failures, mut waited) = (0, Duration::ZERO);
        loop {
            let reason = match self.once(method, url).await {
                Ok((told, answer)) => match told.wait(Timestamp::now(), pace) {
                    Some(wait) if waited + wait > pace.longest => {
                        return Err(GithubError::Limited { what: what.to_owned(), wait });
                    }
                    Some(wait) => {
                        tracing::warn!(?wait, "GitHub's rate limit: waiting");
                        waited += wait;
                        tokio::time::sleep(wait).await;
                        continue;
                    }
                    None if told.status < 500 => return Ok(answer),
                    None => format!("GitHub answered {}: {}", told.status, told.message),
                },
                Err(reason) => reason,
            };
            failures += 1;
            if failures >= pace.attempts {
                return Err(GithubError::Unreachable { what: what.to_owned(), reason });
            }
            tracing::warn!(what, reason, "trying again");
            tokio::time::sleep(pace.first_delay * 2_u32.pow(failures.min(10) - 1)).await;
        }
    }

    async fn once(&self, method: Method<'_>, url: &str) -> Result<(Told, Answer), String> {
        let github = &self.github;
        let sent = match method {
            Method::Get => github._get(url).await,
            Method::Delete => github._delete(url, None::<&()>).await,
            Method::Post(body) => github._post(url, body).await,
            Method::Patch(body) => github._patch(url, Some(body)).await,
        };
        let response = sent.map_err(|error| chain(&error))?;
        let status = response.status().as_u16();
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        if let Some(date) = header("date").and_then(|date| jiff::fmt::rfc2822::parse(&date).ok()) {
            *self.server_time.lock().unwrap_or_else(PoisonError::into_inner) = Some(date.timestamp());
        }
        let mut told = Told {
            status,
            retry_after: header("retry-after"),
            remaining: header("x-ratelimit-remaining"),
            reset: header("x-ratelimit-reset"),
            message: String::new(),
        };
        let link = header("link");
        let body = github.body_to_string(response).await.map_err(|error| chain(&error))?;
        let answer = Answer { status, link, body };
        if status >= 400 {
            told.message = answer.message();
        }
        Ok((told, answer))
    }
}

impl Answer {
    /// GitHub's message, else the start of the body.
    pub(super) fn message(&self) -> String {
        #[derive(Deserialize)]
        struct Body {
            message: String,
        }
        match serde_json::from_str::<Body>(&self.body) {
            Ok(body) => body.message,
            Err(_) => self.body.chars().filter(|letter| !letter.is_control()).take(200).collect(),
        }
    }
}

/// Our own HTTP client under octocrab: with its timeouts and without uncounted retries.
fn client(base: &str, token: Option<SecretString>) -> Result<Octocrab, String> {
    let url = Url::parse(base).map_err(|error| error.to_string())?;
    let is_local = url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() != "https" && !is_local {
        return Err("a token must not be sent unencrypted".to_owned());
    }
    let mut http = reqwest::Client::builder()
        .user_agent(concat!("zfs-kmods/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(30))
        .timeout(Duration::from_mins(2));
    if is_local {
        http = http.no_proxy();
    }
    let http = http.build().map_err(|error| chain(&error))?;
    let mut builder = Octocrab::builder().base_uri(base).map_err(|error| chain(&error))?;
    if let Some(token) = token {
        builder = builder.personal_token(token);
    }
    builder.build_with_reqwest(http).map_err(|error| chain(&error))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
