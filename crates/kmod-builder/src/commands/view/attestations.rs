use std::path::PathBuf;

use serde::Serialize;

use crate::model::Digest;
use crate::model::document::{self, DocumentSchema};
use crate::model::evidence::summary::{BundleSummary, ClaimedSigner};
use crate::model::image::DigestRef;
use crate::output::{self, Show};

#[derive(Serialize)]
pub struct AttestationList {
    pub(in crate::commands) schema: DocumentSchema,
    #[serde(serialize_with = "document::image")]
    pub(in crate::commands) image: DigestRef,
    pub(in crate::commands) attestations: Vec<Attestation>,
    pub(in crate::commands) simple_signatures: usize,
}

#[derive(Serialize)]
pub struct Attestation {
    pub(in crate::commands) referrer: Digest,
    pub(in crate::commands) summary: Option<BundleSummary>,
    pub(in crate::commands) problem: Option<String>,
    pub(in crate::commands) file: Option<PathBuf>,
}

impl Show for AttestationList {
    fn table(&self) -> String {
        let rows = self.attestations.iter().map(|attestation| {
            let referrer = attestation.referrer.short().to_owned();
            match &attestation.summary {
                Some(summary) => [referrer, summary.predicate_type.clone(), signer(&summary.signer)],
                None => [referrer, attestation.problem.clone().unwrap_or_default(), String::new()],
            }
        });
        let table = output::columns(["REFERRER", "SAYS", "SIGNED BY"], rows);
        format!(
            "{table}\n{} simple signatures (for podman, bootc and rpm-ostree)\n{}\n",
            self.simple_signatures, self.image
        )
    }
}

fn signer(signer: &ClaimedSigner) -> String {
    match signer {
        ClaimedSigner::Key(hint) => format!("key {hint}"),
        ClaimedSigner::Identity(identity) => identity.clone(),
    }
}
