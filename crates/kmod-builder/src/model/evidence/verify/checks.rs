use jiff::Timestamp;

use super::{
    ImageFacts, StoredEvidence, TrustPolicy, VerifiedBundle, content, find, newest_boot_test,
    simple_signature,
};
use crate::model::Digest;
use crate::model::evidence::EvidenceKind;
use crate::model::evidence::provenance::ProvenanceInputs;
use crate::model::verify::{CheckResult, CheckStatus};

/// Kind, id and text, and the check; `None` where it does not apply.
type EvidenceCheck = (EvidenceKind, (&'static str, &'static str), fn(&Context<'_>) -> Option<CheckStatus>);

/// In the order of results.
const CHECKS: [EvidenceCheck; 7] = [
    (EvidenceKind::Provenance, ("provenance-signed", "provenance is signed and whole"), |context| {
        Some(outcome(context.provenance.as_ref()))
    }),
    (
        EvidenceKind::Provenance,
        ("provenance-matches-inputs", "provenance is of the image's inputs"),
        |context| Some(content::inputs_match(context.image, context.provenance.as_ref().ok())),
    ),
    (EvidenceKind::Sbom, ("sbom-signed", "SBOM is signed"), |context| Some(outcome(context.sbom.as_ref()))),
    (EvidenceKind::Sbom, ("sbom-lists-rpms", "SBOM lists exactly the RPMs of the image"), |context| {
        Some(content::packages_match(context.image, context.sbom.as_ref().ok()))
    }),
    (EvidenceKind::Signature, ("signature-valid", "signature is good"), |context| {
        Some(outcome(context.find(EvidenceKind::Signature).as_ref()))
    }),
    // Clients verify simple signatures with keys only.
    (
        EvidenceKind::Signature,
        ("simple-signature-valid", "signature for podman and bootc is good"),
        |context| match context.trust {
            TrustPolicy::Key(key) => Some(simple_signature(context.image, context.evidence, key)),
            TrustPolicy::Identity(_) | TrustPolicy::Unverified => None,
        },
    ),
    (EvidenceKind::BootTest, ("newest-boot-test-passed", "newest boot test passed"), |context| {
        Some(newest_boot_test(&context.image.digest, context.evidence, context.trust, context.now?))
    }),
];

/// Each required kind of evidence must be stored, by any signer.
const PRESENCE_CHECKS: [(EvidenceKind, (&str, &str)); 3] = [
    (EvidenceKind::Provenance, ("provenance-attached", "provenance is attached")),
    (EvidenceKind::Sbom, ("sbom-attached", "SBOM is attached")),
    (EvidenceKind::Signature, ("signature-attached", "signature is attached")),
];

struct Context<'a> {
    image: &'a ImageFacts,
    evidence: &'a StoredEvidence,
    trust: &'a TrustPolicy,
    /// Boot tests must not be newer. `None`: boot tests are not checked.
    now: Option<Timestamp>,
    provenance: Result<ProvenanceInputs, CheckStatus>,
    sbom: Result<VerifiedBundle, CheckStatus>,
}

impl<'a> Context<'a> {
    fn new(
        image: &'a ImageFacts,
        evidence: &'a StoredEvidence,
        trust: &'a TrustPolicy,
        now: Option<Timestamp>,
    ) -> Self {
        let find = |kind| find(kind, &image.digest, evidence, trust);
        let provenance =
            find(EvidenceKind::Provenance).and_then(|verified| content::read_provenance(&verified, trust));
        let sbom = find(EvidenceKind::Sbom);
        Self { image, evidence, trust, now, provenance, sbom }
    }

    fn find(&self, kind: EvidenceKind) -> Result<VerifiedBundle, CheckStatus> {
        find(kind, &self.image.digest, self.evidence, self.trust)
    }

    fn run(&self) -> impl Iterator<Item = (EvidenceKind, CheckResult)> + '_ {
        CHECKS.iter().filter_map(|(kind, name, run)| Some((*kind, CheckResult::new(*name, run(self)?))))
    }
}

pub fn verify_evidence(
    image: &ImageFacts,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
) -> Vec<CheckResult> {
    Context::new(image, evidence, trust, None).run().map(|(_, answer)| answer).collect()
}

/// Also checks boot tests, none of which may be newer than `now`.
pub fn verify_evidence_and_boot_test(
    image: &ImageFacts,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
    now: Timestamp,
) -> Vec<(EvidenceKind, CheckResult)> {
    Context::new(image, evidence, trust, Some(now)).run().collect()
}

/// Checks only that evidence of each required kind is stored for the image, by any signer.
pub fn verify_evidence_presence(image: &Digest, evidence: &StoredEvidence) -> Vec<CheckResult> {
    let found = |kind| outcome(find(kind, image, evidence, &TrustPolicy::Unverified).as_ref());
    PRESENCE_CHECKS.into_iter().map(|(kind, name)| CheckResult::new(name, found(kind))).collect()
}

fn outcome<T>(found: Result<&T, &CheckStatus>) -> CheckStatus {
    found.map_or_else(Clone::clone, |_| CheckStatus::Passed)
}
