//! The evidence for an image: what is said of it, in which form it is signed and stored, and how it is checked.
//!
//! Everything said is an in-toto statement ([`Statement`]); each is signed and becomes a Sigstore bundle, which is
//! stored as an OCI referrer of the image ([`artifact`]). Signing itself, and everything else that touches the world,
//! is in `io::evidence::signer`.

pub mod artifact;
mod claims;
mod key;
mod license;
pub mod provenance;
pub mod sbom;
mod signing_key;
pub mod simple_signing;
mod statement;
pub mod summary;
pub mod test_result;
pub mod verify;

pub use claims::{Claims, ParseClaimsError};
pub use key::{KeyError, PublicKey};
pub use signing_key::{SigningKey, SigningKeyError};
pub use statement::{EvidenceKind, ParsedStatement, Statement, StatementError};

use super::{Digest, oci};

/// The image that something is said of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementSubject {
    /// The repository, without tag or digest: `ghcr.io/owner/zfs-kmods`.
    pub name: String,
    /// The media type of the image's manifest.
    pub media_type: String,
    /// The digest of the image's manifest.
    pub digest: Digest,
    /// How many bytes the manifest has.
    pub size: u64,
}

impl StatementSubject {
    /// An image whose manifest is an OCI image manifest.
    pub fn image(name: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self { name: name.into(), media_type: oci::MANIFEST.to_owned(), digest, size }
    }
}

#[cfg(test)]
mod tests {
    pub(super) use crate::model::inputs::tests::inputs;

    use super::SigningKey;

    /// A new key.
    pub(super) fn signing_key() -> SigningKey {
        SigningKey::generate().unwrap()
    }

    #[test]
    fn zz_emit() {
        let subject =
            super::StatementSubject::image("ghcr.io/owner/zfs-kmods", super::Digest::of(b"image"), 5);
        let platform = super::provenance::BuildPlatform::Local { source: None };
        let actions = super::provenance::BuildPlatform::Actions(Box::new(super::claims::tests::claims()));
        let result = super::test_result::TestResult {
            configuration: vec![],
            passed: vec!["boot 1: load".to_owned()],
            failed: vec!["boot 2: import".to_owned()],
            reason: Some("the pool did not come back".to_owned()),
            url: Some("https://github.com/owner/zfs-kmods/actions/runs/3".to_owned()),
            finished: "2026-11-20T10:00:00Z".parse().unwrap(),
        };
        for (name, kind, predicate) in [
            (
                "provenance-local",
                super::EvidenceKind::Provenance,
                super::provenance::predicate(&inputs(), &platform),
            ),
            (
                "provenance-actions",
                super::EvidenceKind::Provenance,
                super::provenance::predicate(&inputs(), &actions),
            ),
            (
                "sbom",
                super::EvidenceKind::Sbom,
                super::sbom::document(&subject, &inputs(), &super::sbom::tests::packages()),
            ),
            ("boot-test", super::EvidenceKind::BootTest, result.predicate()),
        ] {
            let statement = super::Statement::new(kind, &subject, &predicate);
            std::fs::write(format!("/root/w/evidence/target/logs/{name}.json"), statement.json()).unwrap();
        }
    }
}
