use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use miette::{IntoDiagnostic as _, Result, WrapErr as _};

use super::args::upstream::{self, UpstreamArgs};
use super::view::cleanup::{self as view, CleanupReport};
use super::{CommandContext, CommandOutcome, UsageError};
use crate::io::cleanup::{
    self, CleanupCache, Journal, PreparedCleanup, RetentionBackend, RetentionError, StoreAccess,
};
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
    /// Store to clean up: docker://host/name or oci:DIR
    #[arg(value_name = "STORE", conflicts_with = "apply")]
    store: Option<ImageLocation>,

    #[command(flatten)]
    limits: RetentionLimits,

    /// Delete although --minimum or --max-delete forbids it
    #[arg(long, alias = "yes-really")]
    override_limits: bool,

    /// Delete nothing: show what would be done
    #[arg(long, env = "ZFS_KMODS_DRY_RUN")]
    dry_run: bool,

    /// Write the plan to this file, as JSON
    #[arg(long, value_name = "FILE", conflicts_with = "apply")]
    plan: Option<PathBuf>,

    /// Carry out the plan in this file, as far as it still holds; limits given here apply as well
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
    match args.command {
        Some(CleanupCommand::Restore(args)) => restore(args, context).await,
        None => match clean(&args.clean, context, Timestamp::now()).await {
            // A dry run has nothing to show then, and fails.
            Err(report) if !args.clean.dry_run && is_limit(&report) => {
                summary(&format!("Nothing was deleted: {report}. Run it again to go on."));
                Ok(CommandOutcome::Done)
            }
            outcome => outcome,
        },
    }
}

fn is_limit(report: &miette::Report) -> bool {
    report.downcast_ref::<RetentionError>().is_some_and(RetentionError::is_limit)
}

async fn clean(args: &CleanArgs, context: &CommandContext, now: Timestamp) -> Result<CommandOutcome> {
    let CommandContext { upstream, config, output, .. } = context;
    if let Some(file) = &args.apply {
        let plan = cleanup::read_plan(file)?;
        let store: ImageLocation = plan.store.parse().into_diagnostic()?;
        let backend = args.access.open(&store, &upstream.github_api()).await?;
        return carry_out(&backend, plan, args, context, now).await;
    }
    let Some(store) = args.store.clone().or_else(|| config.repository.clone()) else {
        let help = "give <STORE>, docker://HOST/NAME or oci:DIR, or `repository` in zfs-kmods.toml";
        return Err(UsageError::new("no store to clean up is named", help).into());
    };
    let backend = args.access.open(&store, &upstream.github_api()).await?;
    let plan = decide(&store, &backend, args, context, now).await?;
    if let Some(file) = &args.plan {
        cleanup::write_plan(file, &plan)?;
    }
    if args.dry_run {
        output.show(&plan)?;
        summary(&view::dry(&plan, plan.deletions().len(), Some(plan.freed_bytes), &plan.rejections()));
        return Ok(CommandOutcome::Done);
    }
    carry_out(&backend, plan, args, context, now).await
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
    let inventory = backend.gather(&cache(upstream)?, now).await?;
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
    if let Some(refused) = refuse(&plan.rejections(), args) {
        output.show(&plan)?;
        return Ok(refused);
    }
    if plan.deletions().is_empty() {
        if !args.dry_run {
            backend.collect_garbage(&HashSet::new(), now)?;
        }
        output.show(&plan)?;
        summary(&format!("Nothing was deleted: all {} manifests are kept.", plan.kept().len()));
        return Ok(CommandOutcome::Done);
    }
    let (cache, policy) = (cache(upstream)?, args.limits.restrict(&plan.policy));
    let prepared = PreparedCleanup::new(backend, &cache, &plan, &policy, now).await?;
    if let Some(refused) = refuse(&prepared.rejections(), args) {
        output.show(prepared.fresh())?;
        return Ok(refused);
    }
    if args.dry_run {
        output.show(prepared.fresh())?;
        summary(&view::dry(prepared.fresh(), prepared.deletions().len(), None, &[]));
        return Ok(CommandOutcome::Done);
    }
    let path = match &args.journal {
        Some(path) => path.clone(),
        None => {
            upstream.cache()?.join("journals").join(format!("{}.jsonl", now.strftime("%Y-%m-%dT%H%M%S%.6fZ")))
        }
    };
    let mut journal = Journal::begin(&path, &plan.store, now)?;
    progress::print_notice(&format!("deletion journal: {}", path.display()));
    let mut interruption = OnInterruption { journal: Some(&path) };
    let run = prepared.run(&mut journal, now, &progress::print_notice).await;
    interruption.journal = None;
    drop(prepared);
    let (schema, requests) = (DocumentSchema::new("cleanup-report", 1), backend.cost());
    let (result, integrity) = (run.result, run.integrity);
    let report = CleanupReport { schema, plan, result, integrity, requests, journal: path.clone() };
    output.show(&report)?;
    summary(&report.sentence());
    match (report.integrity.broken.first(), run.error) {
        (None, None) => Ok(CommandOutcome::Done),
        (None, Some(error)) => Err(error.into()),
        (Some(broken), _) => Err(miette::miette!(
            help = "restore with `zfs-kmods cleanup restore JOURNAL`, and find out what else deletes from this store",
            "{} of the kept manifests are broken, the first: {} lacks {}",
            report.integrity.broken.len(),
            broken.digest,
            broken.missing
        )),
    }
}

/// Names the journal if the run is interrupted: the program drops the future of the command.
struct OnInterruption<'a> {
    journal: Option<&'a Path>,
}

impl Drop for OnInterruption<'_> {
    fn drop(&mut self) {
        if let Some(journal) = self.journal {
            progress::print_notice(&format!(
                "The clean-up was interrupted. To restore what it deleted: zfs-kmods cleanup restore {}",
                journal.display()
            ));
        }
    }
}

/// Says why nothing is deleted, unless the first rejection is overridden.
fn refuse(rejections: &[PlanRejection], args: &CleanArgs) -> Option<CommandOutcome> {
    let overruled = |rejection: &&PlanRejection| args.override_limits && rejection.can_be_overridden();
    let rejection = rejections.iter().find(|rejection| !overruled(rejection))?;
    let hint = if rejection.can_be_overridden() { "; --override-limits allows this" } else { "" };
    summary(&format!("Nothing was deleted: {rejection}{hint}."));
    Some(CommandOutcome::Refused)
}

async fn restore(args: RestoreArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let (store, records) = cleanup::read_journal(&args.journal)?;
    let recorded = |digest: &&Digest| records.iter().any(|record| record.digest == **digest);
    if let Some(unknown) = args.digests.iter().find(|digest| !recorded(digest)) {
        return Err(miette::miette!("{} has no record of {unknown}", args.journal.display()));
    }
    let store = store.parse().into_diagnostic()?;
    let backend = args.access.open(&store, &context.upstream.github_api()).await?;
    cache(&context.upstream)?.forget_interruption(&backend.name());
    let restored = cleanup::restore(&backend, &records, &args.digests).await?;
    let (failed, of) = (restored.iter().filter(|one| one.error.is_some()).count(), restored.len());
    context.output.show(&view::RestoreReport(restored))?;
    if failed == 0 {
        return Ok(CommandOutcome::Done);
    }
    Err(miette::miette!(
        help = "the others are restored; publish the images again that cannot be restored",
        "{failed} of {of} manifests could not be restored"
    ))
}

fn cache(upstream: &UpstreamArgs) -> Result<CleanupCache> {
    Ok(CleanupCache::new(upstream.cache()?.join("retention")))
}
