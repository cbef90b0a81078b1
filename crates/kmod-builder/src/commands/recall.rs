use clap::Args;
use jiff::Timestamp;
use miette::Result;

use super::args::trust::TrustArgs;
use super::view::recall::{RecallOutcome, RecallReport};
use super::{CommandContext, CommandOutcome};
use crate::io::evidence::signer::{SignerError, SignerSources};
use crate::io::evidence::statement_publisher::StatementPublisher;
use crate::io::registry::{self, Access, RegistryWriter};
use crate::io::store::ImageStore;
use crate::io::{evidence, inspect};
use crate::model::evidence::EvidenceKind;
use crate::model::evidence::lifecycle;
use crate::model::image::{DigestRef, ImageLocation, TagOrDigest};
use crate::model::tags;

/// Mark an image as withdrawn if the compatibility matrix excludes it, and as reinstated if it no longer does
///
/// Attaches a signed statement to the image: `verify` and `promote` then refuse it, with the reason of the `[[exclude]]` row.
/// Deletes nothing and moves no channel; the next promotion of another image does that. The tag withdrawn-zfs-X_kernel-Y
/// points to the image from then on.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  zfs-kmods recall docker://ghcr.io/OWNER/zfs-kmods@sha256:DIGEST --key cosign.key --public-key cosign.pub
  zfs-kmods recall docker://ghcr.io/OWNER/zfs-kmods@sha256:DIGEST --identity-repo OWNER/zfs-kmods --dry-run")]
pub struct RecallArgs {
    /// Image: docker://host/name@DIGEST
    image: DigestRef,

    /// Show what would be stated
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    trust: TrustArgs,

    #[command(flatten)]
    signing: SignerSources,
}

pub async fn run(args: RecallArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let ImageLocation::Registry(repository) = &args.image.store else {
        return Err(miette::miette!(
            help = "name the published image: docker://HOST/NAME@DIGEST",
            "images are withdrawn in a registry, but {} is a directory",
            args.image.store
        ));
    };
    let trust = args.trust.required_policy(&context.config).await?;
    let (digest, now) = (&args.image.digest, Timestamp::now());
    let statements =
        if args.dry_run { None } else { StatementPublisher::find(&args.image.store, &args.signing).await? };
    if statements.is_none() && !args.dry_run {
        return Err(SignerError::NoSigner.into());
    }
    let access = if args.dry_run { Access::Pull } else { Access::Push };
    let registry = RegistryWriter::open(&registry::connect(), repository, access).await?;
    let images = ImageStore::Registry((*registry).clone());
    let target = inspect::labelled_target(&images, digest).await?.map_err(|reason| {
        miette::miette!(
            help = "`zfs-kmods verify` shows what is wrong with it",
            "the target of {} is not known: {reason}",
            args.image
        )
    })?;
    let withdrawal = async || {
        let stored = evidence::stored_statements(&registry, digest).await;
        lifecycle::withdrawal_of(digest, &stored, &trust, now).map_err(|reason| {
            miette::miette!(
                help = "run it again when the registry answers",
                "whether {} is withdrawn is not known: {reason}",
                args.image
            )
        })
    };
    let withdrawn = withdrawal().await?;
    let verdict = context.config.matrix()?.verdict(target.zfs, &target.kernel);
    let outcome = match (verdict.exclusion(), withdrawn) {
        (Some(exclusion), None) => RecallOutcome::Withdrawn(exclusion.to_string()),
        (Some(exclusion), Some(_)) => RecallOutcome::StillWithdrawn(exclusion.to_string()),
        (None, Some(_)) => RecallOutcome::Reinstated,
        (None, None) => RecallOutcome::NotExcluded,
    };
    if let (Some(statements), Some((withdrawn, reason))) = (&statements, outcome.statement()) {
        // First: without it, an image whose row is removed later would not be found again.
        let marker = tags::withdrawn_tag(&target);
        let manifest = registry.manifest(&TagOrDigest::Digest(digest.clone())).await?;
        let manifest =
            manifest.ok_or_else(|| miette::miette!("{} is no longer in the registry", args.image))?;
        registry.put_tag(&marker, &manifest).await?;
        let predicate = lifecycle::withdrawal(withdrawn, reason, now);
        statements.attach_to_image(digest, EvidenceKind::Withdrawal, &predicate, now).await?;
        if withdrawal().await?.is_some() != withdrawn {
            return Err(miette::miette!(
                help = "sign with a key or an identity that the trust flags name, then run it again",
                "the statement about {} was attached, but does not count: its signer is not trusted",
                args.image
            ));
        }
    }
    context.output.show(&RecallReport::new(args.image, target, outcome, args.dry_run))?;
    Ok(CommandOutcome::Done)
}
