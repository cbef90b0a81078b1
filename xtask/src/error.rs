//! Errors of xtask are messages. Only [`NeedsRoot`] is handled.

use std::error::Error;
use std::fmt::Display;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Debug, thiserror::Error)]
#[error("run this as root: {command}")]
pub(crate) struct NeedsRoot {
    pub(crate) command: String,
}

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
