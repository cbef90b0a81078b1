//! Verification of an image's evidence. Each check passes, fails or is unknown.
//!
//! Pure, except that the certificate library compares validity periods with the clock.

mod acceptance;
mod bundle;
mod checks;
mod content;
mod identity;
mod test_results;

use std::collections::{BTreeMap, BTreeSet};

pub use acceptance::check_inputs;
pub(super) use bundle::read as read_bundle;
pub use bundle::{BundleRejection, TrustPolicy, TrustedSigner, VerifiedBundle, verify_bundle};
pub use checks::{verify_evidence, verify_evidence_and_boot_test, verify_evidence_presence};
pub use identity::{CertificateIdentity, CertificateIdentityError};
pub use test_results::newest_boot_test;

use super::simple_signing::SimpleSignature;
use super::{EvidenceKind, ParsedStatement, PublicKey};
use crate::model::inputs::BuildInputs;
use crate::model::verify::{CheckStatus, Inspection};
use crate::model::{Digest, compose};

/// The error is a sentence.
pub type Lookup<T> = Result<T, String>;

#[derive(Clone, Debug)]
pub struct StoredEvidence {
    /// All Sigstore bundles among the image's referrers.
    pub bundles: Lookup<Vec<StoredBundle>>,
    /// At the image's signature tag.
    pub simple_signatures: Lookup<Vec<SimpleSignature>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBundle {
    /// The digest of the manifest with the bundle.
    pub referrer: Digest,
    pub json: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct ImageFacts {
    /// `ghcr.io/owner/zfs-kmods`.
    pub repository: String,
    pub digest: Digest,
    /// The label with the digest of the inputs.
    pub inputs_label: Lookup<Option<Digest>>,
    pub rpms: Lookup<BTreeMap<String, Digest>>,
}

impl ImageFacts {
    pub fn of(repository: &str, inspection: &Inspection) -> Self {
        let label = inspection.config.as_ref().map_err(|fault| fault.reason().to_owned());
        let label = label
            .map(|config| config.config.labels.get(compose::INPUTS).and_then(|label| label.parse().ok()));
        Self {
            repository: repository.to_owned(),
            digest: inspection.image.digest.clone(),
            inputs_label: label,
            rpms: rpms(inspection),
        }
    }
}

fn rpms(inspection: &Inspection) -> Lookup<BTreeMap<String, Digest>> {
    if let Err(reason) = &inspection.manifest {
        return Err(reason.clone());
    }
    let faults = inspection.config.as_ref().err().into_iter();
    let mut faults = faults.chain(inspection.layers.iter().filter_map(|layer| layer.as_ref().err()));
    if let Some(fault) = faults.next() {
        return Err(fault.reason().to_owned());
    }
    let digest = |found: &crate::model::verify::ImageRpm| match &found.content {
        Ok((package, _)) => Ok((found.path.clone(), package.digest.clone())),
        Err(reason) => Err(format!("{}: {reason}", found.path)),
    };
    inspection.packages.iter().map(digest).collect()
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvidenceStatus {
    /// Manifests with valid evidence.
    pub accepted: BTreeSet<Digest>,
    pub missing: Vec<EvidenceKind>,
    /// Always false without a key.
    pub simple_signature_missing: bool,
}

/// Finds existing signatures, so that nothing is signed twice.
pub fn evidence_status(
    image: &ImageFacts,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
) -> Lookup<EvidenceStatus> {
    let mut status = EvidenceStatus::default();
    for kind in EvidenceKind::REQUIRED {
        let holds = |verified: VerifiedBundle| {
            let outcome = match kind {
                EvidenceKind::Provenance => {
                    let stated_inputs = content::read_provenance(&verified)?;
                    content::inputs_match(image, Some(&stated_inputs))
                }
                EvidenceKind::Sbom => content::packages_match(image, Some(&verified)),
                _ => CheckStatus::Passed,
            };
            if outcome == CheckStatus::Passed { Ok(verified) } else { Err(outcome) }
        };
        match find(kind, &image.digest, evidence, trust).and_then(holds) {
            Ok(verified) => drop(status.accepted.insert(verified.referrer)),
            Err(CheckStatus::Unknown(reason)) => return Err(reason),
            Err(_) => status.missing.push(kind),
        }
    }
    let keys = trust.keys();
    if !keys.is_empty() {
        status.simple_signature_missing = match simple_signature(image, evidence, &keys) {
            CheckStatus::Unknown(reason) => return Err(reason),
            outcome => outcome != CheckStatus::Passed,
        };
    }
    Ok(status)
}

/// The inputs in an image's provenance, if all [required](EvidenceKind::REQUIRED) evidence is valid. Layers are not
/// read.
pub fn proven_inputs(
    image: &Digest,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
) -> Result<BuildInputs, CheckStatus> {
    for kind in EvidenceKind::REQUIRED {
        find(kind, image, evidence, trust)?;
    }
    let provenance = find(EvidenceKind::Provenance, image, evidence, trust)?;
    Ok(content::read_provenance(&provenance)?.inputs)
}

/// Finds a valid bundle. Invalid ones are skipped: anyone with write access to the repository can attach more, and
/// must not be able to invalidate the evidence of others.
pub fn find(
    kind: EvidenceKind,
    image: &Digest,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
) -> Result<VerifiedBundle, CheckStatus> {
    let mut reasons = Vec::new();
    for verified_bundles in verified_bundles(kind, image, evidence, trust)? {
        match verified_bundles {
            Ok(verified) => return Ok(verified),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(none_accepted(kind, &reasons))
}

/// The statements of trusted signers about the subject. Others are skipped.
pub fn trusted_statements(
    kind: EvidenceKind,
    subject: &Digest,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
) -> Lookup<Vec<ParsedStatement>> {
    let bundles = evidence.bundles.as_ref().map_err(Clone::clone)?;
    let verified = bundles.iter().filter_map(|stored| verify_bundle(stored, kind, subject, trust).ok());
    Ok(verified.map(|verified| verified.statement).collect())
}

/// Every bundle of this kind, verified or with the reason of its rejection.
fn verified_bundles<'a>(
    kind: EvidenceKind,
    image: &'a Digest,
    evidence: &'a StoredEvidence,
    trust: &'a TrustPolicy,
) -> Result<impl Iterator<Item = Result<VerifiedBundle, String>> + 'a, CheckStatus> {
    let bundles = evidence.bundles.as_ref().map_err(|reason| CheckStatus::Unknown(reason.clone()))?;
    Ok(bundles.iter().filter_map(move |stored| match verify_bundle(stored, kind, image, trust) {
        Ok(verified) => Some(Ok(verified)),
        Err(BundleRejection::OtherKind) => None,
        Err(BundleRejection::Invalid(reason)) => Some(Err(reason)),
    }))
}

fn none_accepted(kind: EvidenceKind, reasons: &[String]) -> CheckStatus {
    CheckStatus::Failed(match reasons {
        [] => format!("no {kind} is attached"),
        [reason] => format!("the attached {kind} is not accepted: {reason}"),
        _ => {
            format!(
                "none of the {} attached {kind} bundles is accepted: {}",
                reasons.len(),
                reasons.join("; ")
            )
        }
    })
}

/// Whether one of the keys made a signature.
fn simple_signature(image: &ImageFacts, evidence: &StoredEvidence, keys: &[&PublicKey]) -> CheckStatus {
    let signatures = match &evidence.simple_signatures {
        Ok(signatures) => signatures,
        Err(reason) => return CheckStatus::Unknown(reason.clone()),
    };
    let mut reasons = Vec::new();
    for signature in signatures {
        for key in keys {
            match signature.verify(key, &image.repository, &image.digest) {
                Ok(()) => return CheckStatus::Passed,
                Err(reason) if !reasons.contains(&reason) => reasons.push(reason),
                Err(_) => {}
            }
        }
    }
    CheckStatus::Failed(if reasons.is_empty() {
        "the signature tag, which podman, skopeo and bootc read, has no signature".to_owned()
    } else {
        format!("no signature at the signature tag is accepted: {}", reasons.join("; "))
    })
}

#[cfg(test)]
pub(crate) mod tests;
