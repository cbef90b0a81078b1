//! What a bundle says of itself, for people to look at. Nothing of it is checked.

use serde::Serialize;
use sigstore_types::bundle::VerificationMaterialContent;

use super::{EvidenceKind, ParsedStatement, verify};
use crate::model::Digest;

/// A bundle at a glance, **unchecked**.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleSummary {
    /// What kind of statement it carries, if it is one of ours.
    pub kind: Option<EvidenceKind>,
    /// The statement's `predicateType`.
    pub predicate_type: String,
    /// Whether it says that it is about the image.
    pub is_about_image: bool,
    /// Who is said to have signed it.
    pub signer: ClaimedSigner,
    /// Whether it carries an entry of a transparency log.
    pub logged: bool,
}

/// Who is said to have signed a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimedSigner {
    /// The owner of the key with this hint (see [`super::PublicKey::hint`]).
    Key(String),
    /// The holder of a certificate for this identity: the address of a workflow, or of a person.
    Identity(String),
}

/// Reads what a bundle says of itself; the error is a sentence that says why it is none.
pub fn summary(bundle: &[u8], image: &Digest) -> Result<BundleSummary, String> {
    let (bundle, envelope) = verify::read_bundle(bundle)?;
    let statement = ParsedStatement::parse(envelope.payload.as_bytes()).map_err(|error| error.to_string())?;
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
