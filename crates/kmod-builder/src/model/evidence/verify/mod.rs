//! Whether the evidence for an image holds: each check by its name, with one of three answers.
//!
//! Pure, but for one thing: the trusted root's keys have validity periods, and the library that checks certificates
//! compares them with the clock.

mod bundle;
mod content;
mod identity;
mod test_results;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use bundle::read as read_bundle;
pub use bundle::{BundleRejection, TrustPolicy, VerifiedBundle, verify_bundle};
pub use identity::{CertificateIdentity, CertificateIdentityError};
pub use test_results::newest_boot_test;

use super::simple_signing::SimpleSignature;
use super::{EvidenceKind, PublicKey};
use crate::model::inputs::BuildInputs;
use crate::model::verify::{BlobFault, CheckResult, CheckStatus, Inspection};
use crate::model::{Digest, compose};

/// Something that was looked for: what was found, or why that could not be found out.
pub type Lookup<T> = Result<T, String>;

/// What is stored beside an image.
#[derive(Clone, Debug)]
pub struct StoredEvidence {
    /// The Sigstore bundles among the image's referrers, of every kind.
    pub bundles: Lookup<Vec<StoredBundle>>,
    /// The signatures at the image's signature tag.
    pub simple_signatures: Lookup<Vec<SimpleSignature>>,
}

/// A bundle and where it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBundle {
    /// The digest of the manifest that carries it.
    pub referrer: Digest,
    /// The bundle.
    pub json: Vec<u8>,
}

/// What the image itself says, for the evidence to be compared with.
#[derive(Clone, Debug)]
pub struct ImageFacts {
    /// The repository that it is in: `ghcr.io/owner/zfs-kmods`.
    pub repository: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The label with the digest of the inputs, if there is one.
    pub inputs_label: Lookup<Option<Digest>>,
    /// The RPMs in the layers, by where they are, with the digests of the files.
    pub rpms: Lookup<BTreeMap<String, Digest>>,
}

impl ImageFacts {
    /// An image as it was read from its store.
    pub fn of(repository: &str, inspection: &Inspection) -> Self {
        let label = inspection.config.as_ref().map_err(|fault| sentence(fault).to_owned());
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
        return Err(sentence(fault).to_owned());
    }
    let digest = |found: &crate::model::verify::ImageRpm| match &found.content {
        Ok((package, _)) => Ok((found.path.clone(), package.digest.clone())),
        Err(reason) => Err(format!("{}: {reason}", found.path)),
    };
    inspection.packages.iter().map(digest).collect()
}

fn sentence(fault: &BlobFault) -> &str {
    match fault {
        BlobFault::Changed(sentence) | BlobFault::Content(sentence) | BlobFault::Entry(sentence) => sentence,
    }
}

/// Makes every check of the evidence.
///
/// The signature at the signature tag is checked with a key only; where an identity is expected, it is left out.
pub fn verify_evidence(
    image: &ImageFacts,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
) -> Vec<CheckResult> {
    verify_evidence_by_kind(image, evidence, trust).into_iter().map(|(_, answer)| answer).collect()
}

/// The same, each answer with the kind of evidence that it is about.
pub fn verify_evidence_by_kind(
    image: &ImageFacts,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
) -> Vec<(EvidenceKind, CheckResult)> {
    let found = |kind| find(kind, &image.digest, evidence, trust);
    let (provenance, sbom) = (found(EvidenceKind::Provenance), found(EvidenceKind::Sbom));
    let stated_inputs = provenance.and_then(|verified| content::read_provenance(&verified, trust));
    let inputs = content::inputs_match(image, stated_inputs.as_ref().ok());
    let packages = content::packages_match(image, sbom.as_ref().ok());
    let mut answers = vec![
        (
            EvidenceKind::Provenance,
            CheckResult::new(("provenance-signed", "provenance is signed and whole"), outcome(stated_inputs)),
        ),
        (
            EvidenceKind::Provenance,
            CheckResult::new(("provenance-matches-inputs", "provenance is of the image's inputs"), inputs),
        ),
        (EvidenceKind::Sbom, CheckResult::new(("sbom-signed", "SBOM is signed"), outcome(sbom))),
        (
            EvidenceKind::Sbom,
            CheckResult::new(("sbom-lists-rpms", "SBOM lists exactly the RPMs of the image"), packages),
        ),
        (
            EvidenceKind::Signature,
            CheckResult::new(
                ("signature-valid", "signature is good"),
                outcome(found(EvidenceKind::Signature)),
            ),
        ),
    ];
    if let TrustPolicy::Key(key) = trust {
        let simple = simple_signature(image, evidence, key);
        answers.push((
            EvidenceKind::Signature,
            CheckResult::new(("simple-signature-valid", "signature for podman and bootc is good"), simple),
        ));
    }
    answers
}

/// Checks only that evidence of each required kind is stored and is about the image; who signed it is not asked.
pub fn verify_evidence_presence(image: &Digest, evidence: &StoredEvidence) -> Vec<CheckResult> {
    let checks = [
        ("provenance-attached", "provenance is attached"),
        ("sbom-attached", "SBOM is attached"),
        ("signature-attached", "signature is attached"),
    ];
    let found = |kind| outcome(find(kind, image, evidence, &TrustPolicy::Unverified));
    EvidenceKind::REQUIRED
        .into_iter()
        .zip(checks)
        .map(|(kind, check)| CheckResult::new(check, found(kind)))
        .collect()
}

/// What is stored already of what a party signs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvidenceStatus {
    /// The manifests that carry what holds.
    pub accepted: BTreeSet<Digest>,
    /// What is still to be signed.
    pub missing: Vec<EvidenceKind>,
    /// Whether the signature at the signature tag is still to be made; never without a key.
    pub simple_signature_missing: bool,
}

/// Finds out what a party signed already, so that nothing is signed twice. The error says why that is not known.
pub fn evidence_status(
    image: &ImageFacts,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
) -> Lookup<EvidenceStatus> {
    let mut evidence_status = EvidenceStatus::default();
    for kind in EvidenceKind::REQUIRED {
        let holds = |verified: VerifiedBundle| {
            let outcome = match kind {
                EvidenceKind::Provenance => {
                    let stated_inputs = content::read_provenance(&verified, trust)?;
                    content::inputs_match(image, Some(&stated_inputs))
                }
                EvidenceKind::Sbom => content::packages_match(image, Some(&verified)),
                EvidenceKind::Signature | EvidenceKind::BootTest => CheckStatus::Passed,
            };
            if outcome == CheckStatus::Passed { Ok(verified) } else { Err(outcome) }
        };
        match find(kind, &image.digest, evidence, trust).and_then(holds) {
            Ok(verified) => drop(evidence_status.accepted.insert(verified.referrer)),
            Err(CheckStatus::Unknown(reason)) => return Err(reason),
            Err(_) => evidence_status.missing.push(kind),
        }
    }
    if let TrustPolicy::Key(key) = trust {
        evidence_status.simple_signature_missing = match simple_signature(image, evidence, key) {
            CheckStatus::Unknown(reason) => return Err(reason),
            outcome => outcome != CheckStatus::Passed,
        };
    }
    Ok(evidence_status)
}

/// The inputs that an image was built from, by its provenance; an answer only if everything that is
/// [required](Kind::REQUIRED) of an image's evidence is there and holds. The layers are not read for it.
pub fn proven_inputs(
    image: &Digest,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
) -> Result<BuildInputs, CheckStatus> {
    for kind in EvidenceKind::REQUIRED {
        find(kind, image, evidence, trust)?;
    }
    let provenance = find(EvidenceKind::Provenance, image, evidence, trust)?;
    Ok(content::read_provenance(&provenance, trust)?.inputs)
}

/// Finds a bundle of this kind that holds. Others may lie beside it: anybody who may write to a repository can attach
/// more, and they must not be able to spoil what is there.
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

/// Every bundle of this kind, one after the other: what holds, and for the others why they do not.
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

fn outcome<T>(found: Result<T, CheckStatus>) -> CheckStatus {
    found.map_or_else(|outcome| outcome, |_| CheckStatus::Passed)
}

fn simple_signature(image: &ImageFacts, evidence: &StoredEvidence, key: &PublicKey) -> CheckStatus {
    let signatures = match &evidence.simple_signatures {
        Ok(signatures) => signatures,
        Err(reason) => return CheckStatus::Unknown(reason.clone()),
    };
    let mut reasons = Vec::new();
    for signature in signatures {
        match signature.verify(key, &image.repository, &image.digest) {
            Ok(()) => return CheckStatus::Passed,
            Err(reason) => reasons.push(reason),
        }
    }
    CheckStatus::Failed(if reasons.is_empty() {
        "there is none at the signature tag, where podman, skopeo and bootc look".to_owned()
    } else {
        format!("none of those at the signature tag is accepted: {}", reasons.join("; "))
    })
}

#[cfg(test)]
mod tests;
