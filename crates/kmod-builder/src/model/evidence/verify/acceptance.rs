//! Whether the inputs in trusted provenance are acceptable.

use super::{StoredEvidence, TrustPolicy, content, find};
use crate::model::Digest;
use crate::model::evidence::EvidenceKind;
use crate::model::inputs::{BuildInputs, InputsPolicy, InputsUse, inputs_are_acceptable};
use crate::model::verify::{CheckResult, CheckStatus};

const ACCEPTABLE_INPUTS: (&str, &str) = ("inputs-acceptable", "inputs are acceptable");

pub fn check_inputs(
    image: &Digest,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
    policy: &InputsPolicy,
    purpose: InputsUse,
) -> CheckResult {
    let status = match stated_inputs(image, evidence, trust) {
        Ok(inputs) => match inputs_are_acceptable(&inputs, policy, purpose) {
            Ok(()) => CheckStatus::Passed,
            Err(unacceptable) => CheckStatus::Failed(unacceptable.to_string()),
        },
        Err(_) => CheckStatus::Unknown("there is no good provenance to read them from".to_owned()),
    };
    CheckResult::new(ACCEPTABLE_INPUTS, status)
}

/// Other evidence than the provenance is not needed.
fn stated_inputs(
    image: &Digest,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
) -> Result<BuildInputs, CheckStatus> {
    let provenance = find(EvidenceKind::Provenance, image, evidence, trust)?;
    Ok(content::read_provenance(&provenance)?.inputs)
}
