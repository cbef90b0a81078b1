//! The content of a bundle for display. **Nothing is verified.**

use serde::Serialize;
use sigstore_types::bundle::VerificationMaterialContent;

use super::{EvidenceKind, ParsedStatement, verify};
use crate::model::Digest;

/// **Not verified.**
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleSummary {
    /// `None` for unknown predicate types.
    pub kind: Option<EvidenceKind>,
    pub predicate_type: String,
    pub is_about_image: bool,
    pub signer: ClaimedSigner,
    /// Whether the bundle has a transparency log entry.
    pub logged: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimedSigner {
    /// The hint of the key (see [`super::PublicKey::hint`]).
    Key(String),
    /// The subject of the certificate: a workflow or an email address.
    Identity(String),
}

/// Fails with a sentence if the bytes are not a bundle.
pub fn summary(bundle: &[u8], image: &Digest) -> Result<BundleSummary, String> {
    let (bundle, envelope) = verify::read_bundle(bundle)?;
    let statement = ParsedStatement::parse(envelope.payload.as_bytes())?;
    let signer = match (&bundle.verification_material.content, bundle.signing_certificate()) {
        (VerificationMaterialContent::PublicKey(key), _) => ClaimedSigner::Key(key.hint.clone()),
        (_, certificate) => {
            let identity = certificate
                .and_then(|der| sigstore_crypto::parse_certificate_info(der).ok())
                .and_then(|certificate| certificate.identity);
            ClaimedSigner::Identity(
                identity.map_or_else(|| "unnamed".to_owned(), |name| name.as_str().to_owned()),
            )
        }
    };
    Ok(BundleSummary {
        kind: EvidenceKind::from_predicate_type(&statement.predicate_type),
        is_about_image: statement.is_about(image),
        predicate_type: statement.predicate_type,
        signer,
        logged: !bundle.verification_material.tlog_entries.is_empty(),
    })
}
