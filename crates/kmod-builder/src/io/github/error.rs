use std::time::Duration;

/// GitHub could not be asked, or something there not be changed.
#[derive(Debug, thiserror::Error)]
pub enum GithubError {
    /// The address or token cannot be used.
    #[error("GitHub's API at {base} cannot be used: {reason}")]
    Client {
        /// The address.
        base: String,
        /// Why.
        reason: String,
    },
    /// Neither a user nor an organisation, or no such package.
    #[error("GitHub knows no {what}")]
    Missing {
        /// What was asked for.
        what: String,
    },
    /// GitHub does not allow it.
    #[error("could not {what}: GitHub answered {status}: {message}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The status.
        status: u16,
        /// GitHub's sentence.
        message: String,
    },
    /// GitHub does not allow it, and here is what would have to be otherwise.
    #[error("could not {what}: GitHub answered {status}: {message}")]
    Denied {
        /// What was asked for.
        what: String,
        /// The status.
        status: u16,
        /// GitHub's sentence.
        message: String,
        /// What to do.
        help: &'static str,
    },
    /// A rate limit that lasts longer than is waited.
    #[error("could not {what} yet: GitHub's rate limit asks to wait {} s", wait.as_secs())]
    Limited {
        /// What was asked for.
        what: String,
        /// How long GitHub asks to wait.
        wait: Duration,
    },
    /// No answer, or a server in trouble, several times.
    #[error("could not {what}: {reason}")]
    Unreachable {
        /// What was asked for.
        what: String,
        /// The last failure.
        reason: String,
    },
    /// The answer is not what GitHub documents; nothing is deleted on a guess.
    #[error("could not {what}: the answer makes no sense: {reason}")]
    Malformed {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl GithubError {
    /// Whether GitHub answered that it may not be done, or that there is no such thing for this token.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Denied { .. } | Self::Missing { .. })
    }

    /// Whether it is a rate limit: nothing is wrong, and the run can go on later.
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
            Self::Unreachable { .. } => "run it again later; what is done is done",
            Self::Malformed { .. } => {
                "nothing was deleted on a guess; run it again, and report it if it stays so"
            }
        }))
    }
}
