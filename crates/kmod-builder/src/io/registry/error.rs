//! What can go wrong between us and a registry, told as it is.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::model::image::Repository;
use crate::model::{Digest, image::TagOrDigest};

use super::credentials::CredentialError;

/// A request to a registry had no usable answer.
///
/// "Not there" is no error where a caller can ask for it: only a 404 makes a `None`, and everything else is this.
#[derive(Debug)]
pub struct RegistryError {
    repository: Repository,
    request: String,
    account: Option<String>,
    problem: Box<RegistryErrorKind>,
}

/// What was wrong with a request or its answer.
#[derive(Debug, thiserror::Error)]
pub enum RegistryErrorKind {
    /// The registry answered with a status that is not the one asked for.
    #[error("the registry answered {status}{}", listed(oci_errors))]
    Answered {
        /// The HTTP status.
        status: u16,
        /// What the registry said about it (OCI distribution specification, "Error Codes").
        oci_errors: Vec<OciError>,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// A token that had been good is good no longer.
    #[error("the registry no longer accepts the token it gave")]
    TokenExpired,
    /// The token endpoint failed; the request itself was not made.
    #[error("no token was to be had from {endpoint}: {problem}")]
    Token {
        /// Its address.
        endpoint: String,
        /// What was wrong.
        problem: Box<Self>,
    },
    /// No answer came, or it ended too early.
    #[error("the connection failed: {}", chain(.0))]
    Connection(#[source] reqwest::Error),
    /// Nothing moved for too long.
    #[error("nothing came or went for {} s", .0.as_secs_f64())]
    ReadTimeout(Duration),
    /// The content is not what its digest says.
    #[error("the content's digest is {actual}, not {expected}")]
    WrongContent {
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// The answer is none that the specification allows.
    #[error("the answer makes no sense: {0}")]
    Malformed(String),
    /// What was just written cannot be read back.
    #[error("{0} was written, but reading does not show it yet")]
    NotSettled(String),
    /// An upload was not completed.
    #[error("the upload was lost: {0}")]
    Lost(Box<Self>),
    /// A blob that was to be in the registry is not.
    #[error("the registry does not have it, and it is not on this machine")]
    Nowhere,
    /// No credential could be read.
    #[error(transparent)]
    Credential(CredentialError),
    /// A blob on this machine could not be read.
    #[error("could not read {}: {error}", path.display())]
    Local {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
}

/// One entry of a registry's error answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OciError {
    /// The code, such as `MANIFEST_UNKNOWN`; empty where the answer was none that a program can read.
    #[serde(default)]
    pub code: String,
    /// The sentence beside it.
    #[serde(default)]
    pub message: String,
}

impl RegistryError {
    pub(super) fn new(
        repository: &Repository,
        account: Option<&str>,
        request: impl Into<String>,
        problem: RegistryErrorKind,
    ) -> Self {
        Self {
            repository: repository.clone(),
            request: request.into(),
            account: account.map(str::to_owned),
            problem: Box::new(problem),
        }
    }

    /// What was wrong.
    pub fn problem(&self) -> &RegistryErrorKind {
        &self.problem
    }

    /// Whether the same request may well succeed a little later.
    pub fn is_temporary(&self) -> bool {
        self.problem.is_temporary()
    }

    /// How long the registry asks us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.problem.retry_after()
    }

    /// Whether the registry says that a blob it needs is not there.
    ///
    /// Registries word this differently, and some say it for blobs that they have just accepted.
    pub fn is_unknown_blob(&self) -> bool {
        let RegistryErrorKind::Answered { oci_errors, .. } = self.problem() else { return false };
        oci_errors.iter().any(|oci_error| {
            matches!(oci_error.code.as_str(), "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN")
                || oci_error.message.to_ascii_lowercase().contains("unknown blob")
                || oci_error.message.to_ascii_lowercase().contains("blob unknown")
        })
    }

    /// The same failure, of which another attempt from the beginning may recover.
    pub(super) fn lost(self) -> Self {
        Self { problem: Box::new(RegistryErrorKind::Lost(self.problem)), ..self }
    }

    /// The HTTP status, where there was one.
    pub fn status(&self) -> Option<u16> {
        match self.problem() {
            RegistryErrorKind::Answered { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl RegistryErrorKind {
    fn is_temporary(&self) -> bool {
        match self {
            Self::Answered { status, oci_errors, retry_after } => match status {
                408 | 425 | 429 | 500 | 502..=504 | 506..=599 => true,
                // GitHub's secondary limit is a 403 (falcosecurity/plugins#1069).
                403 => {
                    retry_after.is_some()
                        || oci_errors.iter().any(|oci_error| oci_error.message.contains("rate limit"))
                }
                _ => false,
            },
            Self::Token { problem, .. } => problem.is_temporary(),
            Self::TokenExpired
            | Self::Connection(_)
            | Self::ReadTimeout(_)
            | Self::WrongContent { .. }
            // Proxies answer with pages of their own while what is behind them restarts.
            | Self::Lost(_)
            | Self::Malformed(_) => true,
            Self::NotSettled(_) | Self::Nowhere | Self::Credential(_) | Self::Local { .. } => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { retry_after, .. } => *retry_after,
            Self::Token { problem, .. } | Self::Lost(problem) => problem.retry_after(),
            _ => None,
        }
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: could not {}: {}", self.repository, self.request, self.problem)
    }
}

impl std::error::Error for RegistryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.problem)
    }
}

impl miette::Diagnostic for RegistryError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new("zfs_kmods::registry"))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let host = self.repository.host();
        let problem = match self.problem() {
            RegistryErrorKind::Token { problem, .. } => &**problem,
            problem => problem,
        };
        let help = match problem {
            RegistryErrorKind::Answered { status: 401 | 403, .. } if !problem.is_temporary() => {
                match &self.account {
                    None => format!("no credential for {host} was found: sign in with `podman login {host}`"),
                    Some(origin) => format!(
                        "the credential of {origin} was refused: it may have expired, or lack the right to write to \
                     this repository; sign in again with `podman login {host}`"
                    ),
                }
            }
            RegistryErrorKind::Answered { status: 405, .. } => {
                format!("{host} does not offer this over the registry protocol")
            }
            RegistryErrorKind::Answered { .. } if !problem.is_temporary() => return None,
            RegistryErrorKind::Credential(error) => return miette::Diagnostic::help(error),
            RegistryErrorKind::Local { .. } | RegistryErrorKind::Nowhere => {
                "build the image again".to_owned()
            }
            RegistryErrorKind::NotSettled(_) => {
                "run it again in a minute: registries may show old answers for some seconds".to_owned()
            }
            _ => "it was tried several times; run it again later, what is done is kept".to_owned(),
        };
        Some(Box::new(help))
    }
}

/// How a request names the manifest it is about.
pub(super) fn manifest_named(tag_or_digest: &TagOrDigest) -> String {
    match tag_or_digest {
        TagOrDigest::Tag(tag) => format!("the manifest tagged `{tag}`"),
        TagOrDigest::Digest(digest) => format!("the manifest {digest}"),
    }
}

/// The complaints in an error answer, or the beginning of whatever it was.
pub(super) fn oci_errors(body: &[u8]) -> Vec<OciError> {
    #[derive(Deserialize)]
    struct OciErrorResponse {
        errors: Vec<OciError>,
    }
    if let Ok(envelope) = serde_json::from_slice::<OciErrorResponse>(body) {
        return envelope.errors;
    }
    let text: String = String::from_utf8_lossy(body)
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(200)
        .collect();
    match text.trim() {
        "" => Vec::new(),
        text => vec![OciError { code: String::new(), message: text.to_owned() }],
    }
}

fn listed(oci_errors: &[OciError]) -> String {
    oci_errors
        .iter()
        .map(|OciError { code, message }| match (code.as_str(), message.as_str()) {
            ("", message) => format!(": {message}"),
            (code, "") => format!(": {code}"),
            (code, message) => format!(": {code}: {message}"),
        })
        .collect()
}

/// An error and its causes in one line: reqwest's own sentence never says what happened.
fn chain(error: &reqwest::Error) -> String {
    let mut line = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> RegistryError {
        let repository = "ghcr.io/owner/zfs-kmods".parse().unwrap();
        let oci_errors = oci_errors(body.as_bytes());
        RegistryError::new(
            &repository,
            None,
            "read the tags",
            RegistryErrorKind::Answered { status, oci_errors, retry_after: None },
        )
    }

    #[test]
    fn errors_say_who_what_and_why() {
        let error = answered(403, r#"{"errors":[{"code":"DENIED","message":"permission_denied: write"}]}"#);
        assert_eq!(
            error.to_string(),
            "ghcr.io/owner/zfs-kmods: could not read the tags: the registry answered 403: DENIED: \
             permission_denied: write"
        );
        let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
        assert_eq!(help.unwrap(), "no credential for ghcr.io was found: sign in with `podman login ghcr.io`");
        assert_eq!(answered(502, "<html>\nBad gateway").complaints_text(), ": <html> Bad gateway");
    }

    #[test]
    fn only_what_may_pass_is_temporary() {
        assert!(answered(500, "").is_temporary() && answered(429, "").is_temporary());
        assert!(answered(403, "You have exceeded a secondary rate limit").is_temporary());
        for status in [400, 401, 403, 404, 405, 416, 501] {
            assert!(!answered(status, "").is_temporary(), "{status}");
        }
    }

    #[test]
    fn unknown_blobs_are_recognised_in_every_wording() {
        assert!(answered(400, r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#).is_unknown_blob());
        assert!(
            answered(404, r#"{"errors":[{"code":"UNKNOWN","message":"unknown blob"}]}"#).is_unknown_blob()
        );
        assert!(!answered(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#).is_unknown_blob());
    }

    impl RegistryError {
        fn complaints_text(&self) -> String {
            match self.problem() {
                RegistryErrorKind::Answered { oci_errors, .. } => listed(oci_errors),
                _ => String::new(),
            }
        }
    }
}
