use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::Target;
use crate::model::evidence::EvidenceKind;
use crate::model::evidence::verify::{self as evidence_checks, ImageFacts, StoredEvidence, TrustPolicy};
use crate::model::image::DigestRef;
use crate::model::verify::{self, CheckResult, CheckStatus, Inspection, VerificationReport, VerifiedImage};

/// Everything that can be asked of an image in a registry, and the answers.
#[derive(Clone, Debug)]
pub struct PromotionChecks {
    contract: VerificationReport,
    evidence: Vec<(EvidenceKind, CheckResult)>,
}

impl PromotionChecks {
    /// Examines an image: the RPM contract, and all evidence by those who are trusted.
    ///
    /// `repository` is where the image is, as signatures name it; `now` is what results of tests cannot be newer than.
    pub fn new(
        repository: &str,
        inspection: &Inspection,
        evidence: &StoredEvidence,
        trust: &TrustPolicy,
        now: Timestamp,
    ) -> Self {
        let image = ImageFacts::of(repository, inspection);
        let newest_boot_test = match trust {
            // Whatever anybody says of an image proves nothing.
            TrustPolicy::Unverified => CheckStatus::Unknown("nobody is trusted".to_owned()),
            TrustPolicy::Key(_) | TrustPolicy::Identity(_) => {
                evidence_checks::newest_boot_test(&image.digest, evidence, trust, now)
            }
        };
        let mut evidence = evidence_checks::verify_evidence_by_kind(&image, evidence, trust);
        evidence.push((
            EvidenceKind::BootTest,
            CheckResult::new(("newest-boot-test-passed", "newest boot test passed"), newest_boot_test),
        ));
        Self { contract: verify::verify(inspection, None), evidence }
    }

    /// What the image is for, if it says so.
    pub const fn target(&self) -> Option<&Target> {
        self.contract.target()
    }

    /// Every check, and whether it is demanded: the contract always is.
    pub fn checks(&self, required: &BTreeSet<EvidenceKind>) -> Vec<PromotionCheck> {
        let contract = self.contract.checks().iter().map(|answer| (answer, true));
        let evidence = self.evidence.iter().map(|(kind, answer)| (answer, required.contains(kind)));
        let check =
            |(answer, required): (&CheckResult, bool)| PromotionCheck { answer: answer.clone(), required };
        contract.chain(evidence).map(check).collect()
    }

    /// The proof that everything that is demanded holds; `None` if not.
    pub fn proven(&self, required: &BTreeSet<EvidenceKind>) -> Option<ProvenImage> {
        let holds = |kind: &EvidenceKind| {
            let mut answers = self.evidence.iter().filter(|(of, _)| of == kind).peekable();
            answers.peek().is_some() && answers.all(|(_, answer)| *answer.outcome() == CheckStatus::Passed)
        };
        let verified = self.contract.clone().verified().ok()?;
        let waived = EvidenceKind::ALL.into_iter().filter(|kind| !required.contains(kind)).collect();
        required.iter().all(holds).then_some(ProvenImage { verified, waived })
    }
}

/// One check of an examination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PromotionCheck {
    /// What was asked, and the answer.
    #[serde(flatten)]
    pub answer: CheckResult,
    /// Whether the image is proven only if it passed.
    pub required: bool,
}

/// An image that is verified and whose evidence holds, as far as it is demanded; there is no other way to one than
/// [`PromotionChecks::proven`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenImage {
    verified: VerifiedImage,
    waived: BTreeSet<EvidenceKind>,
}

impl ProvenImage {
    /// The image.
    pub const fn image(&self) -> &DigestRef {
        self.verified.image()
    }

    /// What it is for.
    pub const fn target(&self) -> &Target {
        self.verified.target()
    }

    /// The evidence that was not demanded, whether it holds or not.
    pub const fn waived(&self) -> &BTreeSet<EvidenceKind> {
        &self.waived
    }

    #[cfg(test)]
    pub(super) fn assume_proven(verified: VerifiedImage) -> Self {
        Self { verified, waived: BTreeSet::new() }
    }
}
