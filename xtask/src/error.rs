//! Errors of xtask are messages. Only [`NeedsRoot`] is handled.

use std::error::Error;
use std::fmt::{self, Display};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;
pub(crate) type Result<T = ()> = std::result::Result<T, BoxError>;

#[derive(Debug)]
pub(crate) struct NeedsRoot {
    /// The command that root has to run.
    pub(crate) command: String,
}

impl Display for NeedsRoot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "run this as root: {}", self.command)
    }
}

impl Error for NeedsRoot {}

/// Prefixes an error with the action that failed.
pub(crate) trait Context<T> {
    fn context(self, doing: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl Display) -> Result<T> {
        self.map_err(|error| format!("{doing}: {error}").into())
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, doing: impl Display) -> Result<T> {
        self.ok_or_else(|| doing.to_string().into())
    }
}
