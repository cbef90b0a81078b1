//! Builds the evidence of an image to publish: keeps valid existing evidence and signs the rest.

use jiff::Timestamp;

use super::signer::{Signer, SignerError, SignerKind, SignerSources};
use crate::model::evidence::verify::{EvidenceStatus, ImageFacts, StoredEvidence, evidence_status};
use crate::model::evidence::{
    EvidenceKind, Statement, StatementSubject, artifact, provenance, sbom, simple_signing,
};
use crate::model::inputs::BuildInputs;
use crate::model::publish::Evidence;
use crate::model::verify::Inspection;

pub struct EvidenceBuilder<'a> {
    pub subject: StatementSubject,
    pub inspection: &'a Inspection,
    pub inputs: &'a BuildInputs,
    pub signer: &'a Signer,
    pub sources: &'a SignerSources,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum EvidenceError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Signer(#[from] SignerError),
    /// Nothing is signed then, because transparency log entries are permanent.
    #[error("cannot read the evidence that is already published: {0}")]
    #[diagnostic(help("run it again when the registry responds"))]
    Unknown(String),
}

impl EvidenceBuilder<'_> {
    /// Signs missing evidence. Also returns the keylessly signed bundles.
    pub async fn build(&self, stored: &StoredEvidence) -> Result<(Evidence, Vec<Vec<u8>>), EvidenceError> {
        let (mut evidence, mut keyless) = (Evidence::default(), Vec::new());
        for signer_kind in self.signer.signer_kinds() {
            let status = self.status(stored, signer_kind).await?;
            evidence.accepted.extend(status.accepted);
            for kind in status.missing {
                let statement = self.statement(kind).await?;
                if let Some(signed) = self.signer.sign(signer_kind, &statement).await? {
                    let now = Timestamp::now();
                    evidence.made.push(artifact::referrer(&signed.bundle, kind, &self.subject, now));
                    if signer_kind == SignerKind::Keyless {
                        keyless.push(signed.bundle);
                    }
                }
            }
            if status.simple_signature_missing
                && let Some(signature) = self.signer.sign_simple(&self.subject)?
            {
                let tag = simple_signing::tag(&self.subject.digest);
                evidence.signature = Some((tag, simple_signing::manifest_with_blobs(&signature)));
            }
        }
        Ok((evidence, keyless))
    }

    async fn status(
        &self,
        stored: &StoredEvidence,
        signer_kind: SignerKind,
    ) -> Result<EvidenceStatus, EvidenceError> {
        let root = self.sources.trusted_root().await?;
        let Some(trust) = self.signer.trust(signer_kind, root).await? else {
            return Ok(EvidenceStatus::default());
        };
        let image = ImageFacts::of(&self.subject.name, self.inspection);
        evidence_status(&image, stored, &trust).map_err(EvidenceError::Unknown)
    }

    async fn statement(&self, kind: EvidenceKind) -> Result<Statement, EvidenceError> {
        let predicate = match kind {
            EvidenceKind::Provenance => {
                let platform = self.signer.build_platform(self.sources.tokens().as_ref(), None).await?;
                provenance::predicate(self.inputs, &platform)
            }
            EvidenceKind::Sbom => {
                let readable = self.inspection.packages.iter().filter_map(|found| {
                    let (package, _) = found.content.as_ref().ok()?;
                    Some(sbom::SbomPackage::of(&found.path, package))
                });
                sbom::document(&self.subject, self.inputs, &readable.collect::<Vec<_>>())
            }
            EvidenceKind::Signature => return Ok(Statement::signature(&self.subject)),
            _ => unreachable!("EvidenceKind::REQUIRED has no other kind"),
        };
        Ok(Statement::new(kind, &self.subject, &predicate))
    }
}
