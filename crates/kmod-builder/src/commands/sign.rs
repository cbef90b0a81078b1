use clap::Args;
use jiff::Timestamp;
use miette::Result;

use super::args::trust::TrustArgs;
use super::view::sign::SignReport;
use super::{CommandContext, CommandOutcome};
use crate::io::evidence::resign;
use crate::io::evidence::signer::{SignerError, SignerSources};
use crate::io::evidence::statement_publisher::StatementPublisher;
use crate::io::progress::{ProgressOutput, ProgressSection};
use crate::model::image::{DigestRef, ImageLocation};

/// Sign the evidence of a published image with another key, after a key was changed
///
/// Every statement about the image that a trusted signer made (provenance, SBOM, signature, boot tests, promotion) is
/// signed with --key and attached, and so is the signature for podman and bootc. Nothing is built, and no tag moves.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  COSIGN_PASSWORD=… zfs-kmods sign docker://registry.example.org/zfs-kmods@sha256:DIGEST --key new.key --public-key old.pub")]
pub struct SignArgs {
    /// Image: docker://host/name@DIGEST
    image: DigestRef,

    /// Do nothing if no key is given
    #[arg(long)]
    skip_without_key: bool,

    #[command(flatten)]
    trust: TrustArgs,

    #[command(flatten)]
    signing: SignerSources,
}

pub async fn run(args: SignArgs, context: &CommandContext) -> Result<CommandOutcome> {
    if !matches!(args.image.store, ImageLocation::Registry(_)) {
        return Err(miette::miette!(
            help = "name the published image: docker://HOST/NAME@DIGEST",
            "images in a directory have no evidence"
        ));
    }
    let trust = args.trust.required_policy(&context.config).await?;
    let publisher = StatementPublisher::find(&args.image.store, &args.signing).await?;
    if args.skip_without_key && publisher.as_ref().is_none_or(|publisher| publisher.public_key().is_none()) {
        context.output.show(&SignReport::without_key(args.image))?;
        return Ok(CommandOutcome::Done);
    }
    let publisher = publisher.ok_or(SignerError::NoSigner)?;
    let section = ProgressSection::begin(ProgressOutput::detect(), format!("Signing {}", args.image));
    let (digest, now) = (&args.image.digest, Timestamp::now());
    let signed = resign::sign_again(&publisher, digest, &trust, &section.uploads(), now).await?;
    drop(section);
    context.output.show(&SignReport::new(args.image, signed))?;
    Ok(CommandOutcome::Done)
}
