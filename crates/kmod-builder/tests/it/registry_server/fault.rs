//! What may go wrong at one request.

use std::fmt;

/// A fault at one request to the [`Server`](super::Server). Unless it says otherwise, the request is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 403, for good.
    Forbidden,
    /// 429 without a word on when to come back.
    TooMany,
    /// 429 with `Retry-After: 1`.
    TooManyRetryAfter,
    /// 500 with a page that is no JSON.
    Internal,
    /// The connection ends without an answer.
    Reset,
    /// Carried out; the connection ends without an answer.
    LostAnswer,
    /// Carried out; the connection ends in the middle of the body.
    ResetMidBody,
    /// Carried out; the body is shorter than it should be, and its length agrees.
    Truncated,
    /// Carried out; a byte of the body and the digest in the header are wrong.
    WrongDigest,
    /// Carried out; the answer comes after the client's patience.
    Slow,
    /// From here on, tags are read as they are now, for a while.
    StaleTags,
    /// Carried out; the answer lacks `Location`.
    NoLocation,
    /// Carried out; the answer lacks `OCI-Subject`.
    NoSubject,
    /// An upload's commit answers `BLOB_UPLOAD_UNKNOWN`, though the blob is stored.
    CommitLost,
    /// An upload's commit answers `BLOB_UPLOAD_UNKNOWN`, and the blob is not stored.
    UploadLost,
    /// A manifest's write answers `unknown blob`, and its first blob is gone.
    BlobGone,
    /// Carried out; then another client, which had read the tag before, writes what it was.
    Overwritten,
    /// There is no answer, ever.
    Stall,
}

impl Fault {
    /// Whether the fault makes any difference to a request, as the log shows it.
    pub(crate) fn applies_to(self, request: &str) -> bool {
        let (method, path) = request.split_once(' ').unwrap_or_default();
        let is_commit = method == "PUT" && path.ends_with("/upload");
        // `sha256-` and what is left of a digest, without `.sig`.
        let is_index = path.strip_prefix("manifests/sha256-").is_some_and(|rest| rest.len() == 8);
        let is_manifest = path.starts_with("manifests/");
        match self {
            Self::CommitLost | Self::UploadLost => is_commit,
            Self::NoSubject => method == "PUT" && is_manifest,
            // The index of referrers has no blobs.
            Self::BlobGone => method == "PUT" && is_manifest && !is_index,
            // The documents that clients share; an image's tag has one writer.
            Self::Overwritten => method == "PUT" && path.starts_with("manifests/sha256-"),
            Self::NoLocation => method == "PUT" || method == "POST",
            Self::ResetMidBody | Self::Truncated => method == "GET",
            Self::WrongDigest => method == "GET" || is_manifest,
            Self::StaleTags => is_manifest && !path.starts_with("manifests/sha256:"),
            _ => true,
        }
    }

    /// Every fault that a publish should survive or report.
    pub(crate) const ALL: [Self; 17] = [
        Self::Forbidden,
        Self::TooMany,
        Self::TooManyRetryAfter,
        Self::Internal,
        Self::Reset,
        Self::LostAnswer,
        Self::ResetMidBody,
        Self::Truncated,
        Self::WrongDigest,
        Self::Slow,
        Self::StaleTags,
        Self::NoLocation,
        Self::NoSubject,
        Self::CommitLost,
        Self::UploadLost,
        Self::BlobGone,
        Self::Overwritten,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forbidden => "403",
            Self::TooMany => "429",
            Self::TooManyRetryAfter => "429, Retry-After",
            Self::Internal => "500",
            Self::Reset => "reset",
            Self::LostAnswer => "answer lost",
            Self::ResetMidBody => "reset mid-body",
            Self::Truncated => "body truncated",
            Self::WrongDigest => "wrong digest",
            Self::Slow => "slow",
            Self::StaleTags => "stale tags",
            Self::NoLocation => "no Location",
            Self::NoSubject => "no OCI-Subject",
            Self::CommitLost => "commit's answer lost",
            Self::UploadLost => "upload lost",
            Self::BlobGone => "unknown blob",
            Self::Overwritten => "overwritten",
            Self::Stall => "stall",
        })
    }
}
