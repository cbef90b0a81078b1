//! The evidence for an image: its content, its format, and its verification.
//!
//! Each piece is an in-toto [`Statement`], signed as a Sigstore bundle and stored as an OCI referrer of the image
//! ([`artifact`]). Signing and I/O are in `io::evidence::signer`.

pub mod artifact;
mod claims;
mod key;
mod license;
pub mod lifecycle;
pub mod provenance;
pub mod sbom;
mod signing_key;
pub mod simple_signing;
mod statement;
pub mod summary;
pub mod test_result;
pub mod verify;

pub use claims::Claims;
pub use key::{KeyError, PublicKey};
pub use signing_key::{SigningKey, SigningKeyError};
pub use statement::{EvidenceKind, ParsedStatement, Statement};

use super::Digest;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementSubject {
    /// The repository, without tag or digest: `ghcr.io/owner/zfs-kmods`.
    pub name: String,
    /// Of the image's manifest.
    pub digest: Digest,
    /// Of the image's manifest, in bytes.
    pub size: u64,
}

impl StatementSubject {
    /// An image with an OCI image manifest.
    pub fn image(name: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self { name: name.into(), digest, size }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    pub(super) use crate::model::inputs::tests::inputs;

    use super::provenance::BuildPlatform;
    use super::*;

    pub(crate) fn subject() -> StatementSubject {
        StatementSubject::image("ghcr.io/owner/zfs-kmods", Digest::of(b"image"), 5)
    }

    pub(super) fn signing_key() -> SigningKey {
        SigningKey::generate().unwrap()
    }

    #[test]
    fn stored_statements_are_read_and_written_with_the_same_members() {
        let subject = subject();
        let predicate = |json: &str, kind: EvidenceKind| {
            let statement = ParsedStatement::parse(json.as_bytes()).unwrap();
            assert!(statement.is_about(&subject.digest));
            assert_eq!(statement.predicate_type, kind.predicate_type());
            let written = Statement::new(kind, &subject, &statement.predicate);
            assert_eq!(written.json(), json.as_bytes());
            statement.predicate
        };

        let local = BuildPlatform::Local { source: None };
        let actions = BuildPlatform::Actions(Box::new(super::claims::tests::claims()));
        for (json, platform) in [
            (include_str!("fixtures/provenance-local.json"), local),
            (include_str!("fixtures/provenance-actions.json"), actions),
        ] {
            let stored = predicate(json, EvidenceKind::Provenance);
            let read = provenance::read(&stored).unwrap();
            assert_eq!((read.digest, read.inputs), (inputs().digest(), inputs()));
            assert_eq!(provenance::predicate(&inputs(), &platform), stored);
        }

        let packages = sbom::tests::packages();
        let stored = predicate(include_str!("fixtures/sbom.json"), EvidenceKind::Sbom);
        assert_eq!(sbom::listed_files(&stored).unwrap().len(), packages.len());
        assert_eq!(sbom::document(&subject, &inputs(), &packages), stored);

        let stored = predicate(include_str!("fixtures/boot-test.json"), EvidenceKind::BootTest);
        let read = test_result::read(&stored).unwrap();
        assert_eq!(read.finished.to_string(), "2026-11-20T10:00:00Z");
        assert_eq!(read.failure.as_deref(), Some("the pool did not come back"));
        let result = test_result::TestResult {
            configuration: vec![],
            passed: vec!["boot 1: load".to_owned()],
            failed: vec!["boot 2: import".to_owned()],
            reason: read.failure,
            url: Some("https://github.com/owner/zfs-kmods/actions/runs/3".to_owned()),
            finished: read.finished,
        };
        assert_eq!(result.predicate(), stored);
    }
}
