use std::path::PathBuf;

use jiff::Timestamp;

use crate::io::github::GithubError;
use crate::io::layout::LayoutError;
use crate::io::registry::RegistryError;
use crate::model::Digest;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RetentionError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Packages(#[from] GithubError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layout(#[from] LayoutError),
    #[error("it is not known {what}: {reason}")]
    #[diagnostic(help("nothing is deleted unless everything can be read; run it again in a minute"))]
    Unsure { what: String, reason: String },
    #[error("by this machine's clock it is {here}, by {whose} {there}")]
    #[diagnostic(help("set the clock (`timedatectl`), then run it again"))]
    Clock { here: Timestamp, whose: &'static str, there: Timestamp },
    #[error("the plan was made at {made}, more than a week ago")]
    #[diagnostic(help("make a new one with --dry-run --plan FILE"))]
    OldPlan { made: Timestamp },
    #[error("cannot delete {digest}: the store says that it does not exist, and still has it")]
    #[diagnostic(help("check that the credentials may delete; GitHub answers 404 if they may not"))]
    NotDeleted { digest: Digest },
    #[error("could not {what} {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        error: std::io::Error,
    },
    #[error("{} is not a plan of `cleanup --plan`", path.display())]
    Plan {
        path: PathBuf,
        #[source]
        error: serde_json::Error,
    },
    #[error("invalid line {line} of the journal {}", path.display())]
    Journal {
        path: PathBuf,
        line: usize,
        #[source]
        error: serde_json::Error,
    },
}

impl RetentionError {
    pub(super) fn unsure(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsure { what: what.into(), reason: reason.into() }
    }

    /// True for a rate limit: a later run can continue.
    pub fn is_limit(&self) -> bool {
        match self {
            Self::Packages(error) => error.is_limit(),
            Self::Registry(error) => {
                error.status() == Some(429) || error.status() == Some(403) && error.is_temporary()
            }
            _ => false,
        }
    }
}
