//! `verify`: hold an image against the RPM contract.

use clap::Args;
use miette::{IntoDiagnostic as _, Result};

use super::Outcome;
use super::args::signing::TrustArgs;
use crate::io::store::{ImageStore, StoreError};
use crate::io::{evidence, inspect};
use crate::model::evidence::verify::TrustPolicy;
use crate::model::image::{DigestRef, ImageRef, TagOrDigest};
use crate::model::verify::{self, CheckResult, Inspection, VerificationReport};
use crate::model::{Target, evidence as model_evidence};
use crate::output::{self, Format};

/// Check that an image holds the right RPMs, and that they will load
///
/// Reads the image as it is stored, every byte of it, and holds it against the contract: blobs and labels are what
/// the image says, the expected packages are there and nothing else, the kmod package requires exactly its kernel and
/// makes it find the modules, and every module is built for that kernel. In a registry, also that provenance, SBOM and
/// signature are there, and, if you say whom you trust, that they are true. Each check is reported; what could not be
/// found out is unknown, which is never passed.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if every check passed, 3 if not.

Examples:
  zfs-kmods verify oci:./images
  zfs-kmods verify oci:./images:zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64
  zfs-kmods verify docker://ghcr.io/OWNER/zfs-kmods:zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64
  zfs-kmods verify docker://ghcr.io/OWNER/zfs-kmods:TAG --public-key cosign.pub
  zfs-kmods verify docker://ghcr.io/OWNER/zfs-kmods:TAG --identity-repo OWNER/zfs-kmods --identity-ref refs/heads/main")]
pub struct VerifyArgs {
    /// Image: oci:DIR[:TAG|@DIGEST] or docker://host/name[:TAG|@DIGEST]; DIR alone means its only image
    image: ImageRef,

    /// What of provenance, SBOM and signature is asked for
    /// [default: required if somebody is trusted, present in a registry, off in a directory]
    #[arg(long, value_enum)]
    evidence: Option<EvidenceLevel>,

    #[command(flatten)]
    trust: TrustArgs,
}

/// What is asked of an image's evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EvidenceLevel {
    /// It is there, whole, for this image, signed by whom you trust, and true
    Required,
    /// It is there, whoever signed it
    Present,
    /// Do not look
    Off,
}

/// Gather, decide, show.
pub async fn run(args: VerifyArgs, format: Format) -> Result<Outcome> {
    let trust = args.trust.policy().await?;
    let images = ImageStore::open(&args.image.store).await?;
    let inspection = inspect::inspect(&images, &args.image).await?;
    let answers = evidence_of(&images, &inspection, args.evidence, trust.as_ref()).await?;
    let report = verify::verify(&inspection, None).and(answers);
    output::show(format, &report).into_diagnostic()?;
    Ok(if report.passed() { Outcome::Done } else { Outcome::Refused })
}

/// The answers about an image's evidence, as far as they are asked for.
async fn evidence_of(
    images: &ImageStore,
    inspection: &Inspection,
    level: Option<EvidenceLevel>,
    trust: Option<&TrustPolicy>,
) -> Result<Vec<CheckResult>> {
    let ImageStore::Registry(registry) = images else {
        return match level {
            None | Some(EvidenceLevel::Off) if trust.is_none() => Ok(Vec::new()),
            _ => Err(miette::miette!(
                help = "verify the image where it is published: docker://HOST/NAME:TAG",
                "evidence is kept beside an image in a registry, and a directory holds none"
            )),
        };
    };
    let level =
        level.unwrap_or(if trust.is_some() { EvidenceLevel::Required } else { EvidenceLevel::Present });
    match (level, trust) {
        (EvidenceLevel::Off, _) => Ok(Vec::new()),
        (EvidenceLevel::Present, _) => {
            let stored_evidence = evidence::stored_evidence(registry, &inspection.image.digest).await;
            Ok(model_evidence::verify::verify_evidence_presence(&inspection.image.digest, &stored_evidence))
        }
        (EvidenceLevel::Required, Some(trust)) => {
            let stored_evidence = evidence::stored_evidence(registry, &inspection.image.digest).await;
            let image =
                model_evidence::verify::ImageFacts::of(&registry.repository().to_string(), inspection);
            Ok(model_evidence::verify::verify_evidence(&image, &stored_evidence, trust))
        }
        (EvidenceLevel::Required, None) => Err(miette::miette!(
            help = "name a key with --public-key, or a repository on GitHub with --identity-repo",
            "signatures can only be required of somebody"
        )),
    }
}

/// The contract's answers about one exact image, for a target if one is named.
pub async fn contract(image: &DigestRef, target: Option<&Target>) -> Result<VerificationReport, StoreError> {
    let name = ImageRef {
        store: image.store.clone(),
        tag_or_digest: Some(TagOrDigest::Digest(image.digest.clone())),
    };
    let images = ImageStore::open(&image.store).await?;
    Ok(verify::verify(&inspect::inspect(&images, &name).await?, target))
}
