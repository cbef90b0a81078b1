use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::Target;
use crate::model::evidence::EvidenceKind;
use crate::model::evidence::verify::{
    self as evidence_checks, ImageFacts, Lookup, StoredEvidence, TrustPolicy,
};
use crate::model::image::DigestRef;
use crate::model::inputs::{InputsPolicy, InputsUse};
use crate::model::reconcile::FailedAttempt;
use crate::model::verify::{self, CheckResult, CheckStatus, Inspection, VerificationReport, VerifiedImage};

#[derive(Clone, Debug)]
pub struct PromotionChecks {
    contract: VerificationReport,
    evidence: Vec<(EvidenceKind, CheckResult)>,
    inputs: CheckResult,
    is_for_users: bool,
}

const NO_BOOT_TEST_MISSING: (&str, &str) = ("no-boot-test-missing", "no failed boot test is missing");

/// What the inputs of a promoted image are compared with.
#[derive(Clone, Copy, Debug)]
pub struct PromotionRules<'a> {
    pub policy: &'a InputsPolicy,
    /// A trusted signer stated that the image was promoted for users.
    pub was_promoted: bool,
    /// A branch may have any inputs in its own channel.
    pub is_for_users: bool,
    /// [Stated](crate::model::evidence::lifecycle::missing_boot_tests) about the inputs only.
    pub missing_boot_tests: &'a Lookup<Vec<FailedAttempt>>,
}

impl PromotionChecks {
    /// Checks the RPM contract and all evidence of trusted signers.
    ///
    /// `repository` is the image's repository as signatures name it. No boot test may be newer than `now`.
    pub fn new(
        repository: &str,
        inspection: &Inspection,
        evidence: &StoredEvidence,
        trust: &TrustPolicy,
        now: Timestamp,
        rules: PromotionRules<'_>,
    ) -> Self {
        let image = ImageFacts::of(repository, inspection);
        let purpose = if rules.was_promoted { InputsUse::Published } else { InputsUse::FirstPromotion };
        let digest = &inspection.image.digest;
        let mut checked = evidence_checks::verify_evidence_and_boot_test(&image, evidence, trust, now);
        let missing = CheckResult::new(NO_BOOT_TEST_MISSING, no_boot_test_missing(rules.missing_boot_tests));
        // The newest result is the last check.
        checked.insert(checked.len().saturating_sub(1), (EvidenceKind::BootTest, missing));
        Self {
            contract: verify::verify(inspection, None),
            evidence: checked,
            inputs: evidence_checks::check_inputs(digest, evidence, trust, rules.policy, purpose),
            is_for_users: rules.is_for_users,
        }
    }

    pub const fn target(&self) -> Option<&Target> {
        self.contract.target()
    }

    /// Each check, and whether it is required. The contract always is, and that the image is not withdrawn.
    pub fn checks(&self, required: &BTreeSet<EvidenceKind>) -> Vec<PromotionCheck> {
        let contract = self.contract.checks().iter().map(|answer| (answer, true));
        let is_required = |kind: &EvidenceKind| *kind == EvidenceKind::Withdrawal || required.contains(kind);
        let evidence = self.evidence.iter().map(|(kind, answer)| (answer, is_required(kind)));
        let check =
            |(answer, required): (&CheckResult, bool)| PromotionCheck { answer: answer.clone(), required };
        let inputs = (&self.inputs, self.requires_inputs(required));
        contract.chain([inputs]).chain(evidence).map(check).collect()
    }

    fn requires_inputs(&self, required: &BTreeSet<EvidenceKind>) -> bool {
        self.is_for_users && required.contains(&EvidenceKind::Provenance)
    }

    /// `None` unless every required check passed.
    pub fn proven(&self, required: &BTreeSet<EvidenceKind>) -> Option<ProvenImage> {
        let holds = |kind: &EvidenceKind| {
            let mut answers = self.evidence.iter().filter(|(of, _)| of == kind).peekable();
            answers.peek().is_some() && answers.all(|(_, answer)| *answer.outcome() == CheckStatus::Passed)
        };
        if self.requires_inputs(required) && *self.inputs.outcome() != CheckStatus::Passed {
            return None;
        }
        let verified = self.contract.clone().verified().ok()?;
        let waived = EvidenceKind::ALL.into_iter().filter(|kind| !required.contains(kind)).collect();
        required
            .iter()
            .chain([&EvidenceKind::Withdrawal])
            .all(holds)
            .then_some(ProvenImage { verified, waived })
    }
}

fn no_boot_test_missing(missing: &Lookup<Vec<FailedAttempt>>) -> CheckStatus {
    match missing {
        Ok(missing) => CheckStatus::of(missing.iter().map(|FailedAttempt { at, reason }| {
            format!("the result of {at} is no longer stored, it was: {reason}; test the image again")
        })),
        Err(reason) => CheckStatus::Unknown(reason.clone()),
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
