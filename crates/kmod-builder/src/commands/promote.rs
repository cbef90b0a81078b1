use std::collections::BTreeSet;

use clap::Args;
use jiff::Timestamp;
use kmod_compat::Arch;
use kmod_query::Stream;
use miette::{IntoDiagnostic as _, Result};

use super::view::promote::{PromotionOutcome, PromotionReport};

use super::args::trust::TrustArgs;
use super::{CommandContext, CommandOutcome, UsageError};
use crate::io::environment;
use crate::io::evidence::signer::SignerSources;
use crate::io::evidence::statement_publisher::StatementPublisher;
use crate::io::progress::{ProgressOutput, ProgressSection};
use crate::io::registry::{self, Access, Registry, RegistryWriter};
use crate::io::store::ImageStore;
use crate::io::{evidence, inspect, promote};
use crate::model::Target;
use crate::model::evidence::EvidenceKind;
use crate::model::evidence::lifecycle::{self, ImageHistory};
use crate::model::evidence::verify::TrustPolicy;
use crate::model::image::{DigestRef, ImageLocation, ImageRef, Tag, TagOrDigest};
use crate::model::inputs::InputsPolicy;
use crate::model::promote::{
    Promotion, PromotionChannel, PromotionChecks, PromotionOverrides, PromotionRules,
};
use crate::model::tags::{Channel, LineChannel, ParseChannelError};
use crate::output::StandardOutput;

/// Verify an image in a registry, and set the tags that users follow
///
/// Verifies every byte of the image: the RPM contract, and the trusted signer's provenance, SBOM, signature and newest
/// boot test. Then sets its tags, in this order: its own, zfs-VERSION_kernel-RELEASE; the audit tag,
/// CHANNEL-RUN-COMMIT; and the moving ones, such as stable, zfs-2.4_stable and fedora-44_stable. Its own tag depends on no
/// channel; if one tag of the channel may not be set, none of them is changed. With a signer, the promotion is stated in the
/// image's evidence.
///
/// For a branch (--channel beta-BRANCH) all tags begin with beta-BRANCH, and none is one that users look for.
///
/// Run it again after an interruption.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if it is promoted, 3 if it is not proven or may not be promoted.

Examples:
  zfs-kmods promote docker://ghcr.io/OWNER/zfs-kmods@sha256:DIGEST --public-key cosign.pub --dry-run
  zfs-kmods promote docker://ghcr.io/OWNER/zfs-kmods@sha256:DIGEST --identity-repo OWNER/zfs-kmods
  zfs-kmods promote docker://ghcr.io/OWNER/zfs-kmods@sha256:DIGEST --channel beta-fix/scrub --public-key FILE")]
pub struct PromoteArgs {
    /// Image: docker://host/name@DIGEST; never a tag, because tags move
    image: DigestRef,

    /// Where to: stable, testing, next, or beta- and the name of a branch; zfs-2.3_stable for a line of OpenZFS that is not
    /// the first one; none for the image's own tag alone
    #[arg(long, value_name = "CHANNEL", default_value = "stable", value_parser = channel)]
    channel: ChannelChoice,

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

    #[command(flatten)]
    overrides: OverrideArgs,

    /// Show the tags that would be set
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    trust: TrustArgs,

    #[command(flatten)]
    signing: SignerSources,
}

/// What else a promotion may do.
#[derive(Debug, Args)]
struct OverrideArgs {
    /// Take zfs-VERSION_kernel-RELEASE from another image: this one is a rebuild of it
    #[arg(long)]
    replace: bool,

    /// The channel's source ships the image's kernel: leave recalled and foreign images, and go back to an older kernel when two
    /// runs at least 12 hours apart saw that the source went back; the first one notes it, for which it needs a signer
    #[arg(long)]
    follow_source: bool,

    /// Move a channel to an older kernel or OpenZFS, to another architecture, or from an image without target labels
    #[arg(long)]
    allow_downgrade: bool,
}

#[derive(Clone, Debug)]
enum ChannelChoice {
    None,
    Of(LineChannel),
}

fn channel(text: &str) -> Result<ChannelChoice, ParseChannelError> {
    if text == "none" { Ok(ChannelChoice::None) } else { text.parse().map(ChannelChoice::Of) }
}

impl PromoteArgs {
    /// The architecture is not known before the image is read.
    fn check_audit_tag(&self) -> Result<()> {
        let (Some(tag), ChannelChoice::Of(of)) = (&self.audit_tag, &self.channel) else { return Ok(()) };
        let mut answers = Arch::ALL.into_iter().map(|arch| of.read_audit_tag(arch, tag));
        if answers.any(|answer| answer.is_ok()) {
            return Ok(());
        }
        of.read_audit_tag(Arch::X86_64, tag).map(drop).into_diagnostic()
    }

    /// The channel that names the image's own tag.
    fn names(&self) -> Result<Channel> {
        match &self.channel {
            ChannelChoice::Of(of) => Ok(of.channel.clone()),
            ChannelChoice::None => match environment::promotion_channel() {
                Some(channel) => channel.parse().into_diagnostic(),
                None => Ok(Channel::Stream(Stream::Stable)),
            },
        }
    }
}

pub async fn run(args: PromoteArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let ImageLocation::Registry(repository) = &args.image.store else {
        return Err(miette::miette!(
            help = "publish it first, then promote docker://HOST/NAME@DIGEST",
            "images are promoted in a registry, but {} is a directory",
            args.image.store
        ));
    };
    let config = &context.config;
    config.check_channel(&args.names()?).map_err(|unknown| UsageError::of(&unknown))?;
    args.check_audit_tag()?;
    let trust = args.trust.required_policy(config).await?;
    let required: BTreeSet<EvidenceKind> = args.require.iter().copied().collect();
    let now = Timestamp::now();
    let matrix = config.matrix()?;
    let is_recalled = |target: &Target| matrix.verdict(target.zfs, &target.kernel).exclusion().is_some();
    // Before anything is changed, so that an unreadable key fails early.
    let statements =
        if args.dry_run { None } else { StatementPublisher::find(&args.image.store, &args.signing).await? };

    let section = ProgressSection::begin(ProgressOutput::detect(), format!("Promoting {}", args.image));
    let access = if args.dry_run { Access::Pull } else { Access::Push };
    let registry = RegistryWriter::open(&registry::connect(), repository, access).await?;
    let policy = context.upstream.inputs_policy(config)?;
    let is_for_users = !args.names()?.is_of_branch();
    let (checks, history) = examine(&registry, &args.image, &trust, now, &policy, is_for_users).await?;
    let of = match &args.channel {
        ChannelChoice::Of(of) => Some(of.clone()),
        ChannelChoice::None => None,
    };
    let report = PromotionReport::new(&args.image, of.as_ref(), &checks, &required);
    let Some(proven) = checks.proven(&required) else {
        drop(section);
        return conclude(&report.end(PromotionOutcome::Unproven), &context.output);
    };

    let arch = proven.target().arch();
    let of = match of {
        Some(channel) => {
            let audit_tag = match &args.audit_tag {
                Some(tag) => channel.read_audit_tag(arch, tag).into_diagnostic()?,
                None => audit_tag(&registry, &args, &channel, arch, now).await?,
            };
            Some(PromotionChannel { channel, audit_tag })
        }
        None => None,
    };
    let overrides = PromotionOverrides {
        replace: args.overrides.replace,
        downgrade: args.overrides.allow_downgrade,
        follow_source: args.overrides.follow_source,
    };
    let promotion = Promotion::new(proven, &args.names()?, of, overrides, now)?;
    let found = promote::tag_state(&registry, &promotion, &history, &trust, is_recalled).await?;
    let plan = promotion.plan(&found);
    let report = report.with_tags(promotion.tags());
    if args.dry_run {
        drop(section);
        return conclude(&report.end(PromotionOutcome::Planned(plan)), &context.output);
    }
    let image = &promotion.proven().image().digest;
    let is_stated = history.is_promoted || history.is_promoted_on_branch && !is_for_users;
    // The statement comes first: a tag never points to an image without it.
    if let Some(statements) = statements.as_ref().filter(|_| !is_stated && !plan.updates.is_empty()) {
        let tags: Vec<Tag> = plan.updates.iter().map(|update| update.tag.clone()).collect();
        let predicate = lifecycle::promotion(&tags, now);
        statements.attach_to_image(image, EvidenceKind::Promotion, &predicate, now).await?;
    }
    let promoted =
        promote::promote(&registry, image, &plan.updates, |update| section.line(&update.to_string())).await?;
    for note in &plan.notes {
        let Some(statements) = &statements else {
            return Err(miette::miette!(
                help = "give --key FILE, or `id-token: write` in GitHub Actions",
                "upstream went back, which must be noted at {} with a signature",
                note.image
            ));
        };
        let predicate = lifecycle::rollback(&note.tag, promotion.proven().target(), note.noted, now);
        statements.attach_to_image(&note.image, EvidenceKind::Rollback, &predicate, now).await?;
        section.line(&note.to_string());
    }
    drop(section);
    conclude(&report.end(PromotionOutcome::Promoted(promoted, plan)), &context.output)
}

async fn examine(
    registry: &Registry,
    image: &DigestRef,
    trust: &TrustPolicy,
    now: Timestamp,
    policy: &InputsPolicy,
    is_for_users: bool,
) -> Result<(PromotionChecks, ImageHistory)> {
    let images = ImageStore::Registry(registry.clone());
    let name = ImageRef {
        store: image.store.clone(),
        tag_or_digest: Some(TagOrDigest::Digest(image.digest.clone())),
    };
    let inspection = inspect::inspect(&images, &name).await?;
    let evidence = evidence::stored_evidence(registry, &image.digest).await;
    let history = lifecycle::image_history(&image.digest, &evidence, trust, now);
    let history =
        history.map_err(|reason| miette::miette!("cannot read the history of {image}: {reason}"))?;
    let repository = registry.repository().to_string();
    let missing_boot_tests = &evidence::missing_boot_tests(registry, &inspection, &history, trust, now).await;
    let rules =
        PromotionRules { policy, was_promoted: history.is_promoted, is_for_users, missing_boot_tests };
    Ok((PromotionChecks::new(&repository, &inspection, &evidence, trust, now, rules), history))
}

/// Run and commit in GitHub Actions, else time and digest.
///
/// Outside Actions, the channel's newest audit tag is reused for the same image, so that an interrupted run continues.
async fn audit_tag(
    registry: &Registry,
    args: &PromoteArgs,
    channel: &LineChannel,
    arch: Arch,
    now: Timestamp,
) -> Result<Tag> {
    let [run, commit] = ["GITHUB_RUN_ID", "GITHUB_SHA"].map(environment::variable);
    if let (Some(run), Some(commit)) = (run, commit) {
        return channel.audit_tag(arch, &run, &commit).into_diagnostic();
    }
    let short = args.image.digest.short();
    let tags = registry.tags().await?;
    match channel.newest_audit_tag(arch, &tags) {
        Some(newest) if channel.names_commit(newest, short) => Ok(newest.clone()),
        _ => channel.audit_tag(arch, &now.strftime("%Y%m%d%H%M%S").to_string(), short).into_diagnostic(),
    }
}

fn conclude(report: &PromotionReport, output: &StandardOutput) -> Result<CommandOutcome> {
    output.show(report)?;
    Ok(if report.refused() { CommandOutcome::Refused } else { CommandOutcome::Done })
}
