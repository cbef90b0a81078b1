use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use miette::{IntoDiagnostic as _, Result, WrapErr as _};

use super::args::upstream::{self, UpstreamArgs};
use super::view::cleanup::{self as view, CleanupReport};
use super::{CommandContext, CommandOutcome, UsageError};
use crate::io::cleanup::{self, CleanupCache, Journal, RetentionBackend, StoreAccess};
use crate::io::{progress, records};
use crate::model::Digest;
use crate::model::cleanup::{HostKernel, PlanRejection, RetentionLimits, RetentionPlan, RetentionPolicy};
use crate::model::document::DocumentSchema;
use crate::model::image::ImageLocation;

const EXAMPLES: &str = "Examples:
  zfs-kmods cleanup docker://ghcr.io/owner/zfs-kmods --dry-run
  zfs-kmods cleanup docker://ghcr.io/owner/zfs-kmods --dry-run --plan plan.json
  zfs-kmods cleanup --apply plan.json
  zfs-kmods cleanup oci:./images --older-than 30d --keep-newest 1
  zfs-kmods cleanup restore JOURNAL sha256:…";

/// Delete the images of a store that are no longer needed, or restore them
///
/// Everything in the store is read first, and each manifest gets a line: keep or delete, and why. Kept are images
/// that are young, the newest of each OpenZFS line and architecture, those for kernels that Fedora CoreOS hosts can
/// still run, whatever a channel or audit tag or an unknown tag points to, and all that any of these needs:
/// attestations, signatures, the images of an index. If anything cannot be read, nothing is deleted.
///
/// What is deleted is written to a journal first; `cleanup restore` restores it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = EXAMPLES)]
pub struct CleanupArgs {
    #[command(subcommand)]
    command: Option<CleanupCommand>,

    #[command(flatten)]
    clean: CleanArgs,
}

#[derive(Debug, Subcommand)]
enum CleanupCommand {
    Restore(RestoreArgs),
}

#[derive(Debug, Args)]
struct CleanArgs {
    /// Store to clean up: docker://host/name or oci:DIR [default: the repository of the configuration]
    #[arg(value_name = "STORE", conflicts_with = "apply")]
    store: Option<ImageLocation>,

    #[command(flatten)]
    limits: RetentionLimits,

    /// Delete although --minimum or --max-delete forbids it
    #[arg(long, alias = "yes-really")]
    override_limits: bool,

    /// Delete nothing: show what would be done
    #[arg(long, env = "ZFS_KMODS_DRY_RUN", conflicts_with = "apply")]
    dry_run: bool,

    /// Write the plan to this file, as JSON
    #[arg(long, value_name = "FILE", conflicts_with = "apply")]
    plan: Option<PathBuf>,

    /// Carry out the plan in this file, as far as it still holds
    #[arg(long, value_name = "FILE")]
    apply: Option<PathBuf>,

    /// Write what is deleted to this new file [default: journals/DATE.jsonl in the cache directory]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,

    #[command(flatten)]
    access: StoreAccess,
}

/// Restore what a clean-up deleted
///
/// GitHub restores for 30 days, a registry until it collects its garbage, a directory for a day. Tags that point to
/// something else by now stay there.
#[derive(Debug, Args)]
struct RestoreArgs {
    /// Journal of the clean-up
    #[arg(value_name = "JOURNAL")]
    journal: PathBuf,

    /// Only these images, with their evidence [default: everything]
    #[arg(value_name = "DIGEST")]
    digests: Vec<Digest>,

    #[command(flatten)]
    access: StoreAccess,
}

pub async fn run(args: CleanupArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let CommandContext { upstream, config, output, .. } = context;
    let now = Timestamp::now();
    match (args.command, args.clean.apply.clone()) {
        (Some(CleanupCommand::Restore(args)), _) => restore(args, context).await,
        (None, Some(file)) => {
            let plan = cleanup::read_plan(&file)?;
            let store: ImageLocation = plan.store.parse().into_diagnostic()?;
            let backend = args.clean.access.open(&store, &upstream.github_api()).await?;
            carry_out(&backend, plan, &args.clean, context, now).await
        }
        (None, None) => {
            let Some(store) = args.clean.store.clone().or_else(|| config.repository.clone()) else {
                let help = "give <STORE>, docker://HOST/NAME or oci:DIR, or `repository` in zfs-kmods.toml";
                return Err(UsageError::new("no store to clean up is named", help).into());
            };
            let backend = args.clean.access.open(&store, &upstream.github_api()).await?;
            let plan = decide(&store, &backend, &args.clean, context, now).await?;
            if let Some(file) = &args.clean.plan {
                cleanup::write_plan(file, &plan)?;
            }
            if args.clean.dry_run {
                output.show(&plan)?;
                summary(&view::dry(&plan));
                return Ok(CommandOutcome::Done);
            }
            carry_out(&backend, plan, &args.clean, context, now).await
        }
    }
}

async fn decide(
    store: &ImageLocation,
    backend: &RetentionBackend,
    args: &CleanArgs,
    context: &CommandContext,
    now: Timestamp,
) -> Result<RetentionPlan> {
    let CommandContext { upstream, config, .. } = context;
    let limits = args.limits.clone().or(config.retention.clone());
    let keep_kernels = host_kernels(&limits, upstream, now).await?;
    let policy = RetentionPolicy { keep_kernels, channels: config.channel_names(), ..limits.policy() };
    let inventory = backend.gather(&cache(upstream), now).await?;
    let started = Instant::now();
    let plan = RetentionPlan::decide(&store.to_string(), &inventory, &policy, now);
    let cost = backend.cost();
    progress::print_notice(&format!(
        "looked at {} manifests with {} list requests, {} manifests read and {} other requests; decided in {:.2} s",
        inventory.all().len(),
        cost.lists,
        cost.manifests,
        cost.others,
        started.elapsed().as_secs_f64(),
    ));
    Ok(plan)
}

async fn host_kernels(
    limits: &RetentionLimits,
    upstream: &UpstreamArgs,
    now: Timestamp,
) -> Result<Vec<HostKernel>> {
    let streams = limits.streams();
    if streams.is_empty() {
        return Ok(Vec::new());
    }
    let upstream = upstream.connect()?;
    let kernels = cleanup::host_kernels(&upstream, &streams, limits.releases(), now)
        .await
        .wrap_err("it is not known which kernels hosts can still run, and without that nothing is deleted")?;
    upstream::report_usage(&upstream);
    Ok(kernels)
}

/// Writes to standard error and, in a workflow, to the job summary.
fn summary(text: &str) {
    progress::print_notice(text);
    if let Err(error) = records::append_summary(&format!("**Clean-up.** {text}\n\n")) {
        tracing::warn!(%error, "cannot write the summary");
    }
}

async fn carry_out(
    backend: &RetentionBackend,
    plan: RetentionPlan,
    args: &CleanArgs,
    context: &CommandContext,
    now: Timestamp,
) -> Result<CommandOutcome> {
    let CommandContext { upstream, output, .. } = context;
    let rejections = plan.rejections();
    let overruled = |rejection: &PlanRejection| args.override_limits && rejection.can_be_overridden();
    if let Some(rejection) = rejections.iter().find(|rejection| !overruled(rejection)) {
        output.show(&plan)?;
        let hint = if rejection.can_be_overridden() { "; --override-limits allows this" } else { "" };
        summary(&format!("Nothing was deleted: {rejection}{hint}."));
        return Ok(CommandOutcome::Refused);
    }
    if plan.deletions().is_empty() {
        output.show(&plan)?;
        summary(&format!("Nothing was deleted: all {} manifests are kept.", plan.kept().len()));
        return Ok(CommandOutcome::Done);
    }
    let path = args.journal.clone().unwrap_or_else(|| {
        upstream.cache().join("journals").join(format!("{}.jsonl", now.strftime("%Y-%m-%dT%H%M%S%.6fZ")))
    });
    let mut journal = Journal::begin(&path, &plan.store, now)?;
    progress::print_notice(&format!("deletion journal: {}", path.display()));
    let (result, inventory, fresh) =
        cleanup::apply(backend, &cache(upstream), &plan, &mut journal, now, &progress::print_notice).await?;
    let integrity = if result.deleted.is_empty() {
        cleanup::IntegrityCheck::default()
    } else {
        cleanup::check(backend, &inventory, &fresh).await?
    };
    let (schema, requests) = (DocumentSchema::new("cleanup-report", 1), backend.cost());
    let report = CleanupReport { schema, plan, result, integrity, requests, journal: path };
    output.show(&report)?;
    summary(&report.sentence());
    match report.integrity.broken.first() {
        None => Ok(CommandOutcome::Done),
        Some(broken) => Err(miette::miette!(
            help = "restore with `zfs-kmods cleanup restore JOURNAL`, and find out what else deletes from this store",
            "{} of the kept manifests are broken, the first: {} lacks {}",
            report.integrity.broken.len(),
            broken.digest,
            broken.missing
        )),
    }
}

async fn restore(args: RestoreArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let (store, records) = cleanup::read_journal(&args.journal)?;
    let recorded = |digest: &&Digest| records.iter().any(|record| record.digest == **digest);
    if let Some(unknown) = args.digests.iter().find(|digest| !recorded(digest)) {
        return Err(miette::miette!("{} has no record of {unknown}", args.journal.display()));
    }
    let store = store.parse().into_diagnostic()?;
    let backend = args.access.open(&store, &context.upstream.github_api()).await?;
    let restored = cleanup::restore(&backend, &records, &args.digests).await?;
    context.output.show(&view::RestoreReport(restored))?;
    Ok(CommandOutcome::Done)
}

fn cache(upstream: &UpstreamArgs) -> CleanupCache {
    CleanupCache::new(upstream.cache().join("retention"))
}
