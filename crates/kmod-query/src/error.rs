use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kmod_compat::Nevra;
use miette::Diagnostic;

use crate::coreos::KernelUnknown;
use crate::kernel_packages::FailedLookup;
use crate::reference::ParseImageRefError;
use crate::registry::RegistryError;
use crate::retry::{RetryPolicy, RetryableError};

/// For error messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// Without user and password.
    pub url: String,
    /// Such as `the release index of stream stable`.
    pub expected: String,
}

impl RequestInfo {
    pub(crate) fn new(url: &str, expected: impl Into<String>) -> Self {
        Self { url: without_password(url), expected: expected.into() }
    }
}

impl fmt::Display for RequestInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (expected {})", self.url, self.expected)
    }
}

fn without_password(url: &str) -> String {
    match reqwest::Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() || !parsed.username().is_empty() => {
            let removed = parsed.set_password(None).and_then(|()| parsed.set_username(""));
            removed.map_or_else(|()| "(address with credentials)".to_owned(), |()| parsed.to_string())
        }
        _ => url.to_owned(),
    }
}

/// Error and causes in one line, without causes that repeat the text before them.
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(ToString::to_string).fold(error.to_string(), |line, cause| {
        if line.ends_with(&cause) { line } else { format!("{line}: {cause}") }
    })
}

/// Upstream could not be queried. Requests were already retried where [`QueryError::is_temporary`].
#[derive(Clone, Debug, thiserror::Error, Diagnostic)]
pub enum QueryError {
    /// No connection: name lookup, routing, TLS, or a connection that broke off.
    #[error("cannot reach {request}: {reason}")]
    #[diagnostic(help("check the network, name resolution and the proxy settings of this machine"))]
    Unreachable { request: RequestInfo, reason: String },
    #[error("timeout: {request}")]
    #[diagnostic(help("the server or the network is slow; try again later"))]
    Timeout { request: RequestInfo },
    /// 404 or 410.
    #[error("not found (404): {request}")]
    #[diagnostic(help(
        "check the requested version or name, and the base URL; upstream may have deleted or moved it"
    ))]
    NotFound { request: RequestInfo },
    #[error("not authorized (401): {request}")]
    #[diagnostic(help("the token or password was rejected; correct or remove it"))]
    Unauthorized { request: RequestInfo },
    /// 403 that is no rate limit. Object stores also answer 403 for objects that do not exist.
    #[error("access denied (403): {request}")]
    #[diagnostic(help(
        "object stores also answer 403 for what does not exist: check the name and the base URL"
    ))]
    Forbidden { request: RequestInfo },
    /// 429, or GitHub's 403 with an exhausted rate limit.
    #[error("too many requests{}: {request}", when(*until))]
    #[diagnostic(help("wait, or raise the limit by giving credentials (GitHub: a token)"))]
    TooManyRequests { request: RequestInfo, until: Option<Timestamp> },
    #[error("unexpected status {status}{}: {request}", when(*until))]
    #[diagnostic(help("the server failed; try again later"))]
    Status { request: RequestInfo, status: u16, until: Option<Timestamp> },
    /// A web page where data should be: a captive portal, a maintenance page, a wrong base URL.
    #[error("got a web page instead of JSON: {request}")]
    #[diagnostic(help("check the base URL and the proxy settings; it may be a login page"))]
    Html { request: RequestInfo },
    #[error("{error}: {request}")]
    #[diagnostic(help("{}", error.advice()))]
    Format { request: RequestInfo, error: FormatError },
    #[error("the response is larger than {limit} bytes: {request}")]
    #[diagnostic(help("check the base URL: this is not the expected document"))]
    TooLarge { request: RequestInfo, limit: u64 },
    #[error("invalid address `{url}`: {reason}")]
    #[diagnostic(help("give a complete URL, such as `https://api.github.com`"))]
    InvalidUrl { url: String, reason: String },
    #[error(transparent)]
    #[diagnostic(help("name an image in a registry: `quay.io/fedora/fedora-kinoite:43`"))]
    InvalidReference(#[from] ParseImageRefError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(Arc<RegistryError>),
    #[error("no image for {arch}: {request}")]
    #[diagnostic(help("choose another architecture, stream or source image"))]
    NoImage { request: RequestInfo, arch: kmod_compat::Arch },
    #[error("{reason}: {request}")]
    #[diagnostic(help("choose a released version, or wait until upstream has published its files"))]
    NoRelease { request: RequestInfo, reason: String },
    /// No document names the kernel; the image itself can still be inspected.
    #[error(transparent)]
    #[diagnostic(transparent)]
    KernelUnknown(Box<KernelUnknown>),
    #[error("{nevra} is in no known package repository{}", list(tried))]
    #[diagnostic(help(
        "upstream deletes old kernel packages: build for a newer kernel, or keep a copy and give its URL"
    ))]
    KernelRpmGone { nevra: Nevra, tried: Vec<FailedLookup> },
    /// No repository has the package, but at least one request failed.
    #[error("cannot tell whether {nevra} still exists{}", list(tried))]
    #[diagnostic(help("some package repositories failed; try again later"))]
    KernelRpmUncertain { nevra: Nevra, tried: Vec<FailedLookup> },
    #[error("cannot set up the HTTP client: {reason}")]
    #[diagnostic(help("check the TLS certificates and the proxy settings of this machine"))]
    Client { reason: String },
}

impl QueryError {
    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::TooManyRequests { .. }
            | Self::KernelRpmUncertain { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Registry(error) => error.is_temporary(),
            _ => false,
        }
    }

    /// When the server accepts requests again.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::TooManyRequests { until, .. } | Self::Status { until, .. } => *until,
            _ => None,
        }
    }

    /// Object stores answer 403 for missing objects to clients without permission to list them
    /// ([coreos/fedora-coreos-tracker#2014](https://github.com/coreos/fedora-coreos-tracker/issues/2014)).
    pub(crate) fn is_missing_object(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Forbidden { .. })
    }
}

impl From<RegistryError> for QueryError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Arc::new(error))
    }
}

impl RetryableError for QueryError {
    fn is_retryable(&self, policy: &RetryPolicy) -> bool {
        self.is_temporary() && self.wanted_delay().is_none_or(|wait| wait <= policy.longest_delay)
    }

    fn wanted_delay(&self) -> Option<Duration> {
        self.until()
            .map(|until| Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default())
    }
}

fn when(until: Option<Timestamp>) -> String {
    until.map_or_else(String::new, |until| format!(" (asks to wait until {until:.0})"))
}

/// One line each.
pub(crate) fn list(lines: &[impl fmt::Display]) -> String {
    use fmt::Write;
    lines.iter().fold(String::new(), |mut text, line| {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {line}");
        text
    })
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("the JSON is cut off at line {line}, column {column}")]
    Truncated { line: usize, column: usize },
    #[error("not valid JSON: {reason}")]
    Json { reason: String },
    /// `field` is a path, such as `releases[3].version`.
    #[error("the field `{field}` is missing")]
    Missing { field: String },
    #[error("the field `{field}` is invalid: {reason}")]
    Invalid { field: String, reason: String },
}

impl FormatError {
    pub(crate) fn at(self, request: &RequestInfo) -> QueryError {
        QueryError::Format { request: request.clone(), error: self }
    }

    const fn advice(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "the transfer or the file upstream is incomplete; try again",
            Self::Json { .. } => "check the base URL; the format upstream may have changed",
            Self::Missing { .. } | Self::Invalid { .. } => {
                "the format upstream may have changed; this program may need an update"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        let request = RequestInfo::new("https://user:secret@example.org/a", "x");
        assert_eq!(request.url, "https://example.org/a");
    }
}
