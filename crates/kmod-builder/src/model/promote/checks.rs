use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::Target;
use crate::model::evidence::EvidenceKind;
use crate::model::evidence::verify::{
    self as evidence_checks, ImageFacts, StoredEvidence, TrustPolicy, proven_inputs,
};
use crate::model::image::DigestRef;
use crate::model::verify::{self, CheckResult, CheckStatus, Inspection, VerificationReport, VerifiedImage};

const SIGNED_KERNEL_PACKAGE: (&str, &str) =
    ("kernel-package-signed", "the kernel's package was signed by Fedora");

#[derive(Clone, Debug)]
pub struct PromotionChecks {
    contract: VerificationReport,
    evidence: Vec<(EvidenceKind, CheckResult)>,
}

impl PromotionChecks {
    /// Checks the RPM contract and all evidence of trusted signers.
    ///
    /// `repository` is the image's repository as signatures name it. No boot test may be newer than `now`. The provenance
    /// must state that Fedora signed the kernel's package, unless `allow_unsigned`.
    pub fn new(
        repository: &str,
        inspection: &Inspection,
        evidence: &StoredEvidence,
        trust: &TrustPolicy,
        now: Timestamp,
        allow_unsigned: bool,
    ) -> Self {
        let image = ImageFacts::of(repository, inspection);
        let mut checked = evidence_checks::verify_evidence_and_boot_test(&image, evidence, trust, now);
        let inputs = proven_inputs(&inspection.image.digest, evidence, trust);
        if !allow_unsigned && inputs.is_ok_and(|inputs| inputs.kernel_devel.is_unsigned()) {
            let reason =
                "the kernel's package was not signed by Fedora (--allow-unsigned-headers accepts that)";
            let failed = CheckStatus::Failed(reason.to_owned());
            checked.push((EvidenceKind::Provenance, CheckResult::new(SIGNED_KERNEL_PACKAGE, failed)));
        }
        Self { contract: verify::verify(inspection, None), evidence: checked }
    }

    pub const fn target(&self) -> Option<&Target> {
        self.contract.target()
    }

    /// Each check, and whether it is required. The contract always is, and that the image is not withdrawn.
    pub fn checks(&self, required: &BTreeSet<EvidenceKind>) -> Vec<PromotionCheck> {
        let contract = self.contract.checks().iter().map(|answer| (answer, true));
        let required = |kind: &EvidenceKind| *kind == EvidenceKind::Withdrawal || required.contains(kind);
        let evidence = self.evidence.iter().map(|(kind, answer)| (answer, required(kind)));
        let check =
            |(answer, required): (&CheckResult, bool)| PromotionCheck { answer: answer.clone(), required };
        contract.chain(evidence).map(check).collect()
    }

    /// `None` unless every required check passed.
    pub fn proven(&self, required: &BTreeSet<EvidenceKind>) -> Option<ProvenImage> {
        let holds = |kind: &EvidenceKind| {
            let mut answers = self.evidence.iter().filter(|(of, _)| of == kind).peekable();
            answers.peek().is_some() && answers.all(|(_, answer)| *answer.outcome() == CheckStatus::Passed)
        };
        let verified = self.contract.clone().verified().ok()?;
        let waived = EvidenceKind::ALL.into_iter().filter(|kind| !required.contains(kind)).collect();
        required
            .iter()
            .chain([&EvidenceKind::Withdrawal])
            .all(holds)
            .then_some(ProvenImage { verified, waived })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PromotionCheck {
    #[serde(flatten)]
    pub answer: CheckResult,
    pub required: bool,
}

/// An image whose required checks passed. Only [`PromotionChecks::proven`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenImage {
    verified: VerifiedImage,
    waived: BTreeSet<EvidenceKind>,
}

impl ProvenImage {
    pub const fn image(&self) -> &DigestRef {
        self.verified.image()
    }

    pub const fn target(&self) -> &Target {
        self.verified.target()
    }

    /// Evidence that was not required, valid or not.
    pub const fn waived(&self) -> &BTreeSet<EvidenceKind> {
        &self.waived
    }

    #[cfg(test)]
    pub(super) fn assume_proven(verified: VerifiedImage) -> Self {
        Self { verified, waived: BTreeSet::new() }
    }
}
