//! `attestations`: what is attached to an image, and a copy of it.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic as _, Result};
use serde::Serialize;

use super::Outcome;
use crate::io::evidence;
use crate::io::store::ImageStore;
use crate::model::Digest;
use crate::model::evidence::summary::{BundleSummary, ClaimedSigner};
use crate::model::image::ImageRef;
use crate::output::{self, Format, Show};

/// List the evidence that is attached to an image, and fetch it
///
/// What the list says is what the evidence says of itself; `verify` checks it.
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

#[derive(Serialize)]
struct Listing {
    image: String,
    attestations: Vec<Attestation>,
    simple_signatures: usize,
}

#[derive(Serialize)]
struct Attestation {
    referrer: Digest,
    summary: Option<BundleSummary>,
    problem: Option<String>,
    file: Option<PathBuf>,
}

impl Show for Listing {
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

/// Gather, do, show.
pub async fn run(args: AttestationsArgs, format: Format) -> Result<Outcome> {
    let images = ImageStore::open(&args.image.store).await?;
    let ImageStore::Registry(registry) = &images else {
        return Err(miette::miette!(
            help = "name an image in a registry: docker://HOST/NAME:TAG",
            "a directory holds images without evidence"
        ));
    };
    let digest = images.find(&args.image).await?.digest;
    let attached = evidence::stored_evidence(registry, &digest).await;
    let unknown = |reason: String| {
        miette::miette!(
            help = "run it again when the registry answers",
            "what is attached is not known: {reason}"
        )
    };
    let bundles = attached.bundles.map_err(unknown)?;
    let simple_signatures = attached.simple_signatures.map_err(unknown)?.len();
    if let Some(directory) = &args.download {
        std::fs::create_dir_all(directory).into_diagnostic()?;
    }
    let mut attestations = Vec::new();
    for (bundle, (referrer, summary)) in bundles.iter().zip(evidence::summaries(&bundles, &digest)) {
        let file = match &args.download {
            None => None,
            Some(directory) => {
                let path = directory.join(format!("{}.sigstore.json", referrer.hex()));
                std::fs::write(&path, &bundle.json).into_diagnostic()?;
                Some(path)
            }
        };
        let (summary, problem) = match summary {
            Ok(summary) => (Some(summary), None),
            Err(problem) => (None, Some(problem)),
        };
        attestations.push(Attestation { referrer, summary, problem, file });
    }
    let image = format!("{}@{digest}", args.image.store);
    output::show(format, &Listing { image, attestations, simple_signatures }).into_diagnostic()?;
    Ok(Outcome::Done)
}

fn signer(signer: &ClaimedSigner) -> String {
    match signer {
        ClaimedSigner::Key(hint) => format!("key {hint}"),
        ClaimedSigner::Identity(identity) => identity.clone(),
    }
}
