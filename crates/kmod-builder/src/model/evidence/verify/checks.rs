use jiff::Timestamp;

use super::{
    ImageFacts, StoredEvidence, TrustPolicy, VerifiedBundle, content, find, newest_boot_test,
    simple_signature,
};
use crate::model::Digest;
use crate::model::evidence::provenance::ProvenanceInputs;
use crate::model::evidence::{EvidenceKind, lifecycle};
use crate::model::verify::{CheckResult, CheckStatus};

/// Kind, id and text, and the check; `None` where it does not apply.
type EvidenceCheck = (EvidenceKind, (&'static str, &'static str), fn(&Context<'_>) -> Option<CheckStatus>);

/// In the order of results.
const CHECKS: [EvidenceCheck; 8] = [
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
        |context| {
            let keys = context.trust.keys();
            let by_identity = match context.find(EvidenceKind::Signature) {
                Ok(signature) => signature.claims.is_some(),
                Err(_) => context.trust.has_identity(),
            };
            (!keys.is_empty() && !by_identity)
                .then(|| simple_signature(context.image, context.evidence, &keys))
        },
    ),
    (EvidenceKind::Withdrawal, NOT_WITHDRAWN, |context| {
        Some(not_withdrawn(&context.image.digest, context.evidence, context.trust, context.now))
    }),
    (EvidenceKind::BootTest, ("newest-boot-test-passed", "newest boot test passed"), |context| {
        let now = context.checks_boot_test.then_some(context.now)?;
        Some(newest_boot_test(&context.image.digest, context.evidence, context.trust, now))
    }),
];

const NOT_WITHDRAWN: (&str, &str) = ("not-withdrawn", "image is not withdrawn");

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
    now: Timestamp,
    checks_boot_test: bool,
    provenance: Result<ProvenanceInputs, CheckStatus>,
    sbom: Result<VerifiedBundle, CheckStatus>,
}

impl<'a> Context<'a> {
    fn new(
        image: &'a ImageFacts,
        evidence: &'a StoredEvidence,
        trust: &'a TrustPolicy,
        now: Timestamp,
        checks_boot_test: bool,
    ) -> Self {
        let find = |kind| find(kind, &image.digest, evidence, trust);
        let provenance =
            find(EvidenceKind::Provenance).and_then(|verified| content::read_provenance(&verified));
        let sbom = find(EvidenceKind::Sbom);
        Self { image, evidence, trust, now, checks_boot_test, provenance, sbom }
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
    now: Timestamp,
) -> Vec<CheckResult> {
    Context::new(image, evidence, trust, now, false).run().map(|(_, answer)| answer).collect()
}

/// Also checks boot tests.
pub fn verify_evidence_and_boot_test(
    image: &ImageFacts,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
    now: Timestamp,
) -> Vec<(EvidenceKind, CheckResult)> {
    Context::new(image, evidence, trust, now, true).run().collect()
}

/// Checks only that evidence of each required kind is stored for the image and that it is not withdrawn, by any signer.
pub fn verify_evidence_presence(
    image: &Digest,
    evidence: &StoredEvidence,
    now: Timestamp,
) -> Vec<CheckResult> {
    let anybody = &TrustPolicy::Unverified;
    let found = |kind| outcome(find(kind, image, evidence, anybody).as_ref());
    let present = PRESENCE_CHECKS.into_iter().map(|(kind, name)| CheckResult::new(name, found(kind)));
    let withdrawn = CheckResult::new(NOT_WITHDRAWN, not_withdrawn(image, evidence, anybody, now));
    present.chain([withdrawn]).collect()
}

fn not_withdrawn(
    image: &Digest,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
    now: Timestamp,
) -> CheckStatus {
    match lifecycle::withdrawal_of(image, evidence, trust, now) {
        Ok(None) => CheckStatus::Passed,
        Ok(Some(withdrawal)) => {
            let (day, reason) = (withdrawal.decided_on.strftime("%Y-%m-%d"), withdrawal.reason);
            CheckStatus::Failed(format!("it was withdrawn on {day}: {reason}"))
        }
        Err(reason) => CheckStatus::Unknown(reason),
    }
}

fn outcome<T>(found: Result<&T, &CheckStatus>) -> CheckStatus {
    found.map_or_else(Clone::clone, |_| CheckStatus::Passed)
}
