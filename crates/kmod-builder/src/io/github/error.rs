use std::time::Duration;

use kmod_query::{RetryPolicy, RetryableError};

/// `request` continues "cannot …".
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum GithubError {
    #[error("cannot use GitHub's API at {base}: {reason}")]
    #[diagnostic(help("set GITHUB_API_URL to the API's address and GITHUB_TOKEN to a token"))]
    Client {
        /// Such as `https://api.github.com`.
        base: String,
        reason: String,
    },
    #[error("cannot {request}: GitHub answered {status}: {message}")]
    #[diagnostic(help("{help}"))]
    Rejected { request: String, status: u16, message: String, help: &'static str },
    #[error("cannot {request}: GitHub's rate limit requires a wait of {} s", wait.as_secs())]
    #[diagnostic(help("run the command again later; finished work is kept"))]
    RateLimited { request: String, wait: Duration },
    #[error("cannot {request}: {reason}")]
    #[diagnostic(help("run the command again later; finished work is kept"))]
    Unreachable { request: String, reason: String },
    #[error("cannot {request}: invalid response: {reason}")]
    #[diagnostic(help(
        "run the command again, and report this if it persists; nothing is deleted after an invalid response"
    ))]
    InvalidResponse { request: String, reason: String },
    #[error("GitHub accepted the request to start the workflow, but shows no new run")]
    #[diagnostic(help("`zfs-kmods workflow status` shows it when it appears"))]
    NoRun,
    #[error("the bundle is not JSON")]
    InvalidBundle(#[from] serde_json::Error),
}

impl GithubError {
    /// True if GitHub rejected the request or hides the resource from this token.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Rejected { .. })
    }

    /// True for a rate limit: a later run can continue.
    pub const fn is_limit(&self) -> bool {
        matches!(self, Self::RateLimited { .. })
    }
}

impl RetryableError for GithubError {
    fn is_retryable(&self, policy: &RetryPolicy) -> bool {
        match self {
            Self::RateLimited { wait, .. } => *wait <= policy.longest_delay,
            Self::Unreachable { .. } => true,
            _ => false,
        }
    }

    fn wanted_delay(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { wait, .. } => Some(*wait),
            _ => None,
        }
    }
}
