use std::path::PathBuf;

use jiff::Timestamp;

use crate::io::github::GithubError;
use crate::io::layout::LayoutError;
use crate::io::registry::RegistryError;

/// A store could not be looked at or cleaned up.
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
    /// Without this knowledge nothing may be decided.
    #[error("it is not known {what}: {reason}")]
    #[diagnostic(help("nothing is deleted unless everything can be read; run it again in a minute"))]
    Unsure {
        /// What, beginning with `whether`, `what` or the like.
        what: String,
        reason: String,
    },
    /// Every age depends on the clock.
    #[error("by this machine's clock it is {here}, by {whose} {there}")]
    #[diagnostic(help("set the clock (`timedatectl`), then run it again"))]
    Clock {
        here: Timestamp,
        /// Whose clock says otherwise.
        whose: &'static str,
        there: Timestamp,
    },
    /// A plan that is too old to be carried out.
    #[error("the plan was made at {made}, more than a week ago")]
    #[diagnostic(help("make a new one with --dry-run --plan FILE"))]
    OldPlan { made: Timestamp },
    /// A plan or journal of another store.
    #[error("this is about {theirs}, not about {ours}")]
    OtherStore { theirs: String, ours: String },
    /// A file of our own could not be read or written.
    #[error("could not {what} {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        error: std::io::Error,
    },
    /// A line of a journal is invalid.
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

    /// Whether it is a rate limit: nothing is wrong, and the run can go on later.
    pub fn is_limit(&self) -> bool {
        match self {
            Self::Packages(error) => error.is_limit(),
            Self::Registry(error) => error.status() == Some(429),
            _ => false,
        }
    }
}
