use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum GithubError {
    #[error("GitHub's API at {base} cannot be used: {reason}")]
    Client {
        /// A base URL, such as `https://api.github.com`.
        base: String,
        reason: String,
    },
    #[error("GitHub knows no {what}")]
    Missing {
        /// Continues "GitHub knows no …".
        what: String,
    },
    #[error("could not {what}: GitHub answered {status}: {message}")]
    Refused {
        /// Continues "could not …".
        what: String,
        status: u16,
        message: String,
    },
    /// [`Self::Refused`] with specific help.
    #[error("could not {what}: GitHub answered {status}: {message}")]
    Denied {
        what: String,
        status: u16,
        message: String,
        /// Replaces the general help of [`Self::Refused`].
        help: &'static str,
    },
    /// The rate limit exceeds the longest wait.
    #[error("could not {what} yet: GitHub's rate limit asks to wait {} s", wait.as_secs())]
    Limited {
        /// Continues "could not …".
        what: String,
        wait: Duration,
    },
    /// All retries failed.
    #[error("could not {what}: {reason}")]
    Unreachable {
        /// Continues "could not …".
        what: String,
        reason: String,
    },
    #[error("GitHub accepted the request to start the workflow, but shows no new run")]
    NoRun,
    /// Nothing is deleted after an unexpected response.
    #[error("could not {what}: invalid response: {reason}")]
    Malformed {
        /// Continues "could not …".
        what: String,
        reason: String,
    },
}

impl GithubError {
    /// True if GitHub rejected the request or hides the resource from this token.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Denied { .. } | Self::Missing { .. })
    }

    /// True for a rate limit: a later run can continue.
    pub const fn is_limit(&self) -> bool {
        matches!(self, Self::Limited { .. })
    }
}

impl miette::Diagnostic for GithubError {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(match self {
            Self::Client { .. } => "GITHUB_API_URL names the address, GITHUB_TOKEN the token",
            Self::Missing { .. } => {
                "it may be private to this token: a personal token must be a classic one with read:packages and \
                 delete:packages; in Actions, the package's settings must give the repository the role Admin"
            }
            Self::Refused { .. } => {
                "deleting needs a classic token with delete:packages, or in Actions the role Admin under Package \
                 settings, Manage Actions access"
            }
            Self::Denied { help, .. } => help,
            Self::Limited { .. } => {
                "what is done is done; run it again later, or with --apply and the same plan"
            }
            Self::NoRun => "`zfs-kmods workflow status` shows it when it appears",
            Self::Unreachable { .. } => "run it again later; what is done is done",
            Self::Malformed { .. } => {
                "nothing was deleted on a guess; run it again, and report it if it stays so"
            }
        }))
    }
}
