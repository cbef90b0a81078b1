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
pub use bundle::{Refusal, TrustPolicy, Verified, open};
pub use identity::{Identity, IdentityError};
pub use test_results::boot_test;

use super::simple_signing::SimpleSignature;
use super::{Kind, PublicKey};
use crate::model::inputs::BuildInputs;
use crate::model::verification::{Answer, Fault, Inspection, Outcome};
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
pub struct Image {
    /// The repository that it is in: `ghcr.io/owner/zfs-kmods`.
    pub repository: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The label with the digest of the inputs, if there is one.
    pub inputs_label: Lookup<Option<Digest>>,
    /// The RPMs in the layers, by where they are, with the digests of the files.
    pub rpms: Lookup<BTreeMap<String, Digest>>,
}

impl Image {
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
    let digest = |found: &crate::model::verification::Found| match &found.content {
        Ok((package, _)) => Ok((found.path.clone(), package.digest.clone())),
        Err(reason) => Err(format!("{}: {reason}", found.path)),
    };
    inspection.packages.iter().map(digest).collect()
}

fn sentence(fault: &Fault) -> &str {
    match fault {
        Fault::Changed(sentence) | Fault::Content(sentence) | Fault::Entry(sentence) => sentence,
    }
}

/// Makes every check of the evidence.
///
/// The signature at the signature tag is checked with a key only; where an identity is expected, it is left out.
pub fn examine(image: &Image, attached: &StoredEvidence, trust: &TrustPolicy) -> Vec<Answer> {
    examine_by_kind(image, attached, trust).into_iter().map(|(_, answer)| answer).collect()
}

/// The same, each answer with the kind of evidence that it is about.
pub fn examine_by_kind(image: &Image, attached: &StoredEvidence, trust: &TrustPolicy) -> Vec<(Kind, Answer)> {
    let found = |kind| find(kind, &image.digest, attached, trust);
    let (provenance, sbom) = (found(Kind::Provenance), found(Kind::Sbom));
    let stated = provenance.and_then(|verified| content::read_provenance(&verified, trust));
    let inputs = content::inputs_match(image, stated.as_ref().ok());
    let packages = content::packages_match(image, sbom.as_ref().ok());
    let mut answers = vec![
        (Kind::Provenance, Answer::new("provenance is signed and whole", outcome(stated))),
        (Kind::Provenance, Answer::new("provenance is of the image's inputs", inputs)),
        (Kind::Sbom, Answer::new("SBOM is signed", outcome(sbom))),
        (Kind::Sbom, Answer::new("SBOM lists exactly the RPMs of the image", packages)),
        (Kind::Signature, Answer::new("signature is good", outcome(found(Kind::Signature)))),
    ];
    if let TrustPolicy::Key(key) = trust {
        let simple = simple_signature(image, attached, key);
        answers.push((Kind::Signature, Answer::new("signature for podman and bootc is good", simple)));
    }
    answers
}

/// Checks only that evidence of each required kind is stored and is about the image; who signed it is not asked.
pub fn examine_presence(image: &Digest, attached: &StoredEvidence) -> Vec<Answer> {
    let checks = ["provenance is attached", "SBOM is attached", "signature is attached"];
    let found = |kind| outcome(find(kind, image, attached, &TrustPolicy::Unverified));
    Kind::REQUIRED.into_iter().zip(checks).map(|(kind, check)| Answer::new(check, found(kind))).collect()
}

/// What is stored already of what a party signs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvidenceStatus {
    /// The manifests that carry what holds.
    pub accepted: BTreeSet<Digest>,
    /// What is still to be signed.
    pub missing: Vec<Kind>,
    /// Whether the signature at the signature tag is still to be made; never without a key.
    pub simple_signature_missing: bool,
}

/// Finds out what a party signed already, so that nothing is signed twice. The error says why that is not known.
pub fn standing(image: &Image, attached: &StoredEvidence, trust: &TrustPolicy) -> Lookup<EvidenceStatus> {
    let mut standing = EvidenceStatus::default();
    for kind in Kind::REQUIRED {
        let holds = |verified: Verified| {
            let outcome = match kind {
                Kind::Provenance => {
                    let stated = content::read_provenance(&verified, trust)?;
                    content::inputs_match(image, Some(&stated))
                }
                Kind::Sbom => content::packages_match(image, Some(&verified)),
                Kind::Signature | Kind::BootTest => Outcome::Passed,
            };
            if outcome == Outcome::Passed { Ok(verified) } else { Err(outcome) }
        };
        match find(kind, &image.digest, attached, trust).and_then(holds) {
            Ok(verified) => drop(standing.accepted.insert(verified.referrer)),
            Err(Outcome::Unknown(reason)) => return Err(reason),
            Err(_) => standing.missing.push(kind),
        }
    }
    if let TrustPolicy::Key(key) = trust {
        standing.simple_signature_missing = match simple_signature(image, attached, key) {
            Outcome::Unknown(reason) => return Err(reason),
            outcome => outcome != Outcome::Passed,
        };
    }
    Ok(standing)
}

/// The inputs that an image was built from, by its provenance; an answer only if everything that is
/// [required](Kind::REQUIRED) of an image's evidence is there and holds. The layers are not read for it.
pub fn proven_inputs(
    image: &Digest,
    attached: &StoredEvidence,
    trust: &TrustPolicy,
) -> Result<BuildInputs, Outcome> {
    for kind in Kind::REQUIRED {
        find(kind, image, attached, trust)?;
    }
    let provenance = find(Kind::Provenance, image, attached, trust)?;
    Ok(content::read_provenance(&provenance, trust)?.inputs)
}

/// Finds a bundle of this kind that holds. Others may lie beside it: anybody who may write to a repository can attach
/// more, and they must not be able to spoil what is there.
pub fn find(
    kind: Kind,
    image: &Digest,
    attached: &StoredEvidence,
    trust: &TrustPolicy,
) -> Result<Verified, Outcome> {
    let mut reasons = Vec::new();
    for opened in opened(kind, image, attached, trust)? {
        match opened {
            Ok(verified) => return Ok(verified),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(none_accepted(kind, &reasons))
}

/// Every bundle of this kind, one after the other: what holds, and for the others why they do not.
fn opened<'a>(
    kind: Kind,
    image: &'a Digest,
    attached: &'a StoredEvidence,
    trust: &'a TrustPolicy,
) -> Result<impl Iterator<Item = Result<Verified, String>> + 'a, Outcome> {
    let bundles = attached.bundles.as_ref().map_err(|reason| Outcome::Unknown(reason.clone()))?;
    Ok(bundles.iter().filter_map(move |stored| match open(stored, kind, image, trust) {
        Ok(verified) => Some(Ok(verified)),
        Err(Refusal::OtherKind) => None,
        Err(Refusal::Because(reason)) => Some(Err(reason)),
    }))
}

fn none_accepted(kind: Kind, reasons: &[String]) -> Outcome {
    Outcome::Failed(match reasons {
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

fn outcome<T>(found: Result<T, Outcome>) -> Outcome {
    found.map_or_else(|outcome| outcome, |_| Outcome::Passed)
}

fn simple_signature(image: &Image, attached: &StoredEvidence, key: &PublicKey) -> Outcome {
    let signatures = match &attached.simple_signatures {
        Ok(signatures) => signatures,
        Err(reason) => return Outcome::Unknown(reason.clone()),
    };
    let mut reasons = Vec::new();
    for signature in signatures {
        match signature.verify(key, &image.repository, &image.digest) {
            Ok(()) => return Outcome::Passed,
            Err(reason) => reasons.push(reason),
        }
    }
    Outcome::Failed(if reasons.is_empty() {
        "there is none at the signature tag, where podman, skopeo and bootc look".to_owned()
    } else {
        format!("none of those at the signature tag is accepted: {}", reasons.join("; "))
    })
}

#[cfg(test)]
mod tests;
