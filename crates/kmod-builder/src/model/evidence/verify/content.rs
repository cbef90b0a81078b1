//! The content of signed evidence, compared with the image.

use super::{ImageFacts, VerifiedBundle, identity};
use crate::model::evidence::provenance::{self, ProvenanceInputs};
use crate::model::evidence::sbom;
use crate::model::verify::CheckStatus;

/// Checks that a provenance is complete and, if signed by a workflow, about that workflow.
pub(super) fn read_provenance(verified: &VerifiedBundle) -> Result<ProvenanceInputs, CheckStatus> {
    let stated_inputs = provenance::read(&verified.statement.predicate).map_err(CheckStatus::Failed)?;
    if let Some(claims) = &verified.claims {
        identity::provenance_is_of_signer(verified, claims).map_err(CheckStatus::Failed)?;
    }
    Ok(stated_inputs)
}

/// Whether the image's label has the digest of the inputs in the provenance.
pub(super) fn inputs_match(image: &ImageFacts, stated_inputs: Option<&ProvenanceInputs>) -> CheckStatus {
    let Some(stated_inputs) = stated_inputs else {
        return CheckStatus::Unknown("there is no good provenance to compare with".to_owned());
    };
    match &image.inputs_label {
        Err(reason) => CheckStatus::Unknown(reason.clone()),
        Ok(None) => CheckStatus::Failed("the image has no label with the digest of its inputs".to_owned()),
        Ok(Some(label)) if *label == stated_inputs.digest => CheckStatus::Passed,
        Ok(Some(label)) => CheckStatus::Failed(format!(
            "the provenance is of inputs {}, the image's label says {label}",
            stated_inputs.digest
        )),
    }
}

/// Whether the SBOM lists exactly the RPMs of the image.
pub(super) fn packages_match(image: &ImageFacts, sbom: Option<&VerifiedBundle>) -> CheckStatus {
    let Some(sbom) = sbom else {
        return CheckStatus::Unknown("there is no good SBOM to compare with".to_owned());
    };
    let listed = match sbom::listed_files(&sbom.statement.predicate) {
        Ok(listed) => listed,
        Err(error) => return CheckStatus::Failed(format!("the SBOM {error}")),
    };
    let rpms = match &image.rpms {
        Ok(rpms) => rpms,
        Err(reason) => return CheckStatus::Unknown(reason.clone()),
    };
    let unlisted = rpms.keys().filter(|file| !listed.contains_key(*file));
    let missing = listed.keys().filter(|file| !rpms.contains_key(*file));
    let other =
        rpms.iter().filter(|(file, digest)| listed.get(*file).is_some_and(|listed| listed != *digest));
    CheckStatus::of(
        (unlisted.map(|file| format!("it does not list {file}")))
            .chain(missing.map(|file| format!("it lists {file}, which is not in the image")))
            .chain(other.map(|(file, _)| format!("its digest of {file} is another one"))),
    )
}
