//! Signs the statements about an image again, with another key.

use jiff::Timestamp;
use miette::{IntoDiagnostic as _, Result, miette};

use super::statement_publisher::StatementPublisher;
use super::stored_evidence;
use crate::io::registry::UploadProgress;
use crate::model::Digest;
use crate::model::evidence::verify::{TrustPolicy, trusted_statements};
use crate::model::evidence::{EvidenceKind, simple_signing};

/// Every statement by a trusted signer that the publisher's key has not signed yet. Returns the kinds of the statements.
///
/// After an interruption, the next run signs the rest.
pub async fn sign_again(
    publisher: &StatementPublisher,
    image: &Digest,
    trust: &TrustPolicy,
    progress: &UploadProgress,
    now: Timestamp,
) -> Result<Vec<EvidenceKind>> {
    let Some(key) = publisher.public_key() else {
        return Err(miette!(help = "give --key FILE", "only a key signs existing statements again"));
    };
    let ours = TrustPolicy::key(key.clone());
    let evidence = stored_evidence(publisher.registry(), image).await;
    let unknown = |reason: String| {
        miette!(
            help = "run it again when the registry answers",
            "cannot read the evidence of {image}: {reason}"
        )
    };
    let mut signed = Vec::new();
    for kind in EvidenceKind::OF_IMAGES {
        let mut known: Vec<_> = trusted_statements(kind, image, &evidence, &ours)
            .map_err(unknown)?
            .into_iter()
            .map(|statement| statement.predicate)
            .collect();
        for statement in trusted_statements(kind, image, &evidence, trust).map_err(unknown)? {
            if !known.contains(&statement.predicate) {
                publisher.attach_to_image(image, kind, &statement.predicate, now).await?;
                known.push(statement.predicate);
                signed.push(kind);
            }
        }
    }
    let repository = publisher.registry().repository().to_string();
    let signatures = evidence.simple_signatures.as_ref().map_err(|reason| unknown(reason.clone()))?;
    let is_signed = signatures.iter().any(|stored| stored.verify(key, &repository, image).is_ok());
    if !is_signed && let Some(signature) = publisher.sign_simple(image).await? {
        let (tag, manifest) = (simple_signing::tag(image), simple_signing::manifest_with_blobs(&signature));
        publisher.registry().add_signatures(&tag, &manifest, progress).await.into_diagnostic()?;
        signed.push(EvidenceKind::Signature);
    }
    Ok(signed)
}
