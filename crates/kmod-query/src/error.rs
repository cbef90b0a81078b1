use std::fmt;

use jiff::Timestamp;
use miette::Diagnostic;

use crate::coreos::KernelUnknown;
use crate::headers::Tried;

/// A request as errors name it: where it went and what should have come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The address, without any password in it.
    pub url: String,
    /// What was expected there, in words (`the release index of stream stable`).
    pub expected: String,
}

impl Asked {
    pub(crate) fn new(url: &str, expected: impl Into<String>) -> Self {
        Self { url: without_password(url), expected: expected.into() }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (expected {})", self.url, self.expected)
    }
}

/// A base URL may carry credentials; an error is read by everybody who can read the log.
fn without_password(url: &str) -> String {
    match reqwest::Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() || !parsed.username().is_empty() => {
            // Both fail only for addresses that cannot have credentials, and those did not get here.
            let removed = parsed.set_password(None).and_then(|()| parsed.set_username(""));
            removed.map_or_else(|()| "(address with credentials)".to_owned(), |()| parsed.to_string())
        }
        _ => url.to_owned(),
    }
}

/// What can go wrong when upstream is asked what exists.
///
/// Every variant says which address was asked and what was expected there. [`QueryError::is_temporary`]
/// tells whether asking again later may help; the requests of this crate were already repeated then.
#[derive(Clone, Debug, thiserror::Error, Diagnostic)]
pub enum QueryError {
    /// No connection: name lookup, routing, TLS, or a connection that broke off.
    #[error("cannot reach {asked}: {reason}")]
    #[diagnostic(help("check the network, name resolution and the proxy settings of this machine"))]
    Unreachable {
        /// The request.
        asked: Asked,
        /// What the network layer said.
        reason: String,
    },
    /// The server took longer than the limit to connect, to answer, or between two parts of its answer.
    #[error("no answer in time from {asked}")]
    #[diagnostic(help("the server or the network is slow; try again later"))]
    Timeout {
        /// The request.
        asked: Asked,
    },
    /// 404 or 410.
    #[error("not found (404): {asked}")]
    #[diagnostic(help(
        "check the version or name asked for, and the base URL; upstream may have deleted or moved it"
    ))]
    NotFound {
        /// The request.
        asked: Asked,
    },
    /// 401.
    #[error("not authorized (401): {asked}")]
    #[diagnostic(help("the token or password was refused: check it, or ask without one"))]
    Unauthorized {
        /// The request.
        asked: Asked,
    },
    /// 403 that is no rate limit. Object stores also answer 403 for objects that do not exist.
    #[error("access denied (403): {asked}")]
    #[diagnostic(help(
        "object stores also answer 403 for what does not exist: check the name and the base URL"
    ))]
    Forbidden {
        /// The request.
        asked: Asked,
    },
    /// 429, or GitHub's 403 with an exhausted rate limit.
    #[error("too many requests{}: {asked}", when(*until))]
    #[diagnostic(help("wait, or raise the limit by giving credentials (GitHub: a token)"))]
    TooManyRequests {
        /// The request.
        asked: Asked,
        /// From when on the server says that it will answer again.
        until: Option<Timestamp>,
    },
    /// Any other status.
    #[error("unexpected status {status}{}: {asked}", when(*until))]
    #[diagnostic(help("the fault is most likely the server's; try again later"))]
    Status {
        /// The request.
        asked: Asked,
        /// The HTTP status code.
        status: u16,
        /// From when on the server says that it will answer again.
        until: Option<Timestamp>,
    },
    /// A web page where data should be: a captive portal, a maintenance page, a wrong base URL.
    #[error("a web page came instead of JSON: {asked}")]
    #[diagnostic(help("check the base URL, and whether a proxy or a login page stands between"))]
    Html {
        /// The request.
        asked: Asked,
    },
    /// JSON that ends too early.
    #[error("the JSON is cut off at line {line}, column {column}: {asked}")]
    #[diagnostic(help("the transfer or the file upstream is incomplete; try again"))]
    Truncated {
        /// The request.
        asked: Asked,
        /// Where it ends, counted from 1.
        line: usize,
        /// Where it ends, counted from 1.
        column: usize,
    },
    /// Not JSON at all.
    #[error("not valid JSON: {reason}: {asked}")]
    #[diagnostic(help("check the base URL; the format upstream may have changed"))]
    InvalidJson {
        /// The request.
        asked: Asked,
        /// What the parser said, with line and column.
        reason: String,
    },
    /// The JSON lacks something that cannot be done without.
    #[error("the field `{field}` is missing: {asked}")]
    #[diagnostic(help("the format upstream may have changed; this program may need an update"))]
    MissingField {
        /// The request.
        asked: Asked,
        /// The path of the field, such as `releases[3].version`.
        field: String,
    },
    /// The JSON has something else than expected in a field.
    #[error("the field `{field}` is unusable: {reason}: {asked}")]
    #[diagnostic(help("the format upstream may have changed; this program may need an update"))]
    InvalidField {
        /// The request.
        asked: Asked,
        /// The path of the field.
        field: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// More bytes than any sensible answer has.
    #[error("the answer is larger than {limit} bytes: {asked}")]
    #[diagnostic(help("check the base URL: this cannot be the document that was asked for"))]
    TooLarge {
        /// The request.
        asked: Asked,
        /// The limit.
        limit: u64,
    },
    /// Content that is not what its digest promises.
    #[error("the content is {actual}, but {promised} was promised: {asked}")]
    #[diagnostic(help("the transfer was corrupted or tampered with; nothing of it was used"))]
    DigestMismatch {
        /// The request.
        asked: Asked,
        /// The digest that was asked for or announced.
        promised: String,
        /// The digest of what came.
        actual: String,
    },
    /// An address that cannot be asked.
    #[error("unusable address `{url}`: {reason}")]
    #[diagnostic(help("give a whole URL, such as `https://api.github.com`"))]
    InvalidUrl {
        /// The address.
        url: String,
        /// Why not.
        reason: String,
    },
    /// Text that is no image reference.
    #[error("`{reference}` is not an image reference: {reason}")]
    #[diagnostic(help("expected e.g. `quay.io/fedora/fedora-kinoite:43` or `…@sha256:<64 hex digits>`"))]
    InvalidReference {
        /// The text.
        reference: String,
        /// Why not.
        reason: String,
    },
    /// There is no image for the architecture.
    #[error("no image for {arch}: {asked}")]
    #[diagnostic(help("choose another architecture, stream or base image"))]
    NoImage {
        /// The request.
        asked: Asked,
        /// The architecture, as RPM calls it.
        arch: kmod_compat::Arch,
    },
    /// There is no released OpenZFS version that can be used.
    #[error("{reason}: {asked}")]
    #[diagnostic(help("choose a released version, or wait until upstream has published its files"))]
    NoRelease {
        /// The request.
        asked: Asked,
        /// What is lacking.
        reason: String,
    },
    /// None of the documents names the kernel. The image itself still can be asked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    KernelUnknown(Box<KernelUnknown>),
    /// Every place answered that it does not have the package.
    #[error("{nevra} is gone from every known place{}", list(tried))]
    #[diagnostic(help(
        "upstream deletes old kernel packages: build for a newer kernel, or keep a copy and name its place"
    ))]
    KernelRpmGone {
        /// The package.
        nevra: String,
        /// Every address with its answer.
        tried: Vec<Tried>,
    },
    /// No place has the package, but at least one gave no clear answer.
    #[error("cannot tell whether {nevra} still exists{}", list(tried))]
    #[diagnostic(help("some places gave no clear answer; try again later"))]
    KernelRpmUncertain {
        /// The package.
        nevra: String,
        /// Every address with its answer.
        tried: Vec<Tried>,
    },
    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client: {reason}")]
    #[diagnostic(help("check the TLS certificates and the proxy settings of this machine"))]
    Client {
        /// What the library said.
        reason: String,
    },
}

impl QueryError {
    /// Whether the same question may get an answer later, with nothing changed on this side.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::TooManyRequests { .. }
            | Self::KernelRpmUncertain { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// From when on the server says that it will answer again.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::TooManyRequests { until, .. } | Self::Status { until, .. } => *until,
            _ => None,
        }
    }

    /// Whether an object store (S3 behind a CDN) says hereby that the object does not exist.
    ///
    /// Such a store answers 403 for a missing object to whoever may not list it
    /// ([coreos/fedora-coreos-tracker#2014](https://github.com/coreos/fedora-coreos-tracker/issues/2014)).
    pub(crate) fn is_missing_object(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Forbidden { .. })
    }
}

fn when(until: Option<Timestamp>) -> String {
    until.map_or_else(String::new, |until| format!(" (asks to wait until {until:.0})"))
}

/// One line each, below the sentence that they belong to.
pub(crate) fn list(lines: &[impl fmt::Display]) -> String {
    use fmt::Write;
    lines.iter().fold(String::new(), |mut text, line| {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {line}");
        text
    })
}

/// What is wrong with a document, before it is known where it came from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// JSON that ends too early.
    #[error("the JSON is cut off at line {line}, column {column}")]
    Truncated {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// Not JSON.
    #[error("not valid JSON: {reason}")]
    Json {
        /// What the parser said, with line and column.
        reason: String,
    },
    /// A field that cannot be done without.
    #[error("the field `{field}` is missing")]
    Missing {
        /// Its path.
        field: String,
    },
    /// A field of another kind or with an unusable value.
    #[error("the field `{field}` is unusable: {reason}")]
    Invalid {
        /// Its path.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl FormatError {
    /// The same error with the place where the document came from.
    pub(crate) fn at(self, asked: &Asked) -> QueryError {
        let asked = asked.clone();
        match self {
            Self::Truncated { line, column } => QueryError::Truncated { asked, line, column },
            Self::Json { reason } => QueryError::InvalidJson { asked, reason },
            Self::Missing { field } => QueryError::MissingField { asked, field },
            Self::Invalid { field, reason } => QueryError::InvalidField { asked, field, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        let asked = Asked::new("https://user:secret@example.org/a", "x");
        assert_eq!(asked.url, "https://example.org/a");
    }
}
