use clap::Args;
use jiff::Timestamp;
use miette::Result;

use super::args::trust::TrustArgs;
use super::{CommandContext, CommandOutcome};
use crate::io::store::{ImageStore, StoreError};
use crate::io::{evidence, inspect};
use crate::model::Target;
use crate::model::evidence::verify::{self as evidence_checks, TrustPolicy};
use crate::model::image::{DigestRef, ImageRef, TagOrDigest};
use crate::model::inputs::{InputsPolicy, InputsUse};
use crate::model::verify::{self, CheckResult, Inspection, VerificationReport};

/// Check that an image holds the right RPMs, and that they will load
///
/// Reads every byte of the image and checks the contract: blobs and labels match the image, the expected packages are
/// there and no others, the kmod package requires exactly its kernel and runs depmod for it, and every module is built
/// for that kernel. In a registry, also checks that provenance, SBOM and signature are attached, and with a trusted
/// signer that they are valid; without one, anyone who may push could have made the image. Each check is reported as ok, failed or unknown; unknown does not pass.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if every check passed, 3 if not.

Examples:
  zfs-kmods verify oci:./images
  zfs-kmods verify oci:./images:zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64
  zfs-kmods verify docker://ghcr.io/OWNER/zfs-kmods:zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64
  zfs-kmods verify docker://ghcr.io/OWNER/zfs-kmods:TAG --public-key cosign.pub
  zfs-kmods verify docker://ghcr.io/OWNER/zfs-kmods:TAG --identity-repo OWNER/zfs-kmods")]
pub struct VerifyArgs {
    /// Image: oci:DIR[:TAG|@DIGEST] or docker://host/name[:TAG|@DIGEST]; DIR alone means its only image
    image: ImageRef,

    /// Checks of provenance, SBOM and signature
    /// [default: required with a trusted signer, present in a registry, off in a directory]
    #[arg(long, value_enum)]
    evidence: Option<EvidenceLevel>,

    #[command(flatten)]
    trust: TrustArgs,
}

/// Which evidence an image must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EvidenceLevel {
    /// Attached, signed by the trusted signer, and matching the image
    Required,
    /// Attached, by any signer
    Present,
    /// Not checked
    Off,
}

pub async fn run(args: VerifyArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let trust = args.trust.policy_for(&args.image.store, &context.config).await?;
    let images = ImageStore::open(&args.image.store).await?;
    let inspection = inspect::inspect(&images, &args.image).await?;
    let policy = context.upstream.inputs_policy(&context.config)?;
    let answers = evidence_of(&images, &inspection, args.evidence, trust.as_ref(), &policy).await?;
    let report = verify::verify(&inspection, None).and(answers);
    let is_authenticated = trust.is_some() && matches!(args.evidence, None | Some(EvidenceLevel::Required));
    let report = if is_authenticated { report.authenticated() } else { report };
    context.output.show(&report)?;
    Ok(if report.passed() { CommandOutcome::Done } else { CommandOutcome::Refused })
}

async fn evidence_of(
    images: &ImageStore,
    inspection: &Inspection,
    level: Option<EvidenceLevel>,
    trust: Option<&TrustPolicy>,
    policy: &InputsPolicy,
) -> Result<Vec<CheckResult>> {
    let ImageStore::Registry(registry) = images else {
        return match level {
            None | Some(EvidenceLevel::Off) if trust.is_none() => Ok(Vec::new()),
            _ => Err(miette::miette!(
                help = "verify the published image: docker://HOST/NAME:TAG",
                "images in a directory have no evidence"
            )),
        };
    };
    let level =
        level.unwrap_or(if trust.is_some() { EvidenceLevel::Required } else { EvidenceLevel::Present });
    match (level, trust) {
        (EvidenceLevel::Off, _) => Ok(Vec::new()),
        (EvidenceLevel::Present, _) => {
            let stored_evidence = evidence::stored_evidence(registry, &inspection.image.digest).await;
            Ok(evidence_checks::verify_evidence_presence(
                &inspection.image.digest,
                &stored_evidence,
                Timestamp::now(),
            ))
        }
        (EvidenceLevel::Required, Some(trust)) => {
            let stored_evidence = evidence::stored_evidence(registry, &inspection.image.digest).await;
            let image = evidence_checks::ImageFacts::of(&registry.repository().to_string(), inspection);
            let inputs = evidence_checks::check_inputs(
                &image.digest,
                &stored_evidence,
                trust,
                policy,
                InputsUse::Published,
            );
            let mut checks =
                evidence_checks::verify_evidence(&image, &stored_evidence, trust, Timestamp::now());
            checks.push(inputs);
            Ok(checks)
        }
        (EvidenceLevel::Required, None) => Err(miette::miette!(
            help = "name a key with --public-key, or a repository on GitHub with --identity-repo, or either in zfs-kmods.toml",
            "--evidence required needs a trusted signer"
        )),
    }
}

pub async fn contract(image: &DigestRef, target: Option<&Target>) -> Result<VerificationReport, StoreError> {
    let name = ImageRef {
        store: image.store.clone(),
        tag_or_digest: Some(TagOrDigest::Digest(image.digest.clone())),
    };
    let images = ImageStore::open(&image.store).await?;
    Ok(verify::verify(&inspect::inspect(&images, &name).await?, target))
}
