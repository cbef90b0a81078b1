use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;

use super::credentials::CredentialLookupError;
use crate::digest::Digest;
use crate::error::error_chain;
use crate::reference::{Repository, TagOrDigest};
use crate::retry::{RetryPolicy, RetryableError};

/// Where the return type is an `Option`, a 404 is `None` and not an error.
#[derive(Debug, thiserror::Error)]
#[error("{repository}: could not {request}: {kind}")]
pub struct RegistryError {
    repository: Repository,
    request: String,
    account: Option<String>,
    kind: Box<RegistryErrorKind>,
}

#[derive(Debug, thiserror::Error)]
pub enum RegistryErrorKind {
    #[error("the registry answered {status}{}", listed(oci_errors))]
    Answered { status: u16, oci_errors: Vec<OciError>, retry_after: Option<Duration> },
    #[error("the registry no longer accepts the token it gave")]
    TokenExpired,
    /// The token endpoint failed; the request itself was not sent.
    #[error("could not obtain a token from {endpoint}: {kind}")]
    Token { endpoint: String, kind: Box<Self> },
    #[error("the connection failed: {}", error_chain(.0))]
    Connection(reqwest::Error),
    #[error("no data transferred for {} s", .0.as_secs_f64())]
    ReadTimeout(Duration),
    #[error("only {received} bytes were transferred in {} s", .elapsed.as_secs())]
    TooSlow { received: u64, elapsed: Duration },
    #[error("the content's digest is {actual}, not {expected}")]
    WrongContent { expected: Digest, actual: Digest },
    #[error("invalid response: {0}")]
    Malformed(String),
    #[error("{0} was written but is not visible yet")]
    NotYetVisible(String),
    #[error("the upload was aborted: {0}")]
    UploadAborted(Box<Self>),
    #[error("the registry does not have the blob, and there is no local copy")]
    BlobUnavailable,
    #[error("{0}")]
    Credential(CredentialLookupError),
    #[error("could not read {}: {error}", path.display())]
    Local { path: PathBuf, error: std::io::Error },
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OciError {
    /// Such as `MANIFEST_UNKNOWN`; empty if the body is not an OCI error response.
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub message: String,
}

impl RegistryError {
    pub(super) fn new(
        repository: &Repository,
        account: Option<&str>,
        request: impl Into<String>,
        kind: RegistryErrorKind,
    ) -> Self {
        Self {
            repository: repository.clone(),
            request: request.into(),
            account: account.map(str::to_owned),
            kind: Box::new(kind),
        }
    }

    pub fn kind(&self) -> &RegistryErrorKind {
        &self.kind
    }

    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        self.kind.is_temporary()
    }

    /// Some registries also answer this for blobs that they have just accepted.
    pub fn is_unknown_blob(&self) -> bool {
        let RegistryErrorKind::Answered { oci_errors, .. } = self.kind() else { return false };
        oci_errors.iter().any(|oci_error| {
            matches!(oci_error.code.as_str(), "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN")
                || oci_error.message.to_ascii_lowercase().contains("unknown blob")
                || oci_error.message.to_ascii_lowercase().contains("blob unknown")
        })
    }

    /// Marks an error that a new upload may recover from.
    #[must_use]
    pub fn upload_aborted(self) -> Self {
        Self { kind: Box::new(RegistryErrorKind::UploadAborted(self.kind)), ..self }
    }

    pub fn status(&self) -> Option<u16> {
        match self.kind() {
            RegistryErrorKind::Answered { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl RetryableError for RegistryError {
    fn is_retryable(&self, _: &RetryPolicy) -> bool {
        self.is_temporary()
    }

    fn wanted_delay(&self) -> Option<Duration> {
        self.kind.retry_after()
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
            Self::Token { kind, .. } => kind.is_temporary(),
            Self::TokenExpired
            | Self::Connection(_)
            | Self::ReadTimeout(_)
            | Self::TooSlow { .. }
            | Self::WrongContent { .. }
            | Self::UploadAborted(_)
            // Proxies answer with error pages while the server behind them restarts.
            | Self::Malformed(_) => true,
            Self::NotYetVisible(_) | Self::BlobUnavailable | Self::Credential(_) | Self::Local { .. } => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { retry_after, .. } => *retry_after,
            Self::Token { kind, .. } | Self::UploadAborted(kind) => kind.retry_after(),
            _ => None,
        }
    }
}

impl miette::Diagnostic for RegistryError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let host = self.repository.host();
        let kind = match self.kind() {
            RegistryErrorKind::Token { kind, .. } => &**kind,
            kind => kind,
        };
        let help = match kind {
            RegistryErrorKind::Answered { status: 401 | 403, .. } if !kind.is_temporary() => {
                match &self.account {
                    None => format!("no credential for {host} was found; sign in with `podman login {host}`"),
                    Some(origin) => format!(
                        "the registry rejected the credential from {origin}; it may have expired or lack the permission \
                         for this repository; sign in again with `podman login {host}`"
                    ),
                }
            }
            RegistryErrorKind::Answered { status: 405, .. } => {
                format!("{host} does not support this request")
            }
            RegistryErrorKind::Answered { .. } if !kind.is_temporary() => return None,
            RegistryErrorKind::Credential(error) => return error.help(),
            RegistryErrorKind::Local { .. } | RegistryErrorKind::BlobUnavailable => {
                "build the image again".to_owned()
            }
            RegistryErrorKind::NotYetVisible(_) => {
                "run the command again in a minute; responses may be stale for some seconds".to_owned()
            }
            _ => "all retries failed; run the command again later, finished work is kept".to_owned(),
        };
        Some(Box::new(help))
    }
}

/// For error messages.
pub fn manifest_named(tag_or_digest: &TagOrDigest) -> String {
    match tag_or_digest {
        TagOrDigest::Tag(tag) => format!("the manifest tagged `{tag}`"),
        TagOrDigest::Digest(digest) => format!("the manifest {digest}"),
    }
}

/// The errors in a response, or the beginning of another body.
pub(super) fn oci_errors(body: &[u8]) -> Vec<OciError> {
    #[derive(Deserialize)]
    struct OciErrorResponse {
        errors: Vec<OciError>,
    }
    if let Ok(response) = serde_json::from_slice::<OciErrorResponse>(body) {
        return response.errors;
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

impl OciError {
    /// How long GHCR asks to wait in the message of a 429: `retry-after: 880.092µs` (dependabot/cli#380).
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let message = self.message.to_ascii_lowercase();
        let (_, rest) = message.split_once("retry-after: ")?;
        let wait: SignedDuration = rest.split(',').next()?.trim().parse().ok()?;
        Duration::try_from(wait).ok()
    }
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
    fn errors_name_repository_request_and_reason() {
        let error = answered(403, r#"{"errors":[{"code":"DENIED","message":"permission_denied: write"}]}"#);
        assert_eq!(
            error.to_string(),
            "ghcr.io/owner/zfs-kmods: could not read the tags: the registry answered 403: DENIED: \
             permission_denied: write"
        );
        let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
        assert_eq!(help.unwrap(), "no credential for ghcr.io was found; sign in with `podman login ghcr.io`");
        assert_eq!(listed(&oci_errors(b"<html>\nBad gateway")), ": <html> Bad gateway");
    }

    #[test]
    fn only_temporary_failures_are_retried() {
        assert!(answered(500, "").is_temporary() && answered(429, "").is_temporary());
        assert!(answered(403, "You have exceeded a secondary rate limit").is_temporary());
        for status in [400, 401, 403, 404, 405, 416, 501] {
            assert!(!answered(status, "").is_temporary(), "{status}");
        }
    }

    #[test]
    fn missing_blobs_are_recognised_in_every_wording() {
        assert!(answered(400, r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#).is_unknown_blob());
        assert!(
            answered(404, r#"{"errors":[{"code":"UNKNOWN","message":"unknown blob"}]}"#).is_unknown_blob()
        );
        assert!(!answered(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#).is_unknown_blob());
    }

    #[test]
    fn the_wait_in_a_message_is_understood() {
        for (message, nanoseconds) in [
            ("retry-after: 880.092µs, allowed: 44000/minute", Some(880_092)),
            ("Retry-After: 2s", Some(2_000_000_000)),
            ("retry-after: soon", None),
            ("no", None),
        ] {
            let error = OciError { code: String::new(), message: message.to_owned() };
            assert_eq!(error.retry_after(), nanoseconds.map(Duration::from_nanos), "{message}");
        }
    }
}
