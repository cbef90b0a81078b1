use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic as _, Result};

use super::view::attestations::{Attestation, AttestationList};
use super::{CommandContext, CommandOutcome};
use crate::io::evidence;
use crate::io::store::ImageStore;
use crate::model::document::DocumentSchema;
use crate::model::image::{DigestRef, ImageRef};

/// List the evidence that is attached to an image, and fetch it
///
/// The list shows what the evidence claims; `verify` checks it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  zfs-kmods attestations docker://ghcr.io/OWNER/zfs-kmods:TAG
  zfs-kmods attestations docker://ghcr.io/OWNER/zfs-kmods:TAG --download evidence")]
pub struct AttestationsArgs {
    /// Image: docker://host/name[:TAG|@DIGEST]
    image: ImageRef,

    /// Write each Sigstore bundle into this directory, named by its digest
    #[arg(long, value_name = "DIR")]
    download: Option<PathBuf>,
}

pub async fn run(args: AttestationsArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let images = ImageStore::open(&args.image.store).await?;
    let ImageStore::Registry(registry) = &images else {
        return Err(miette::miette!(
            help = "name an image in a registry: docker://HOST/NAME:TAG",
            "images in a directory have no evidence"
        ));
    };
    let digest = images.find(&args.image).await?.digest;
    let stored = evidence::stored_evidence(registry, &digest).await;
    let unknown = |reason: String| {
        miette::miette!(
            help = "run it again when the registry responds",
            "cannot read what is attached: {reason}"
        )
    };
    let bundles = stored.bundles.map_err(unknown)?;
    let simple_signatures = stored.simple_signatures.map_err(unknown)?.len();
    let files = match &args.download {
        None => vec![None; bundles.len()],
        Some(directory) => evidence::write_bundles(directory, &bundles).into_diagnostic()?,
    };
    let mut attestations = Vec::new();
    for (file, (referrer, summary)) in files.into_iter().zip(evidence::summaries(&bundles, &digest)) {
        let (summary, problem) = match summary {
            Ok(summary) => (Some(summary), None),
            Err(problem) => (None, Some(problem)),
        };
        attestations.push(Attestation { referrer, summary, problem, file });
    }
    let schema = DocumentSchema::new("attestations", 1);
    let image = DigestRef { store: args.image.store, digest };
    context.output.show(&AttestationList { schema, image, attestations, simple_signatures })?;
    Ok(CommandOutcome::Done)
}
