use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use miette::{Result, WrapErr as _};

use super::args::isolation::IsolationArgs;
use super::args::signing::SigningArgs;
use super::args::upstream::UpstreamArgs;
use super::view::boot_test::BootTestReport;
use super::{CommandContext, CommandOutcome};
use crate::io::blocking;
use crate::io::boot_test::{
    self, Distribution, GuestDirectory, GuestFiles, GuestPackages, GuestSources, GuestTest, PackageLocation,
    Qemu, TestResultPublisher,
};
use crate::io::image_rpms::ImageRpms;
use crate::io::progress::{self, ProgressOutput, ProgressSection};
use crate::io::store::ImageStore;
use crate::model::Digest;
use crate::model::boot_test::{AcceleratorMode, BootTest, BootTestLimits, BootVerdict, GuestConfig, Machine};
use crate::model::image::{DigestRef, ImageRef};
use crate::model::packages::PackageGroup;

/// Console lines shown after a failed test.
const TAIL: usize = 30;

/// Boot the kernel of an image in QEMU and use a pool with its modules and tools
///
/// Takes the modules, zpool, zfs and their libraries from the packages of the image, as they are read back from the
/// directory or registry; the kernel from Fedora's kernel-core package; its drivers from kernel-modules-core; and the
/// libraries below, with busybox, from the image in which is built (podman fetches it), or from --root. No file
/// system, network or pool of this machine is touched.
///
/// The guest makes a pool on a disk of its own, writes, scrubs and exports; boots a second time, imports the pool,
/// reads everything back, rolls back and destroys it. The test has passed if every step went well, the kernel is not
/// tainted by more than a foreign module, and the guest powered off both times.
///
/// In a registry, the result is signed and attached to the image, where `promote` looks for it; one that failed, too.
/// If a test is repeated, the newest result counts. Without a signer, nothing is attached.
///
/// Needs qemu-system-x86_64 or qemu-system-aarch64. KVM is used where it works; emulation takes about a minute.
/// aarch64 is untested.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Exit status: 0 if it passed, 3 if it failed, 1 if nothing could be tested (no QEMU, for one).

Examples:
  zfs-kmods boot-test oci:./images
  zfs-kmods boot-test docker://ghcr.io/OWNER/zfs-kmods@sha256:DIGEST --format json
  COSIGN_PASSWORD=… zfs-kmods boot-test docker://ghcr.io/OWNER/zfs-kmods:TAG --key cosign.key
  zfs-kmods boot-test oci:./images --root / --kernel-core kernel-core.rpm --kernel-modules kernel-modules-core.rpm"
)]
pub struct BootTestArgs {
    /// Image: oci:DIR[:TAG|@DIGEST] or docker://host/name[:TAG|@DIGEST]; DIR alone means its only image
    image: ImageRef,

    #[command(flatten)]
    limits: BootTestLimits,

    /// How the guest's instructions are carried out
    #[arg(long, value_enum, default_value_t)]
    accel: AcceleratorMode,

    /// Package kernel-core of the image's kernel [default: looked for upstream]
    #[arg(long, value_name = "FILE|URL")]
    kernel_core: Option<PackageLocation>,

    /// Package kernel-modules-core of the image's kernel [default: looked for upstream]
    #[arg(long, value_name = "FILE|URL")]
    kernel_modules: Option<PackageLocation>,

    /// Take busybox and the distribution's libraries from this root file system, not from the builder image
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Write what the guest says to this file, also when it passes
    #[arg(long, value_name = "FILE")]
    keep_console: Option<PathBuf>,

    #[command(flatten)]
    isolation: IsolationArgs,

    #[command(flatten)]
    signing: SigningArgs,
}

pub async fn run(args: BootTestArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let CommandContext { upstream, config, output, .. } = context;
    let args = BootTestArgs { limits: args.limits.or(&config.boot_test), ..args };
    let publisher = if args.signing.no_sign {
        None
    } else {
        TestResultPublisher::find(&args.image.store, &args.signing.sources()).await?
    };
    let test = test(&args, upstream).await?;
    let attached = match &publisher {
        Some(publisher) => publisher.attach(&test, Timestamp::now()).await,
        None => Ok(Vec::new()),
    };
    // The result is shown even if it cannot be attached.
    let tested = BootTestReport::new(test, attached.as_deref().unwrap_or_default());
    output.show(&tested)?;
    attached.wrap_err("the result cannot be attached to the image (--no-sign leaves that out)")?;
    match tested.test.verdict {
        BootVerdict::Passed => Ok(CommandOutcome::Done),
        BootVerdict::Failed(_) => Ok(CommandOutcome::Refused),
        BootVerdict::NotTested(reason) => Err(miette::miette!(
            help = "install QEMU (`dnf install qemu-system-x86-core`, `apt install qemu-system-x86`), or leave --accel out",
            "nothing was tested: {reason}"
        )),
    }
}

pub async fn test(args: &BootTestArgs, upstream: &UpstreamArgs) -> Result<BootTest> {
    let cache = upstream.cache()?;
    let scratch = boot_test::scratch(&cache)?;
    let (image, published) = published(&args.image, &scratch.path().join("rpms")).await?;
    let target = published.target.clone();
    let nothing_run = |verdict| {
        let (image, target) = (image.clone(), target.clone());
        BootTest { image, target, verdict, guest: None, boots: Vec::new(), console: None }
    };

    if let Err(failure) = published.check_modules() {
        return Ok(nothing_run(BootVerdict::Failed(failure)));
    }
    let Some(qemu) = Qemu::find(target.arch()).await? else {
        let reason = format!("{} is not installed", Machine::program(target.arch()));
        return Ok(nothing_run(BootVerdict::NotTested(reason)));
    };
    let mut section = ProgressSection::begin(ProgressOutput::detect(), format!("Boot test of {target}"));
    let files = assemble(args, upstream, published, scratch.path(), &mut section).await?;

    let log = args.keep_console.clone().unwrap_or_else(|| cache.join("logs").join("boot-test-console.log"));
    let mut guest = GuestDirectory::prepare(scratch.path(), &files, &log)?;
    let test = GuestTest {
        qemu: &qemu,
        target: &target,
        memory: args.limits.memory(),
        limit: args.limits.timeout(),
    };
    let accelerator = match test.accelerator(args.accel, &mut guest, &mut section).await? {
        Ok(accelerator) => accelerator,
        Err(reason) => return Ok(nothing_run(BootVerdict::NotTested(reason))),
    };
    let machine = test.machine(accelerator);
    let boots = test.boots(machine, &mut guest, &mut section).await?;
    drop(section);

    let verdict = BootVerdict::of(&boots);
    let failed = verdict != BootVerdict::Passed;
    let kept = failed || args.keep_console.is_some();
    if failed {
        let (log, end) = (log.display(), guest.last_lines(TAIL));
        progress::print_notice(&format!("the end of the guest's console; all of it is in {log}:\n\n{end}\n"));
    } else if !kept {
        guest.remove_log();
    }
    let guest = GuestConfig {
        accelerator,
        emulator: qemu.version.clone(),
        machine: machine.kind(),
        memory: machine.memory,
        initramfs: Digest::of(&files.initramfs),
        kernel: files.kernel,
        libraries: files.libraries,
    };
    let console = kept.then(|| log.display().to_string());
    Ok(BootTest { image, target, verdict, guest: Some(guest), boots, console })
}

async fn published(name: &ImageRef, directory: &Path) -> Result<(DigestRef, GuestPackages)> {
    let images = ImageStore::open(&name.store).await?;
    let contents = ImageRpms::open(&images, name).await?;
    let rpms = contents.extract(&BTreeSet::from([PackageGroup::Main]), directory, false).await?;
    let files: Vec<_> = rpms.into_iter().map(|placed| placed.file).collect();
    let published = blocking::run(move |_| GuestPackages::read(&files)).await?;
    Ok((contents.image().clone(), published))
}

async fn assemble(
    args: &BootTestArgs,
    upstream: &UpstreamArgs,
    published: GuestPackages,
    scratch: &Path,
    section: &mut ProgressSection,
) -> Result<GuestFiles> {
    let log = upstream.cache()?.join("logs").join("boot-test-podman.log");
    let (builders, packages) = (upstream.builder_policy(), upstream.kernel_packages()?);
    let upstream = upstream.connect()?;
    let distribution = match &args.root {
        Some(root) => Distribution::Root(root.clone()),
        None => Distribution::of(&args.image, &upstream, &published.target, &builders).await?,
    };
    let sources = GuestSources {
        upstream: &upstream,
        core: args.kernel_core.as_ref().unwrap_or(&PackageLocation::Upstream),
        modules: args.kernel_modules.as_ref().unwrap_or(&PackageLocation::Upstream),
        distribution: &distribution,
        scratch,
        log: &log,
        isolation: args.isolation.isolation(),
        packages: &packages,
    };
    Ok(boot_test::assemble(published, sources, section).await?)
}
