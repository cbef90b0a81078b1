use std::fmt;

use clap::ValueEnum;

/// A fault at one request to the [`Server`](super::Server). Except for missing headers, a request is not executed
/// unless stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    Forbidden,
    TooMany,
    TooManyRetryAfter,
    Internal,
    Reset,
    /// Executed; the connection ends without a response.
    LostResponse,
    /// Executed; the connection ends in the middle of the body.
    ResetMidBody,
    /// Executed; half of the body is sent, with a matching length.
    Truncated,
    /// Executed; a byte of the body and the digest in the header are wrong.
    WrongDigest,
    /// Executed; the response comes after the read timeout.
    Slow,
    /// For a while, reads of tags return their state at this request.
    StaleTags,
    NoLocation,
    NoSubject,
    /// An upload's commit answers `BLOB_UPLOAD_UNKNOWN`, though the blob is stored.
    CommitLost,
    /// An upload's commit answers `BLOB_UPLOAD_UNKNOWN`, and the blob is not stored.
    UploadLost,
    /// A manifest's write answers `unknown blob`, and its first blob is gone.
    BlobGone,
    /// Executed; then another client overwrites the tag with its earlier value.
    Overwritten,
    Stall,
    /// 404, although the content exists.
    NotFound,
}

impl Fault {
    /// Whether the fault affects a request, given as in the log.
    pub(crate) fn applies_to(self, request: &str) -> bool {
        let (method, path) = request.split_once(' ').unwrap_or_default();
        let is_commit = method == "PUT" && path.ends_with("/upload");
        // `sha256-` and a shortened digest, without `.sig`.
        let is_index = path.strip_prefix("manifests/sha256-").is_some_and(|rest| rest.len() == 8);
        let is_manifest = path.starts_with("manifests/");
        match self {
            Self::CommitLost | Self::UploadLost => is_commit,
            Self::NoSubject => method == "PUT" && is_manifest,
            // The index of referrers has no blobs.
            Self::BlobGone => method == "PUT" && is_manifest && !is_index,
            // Only documents that clients share.
            Self::Overwritten => method == "PUT" && path.starts_with("manifests/sha256-"),
            Self::NoLocation => method == "PUT" || method == "POST",
            Self::ResetMidBody | Self::Truncated => method == "GET",
            Self::WrongDigest => method == "GET" || is_manifest,
            Self::StaleTags => is_manifest && !path.starts_with("manifests/sha256:"),
            _ => true,
        }
    }

    /// Every fault that a publish should survive or report.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied().filter(|fault| !matches!(fault, Self::Stall | Self::NotFound))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_possible_value().expect("no fault is skipped").get_name())
    }
}
