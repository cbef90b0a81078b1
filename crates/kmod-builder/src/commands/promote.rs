use std::collections::BTreeSet;

use clap::{ArgGroup, Args};
use jiff::Timestamp;
use kmod_compat::Arch;
use miette::{IntoDiagnostic as _, Result};

use super::view::promote::{PromotionOutcome, PromotionReport};

use super::args::trust::TrustArgs;
use super::{CommandContext, CommandOutcome};
use crate::io::environment;
use crate::io::progress::{ProgressOutput, ProgressSection};
use crate::io::registry::{self, Access, Registry, RegistryWriter};
use crate::io::store::ImageStore;
use crate::io::{evidence, inspect, promote};
use crate::model::evidence::EvidenceKind;
use crate::model::evidence::verify::TrustPolicy;
use crate::model::image::{DigestRef, ImageLocation, ImageRef, Tag, TagOrDigest};
use crate::model::promote::{Promotion, PromotionChecks, PromotionOverrides};
use crate::model::tags::Channel;
use crate::output::StandardOutput;

/// Verify an image in a registry, and set the tags that users follow
///
/// Verifies every byte of the image: the RPM contract, and the trusted signer's provenance, SBOM, signature and newest
/// boot test. Then sets its tags, in this order: its own, zfs-VERSION_kernel-RELEASE; the audit tag,
/// CHANNEL-RUN-COMMIT; and the moving ones, such as stable, zfs-2.4_stable and fedora-44_stable. If one tag may not be
/// set, none is changed.
///
/// For a branch (--channel beta-BRANCH) all tags begin with beta-BRANCH, and none is one that users look for.
///
/// Run it again after an interruption.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("trusted").args(["public_key", "identity_repo"]).required(true)),
    after_help = "Exit status: 0 if it is promoted, 3 if it is not proven or may not be promoted.

Examples:
  zfs-kmods promote docker://ghcr.io/OWNER/zfs-kmods@sha256:DIGEST --public-key cosign.pub --dry-run
  zfs-kmods promote docker://ghcr.io/OWNER/zfs-kmods@sha256:DIGEST --identity-repo OWNER/zfs-kmods
  zfs-kmods promote docker://ghcr.io/OWNER/zfs-kmods@sha256:DIGEST --channel beta-fix/scrub --public-key FILE"
)]
pub struct PromoteArgs {
    /// Image: docker://host/name@DIGEST; never a tag, because tags move
    image: DigestRef,

    /// Where to: stable, testing, next, or beta- and the name of a branch
    #[arg(long, value_name = "CHANNEL", default_value = "stable")]
    channel: Channel,

    /// Tag for the audit [default: CHANNEL-RUN-COMMIT in GitHub Actions, else CHANNEL-TIME-DIGEST]
    #[arg(long, value_name = "TAG")]
    audit_tag: Option<String>,

    /// Evidence that must be valid; the RPM contract always must
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        value_delimiter = ',',
        default_values_t = EvidenceKind::ALL
    )]
    require: Vec<EvidenceKind>,

    /// Take zfs-VERSION_kernel-RELEASE from another image: this one is a rebuild of it
    #[arg(long)]
    replace: bool,

    /// Move a channel to an older kernel or OpenZFS, to another architecture, or from an image without target labels
    #[arg(long)]
    allow_downgrade: bool,

    /// Show the tags that would be set
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    trust: TrustArgs,
}

pub async fn run(args: PromoteArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let ImageLocation::Registry(repository) = &args.image.store else {
        return Err(miette::miette!(
            help = "publish it first, then promote docker://HOST/NAME@DIGEST",
            "images are promoted in a registry, but {} is a directory",
            args.image.store
        ));
    };
    if let Some(tag) = &args.audit_tag {
        // The image's architecture is not known yet.
        let read = Arch::ALL.map(|arch| args.channel.read_audit_tag(arch, tag));
        if let [Err(error), Err(_)] = read {
            return Err(error).into_diagnostic();
        }
    }
    let trust = args.trust.policy_or_unverified().await?;
    let required: BTreeSet<EvidenceKind> = args.require.iter().copied().collect();
    let now = Timestamp::now();

    let section = ProgressSection::begin(ProgressOutput::detect(), format!("Promoting {}", args.image));
    let access = if args.dry_run { Access::Pull } else { Access::Push };
    let registry = RegistryWriter::open(&registry::connect(), repository, access).await?;
    let checks = examine(&registry, &args.image, &trust, now).await?;
    let report = PromotionReport::new(&args.image, &args.channel, &checks, &required);
    let Some(proven) = checks.proven(&required) else {
        drop(section);
        return conclude(&report.end(PromotionOutcome::Unproven), &context.output);
    };

    let arch = proven.target().arch();
    let audit_tag = match &args.audit_tag {
        Some(tag) => args.channel.read_audit_tag(arch, tag).into_diagnostic()?,
        None => audit_tag(&registry, &args, arch, now).await?,
    };
    let overrides = PromotionOverrides { replace: args.replace, downgrade: args.allow_downgrade };
    let promotion = Promotion::new(proven, args.channel.clone(), audit_tag, overrides).into_diagnostic()?;
    let found = promote::tag_state(&registry, &promotion).await?;
    let outcome = match promotion.updates(&found) {
        Err(rejections) => PromotionOutcome::Refused(rejections),
        Ok(updates) if args.dry_run => PromotionOutcome::Planned(updates),
        Ok(updates) => {
            let promoted =
                promote::promote(&registry, &promotion, &found, |update| section.line(&update.to_string()))
                    .await?;
            PromotionOutcome::Promoted(promoted, updates)
        }
    };
    drop(section);
    conclude(&report.with_tags(promotion.tags()).end(outcome), &context.output)
}

async fn examine(
    registry: &Registry,
    image: &DigestRef,
    trust: &TrustPolicy,
    now: Timestamp,
) -> Result<PromotionChecks> {
    let images = ImageStore::Registry(registry.clone());
    let name = ImageRef {
        store: image.store.clone(),
        tag_or_digest: Some(TagOrDigest::Digest(image.digest.clone())),
    };
    let inspection = inspect::inspect(&images, &name).await?;
    let evidence = evidence::stored_evidence(registry, &image.digest).await;
    Ok(PromotionChecks::new(&registry.repository().to_string(), &inspection, &evidence, trust, now))
}

/// Run and commit in GitHub Actions, else time and digest.
///
/// Outside Actions, the channel's newest audit tag is reused for the same image, so that an interrupted run continues.
async fn audit_tag(registry: &Registry, args: &PromoteArgs, arch: Arch, now: Timestamp) -> Result<Tag> {
    let [run, commit] = ["GITHUB_RUN_ID", "GITHUB_SHA"].map(environment::variable);
    if let (Some(run), Some(commit)) = (run, commit) {
        return args.channel.audit_tag(arch, &run, &commit).into_diagnostic();
    }
    let short = args.image.digest.short();
    let tags = registry.tags().await?;
    match args.channel.newest_audit_tag(arch, &tags) {
        Some(newest) if newest.as_str().ends_with(&format!("-{short}")) => Ok(newest.clone()),
        _ => args.channel.audit_tag(arch, &now.strftime("%Y%m%d%H%M%S").to_string(), short).into_diagnostic(),
    }
}

fn conclude(report: &PromotionReport, output: &StandardOutput) -> Result<CommandOutcome> {
    output.show(report)?;
    Ok(if report.refused() { CommandOutcome::Refused } else { CommandOutcome::Done })
}
