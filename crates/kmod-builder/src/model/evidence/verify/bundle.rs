use sigstore_types::bundle::{SignatureContent, VerificationMaterialContent};
use sigstore_types::{Bundle, DsseEnvelope, MediaType, Sha256Hash};

use super::{CertificateIdentity, StoredBundle};
use crate::model::Digest;
use crate::model::evidence::statement::PAYLOAD_TYPE;
use crate::model::evidence::{EvidenceKind, ParsedStatement, PublicKey};

/// Whose signatures are accepted.
#[derive(Clone, Debug)]
pub enum TrustPolicy {
    /// Any of them suffices.
    Signers(Vec<TrustedSigner>),
    /// Signatures are not verified.
    Unverified,
}

#[derive(Clone, Debug)]
pub enum TrustedSigner {
    Key(PublicKey),
    /// The workflow in the certificate.
    Identity(Box<CertificateIdentity>),
}

impl TrustPolicy {
    pub fn key(key: PublicKey) -> Self {
        Self::Signers(vec![TrustedSigner::Key(key)])
    }

    pub fn identity(identity: CertificateIdentity) -> Self {
        Self::Signers(vec![TrustedSigner::Identity(Box::new(identity))])
    }

    /// The key that signs now, if former signers are trusted, too: the first one of the list.
    pub fn newest_of_several(&self) -> Option<Self> {
        match self {
            Self::Signers(signers) => match signers.as_slice() {
                [TrustedSigner::Key(newest), _, ..] => Some(Self::key(newest.clone())),
                _ => None,
            },
            Self::Unverified => None,
        }
    }

    pub(super) fn keys(&self) -> Vec<&PublicKey> {
        let keys = self.signers().iter().filter_map(|signer| match signer {
            TrustedSigner::Key(key) => Some(key),
            TrustedSigner::Identity(_) => None,
        });
        keys.collect()
    }

    pub(super) fn has_identity(&self) -> bool {
        self.signers().iter().any(|signer| matches!(signer, TrustedSigner::Identity(_)))
    }

    fn signers(&self) -> &[TrustedSigner] {
        match self {
            Self::Signers(signers) => signers,
            Self::Unverified => &[],
        }
    }
}

#[derive(Clone, Debug)]
pub struct VerifiedBundle {
    /// The digest of the manifest with the bundle.
    pub referrer: Digest,
    pub statement: ParsedStatement,
    /// Of the certificate of a [`TrustedSigner::Identity`].
    pub claims: Option<Box<sigstore_crypto::FulcioCiClaims>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleRejection {
    /// Valid, but of another kind.
    OtherKind,
    Invalid(String),
}

impl From<String> for BundleRejection {
    fn from(reason: String) -> Self {
        Self::Invalid(reason)
    }
}

/// Bundles with several signatures are rejected.
pub fn verify_bundle(
    stored: &StoredBundle,
    kind: EvidenceKind,
    image: &Digest,
    trust: &TrustPolicy,
) -> Result<VerifiedBundle, BundleRejection> {
    let (bundle, envelope) = read(&stored.json)?;
    let statement = ParsedStatement::parse(envelope.payload.as_bytes())?;
    if statement.predicate_type != kind.predicate_type() {
        return Err(BundleRejection::OtherKind);
    }
    if !statement.is_about(image) {
        return Err(BundleRejection::Invalid("it is about another image".to_owned()));
    }
    let claims = match trust {
        TrustPolicy::Unverified => None,
        TrustPolicy::Signers(signers) => accepted_by_any(signers, &bundle, &envelope, image)?,
    };
    Ok(VerifiedBundle { referrer: stored.referrer.clone(), statement, claims })
}

/// The claims of the certificate, if an identity accepts the bundle. The error has the reason of each signer once.
fn accepted_by_any(
    signers: &[TrustedSigner],
    bundle: &Bundle,
    envelope: &DsseEnvelope,
    image: &Digest,
) -> Result<Option<Box<sigstore_crypto::FulcioCiClaims>>, String> {
    let mut reasons = Vec::new();
    for signer in signers {
        let accepted = match signer {
            TrustedSigner::Key(key) => check_key(key, bundle, envelope).map(|()| None),
            TrustedSigner::Identity(identity) => Sha256Hash::from_hex(image.hex())
                .map_err(|error| error.to_string())
                .and_then(|hash| identity.check(bundle, hash))
                .map(|claims| Some(Box::new(claims))),
        };
        match accepted {
            Ok(claims) => return Ok(claims),
            Err(reason) if !reasons.contains(&reason) => reasons.push(reason),
            Err(_) => {}
        }
    }
    Err(if reasons.is_empty() { "no signer is trusted".to_owned() } else { reasons.join("; ") })
}

/// Reads a bundle with a statement, and checks its format.
pub(in crate::model::evidence) fn read(json: &[u8]) -> Result<(Bundle, DsseEnvelope), String> {
    let text = str::from_utf8(json).map_err(|error| format!("invalid UTF-8: {error}"))?;
    let bundle = Bundle::from_json(text).map_err(|error| format!("invalid Sigstore bundle: {error}"))?;
    if bundle.media_type != MediaType::Bundle0_3 {
        return Err(format!("unsupported bundle version `{}`", bundle.media_type.as_str()));
    }
    let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
        return Err("it carries a bare signature instead of a statement".to_owned());
    };
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(format!("its payload is `{}` (expected `{PAYLOAD_TYPE}`)", envelope.payload_type));
    }
    let envelope = envelope.clone();
    Ok((bundle, envelope))
}

/// Sigstore's verifier requires a log entry or a timestamp (`MissingSigningTimeEvidence`), which bundles signed with
/// a private key do not have.
fn check_key(key: &PublicKey, bundle: &Bundle, envelope: &DsseEnvelope) -> Result<(), String> {
    let VerificationMaterialContent::PublicKey(_) = &bundle.verification_material.content else {
        return Err("it is signed with a certificate, not with a key".to_owned());
    };
    if key.verifies(&envelope.pae(), &envelope.signature.sig) {
        Ok(())
    } else {
        Err("it is not signed with this key".to_owned())
    }
}
