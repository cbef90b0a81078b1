use std::path::PathBuf;

use jiff::Timestamp;

use crate::io::github::GithubError;
use crate::io::layout::LayoutError;
use crate::io::registry::RegistryError;

/// A store could not be looked at or cleaned up.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RetentionError {
    /// GitHub's API.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Packages(#[from] GithubError),
    /// A registry.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] RegistryError),
    /// A directory of images.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layout(#[from] LayoutError),
    /// Something is not known, and without it nothing may be decided.
    #[error("it is not known {what}: {reason}")]
    #[diagnostic(help("nothing is deleted without complete knowledge; run it again in a minute"))]
    Unsure {
        /// What, beginning with `whether`, `what` or the like.
        what: String,
        /// Why it is not known.
        reason: String,
    },
    /// This machine's clock and another one do not agree, and every age depends on it.
    #[error(
        "by this machine's clock it is {here}, by {whose} {there}: nothing is deleted by a clock that is wrong"
    )]
    #[diagnostic(help("set the clock (`timedatectl`), then run it again"))]
    Clock {
        /// Now, here.
        here: Timestamp,
        /// Whose clock says otherwise.
        whose: &'static str,
        /// What it says.
        there: Timestamp,
    },
    /// A plan that is too old to be carried out.
    #[error("the plan was made at {made}, more than a week ago")]
    #[diagnostic(help("make a new one with --dry-run --plan FILE"))]
    OldPlan {
        /// When.
        made: Timestamp,
    },
    /// A plan or journal of another store.
    #[error("this is about {theirs}, not about {ours}")]
    OtherStore {
        /// The store named in the file.
        theirs: String,
        /// The store in use.
        ours: String,
    },
    /// A file of our own could not be read or written.
    #[error("could not {what} {}", path.display())]
    File {
        /// Read or write.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// A journal has a line that is none.
    #[error("line {line} of {} is not what a journal has", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// Its line.
        line: usize,
        /// Why.
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
