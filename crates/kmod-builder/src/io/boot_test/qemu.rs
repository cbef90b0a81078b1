//! Runs the guest of a boot test in QEMU.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use kmod_compat::Arch;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::{GuestError, GuestFiles};
use crate::io::cmd::{Cmd, CmdError, Line};
use crate::io::progress;
use crate::model::boot_test::{
    BootReport, ConsoleParser, DISK, DISK_SIZE, INITRAMFS, KERNEL, Machine, QemuExit, SANDBOX, StepReport,
    partition_table,
};

/// How long a failed guest keeps running, so that its last messages are captured.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes kept of the output of guest and emulator.
const LARGEST_LOG: usize = 16 << 20;

#[derive(Clone, Debug)]
pub struct Qemu {
    program: String,
    pub version: String,
    /// Whether this build of QEMU supports seccomp.
    sandboxed: bool,
}

/// The guest's files, and the disk that persists across boots.
#[derive(Debug)]
pub struct GuestDirectory<'a> {
    directory: &'a Path,
    log_path: &'a Path,
    log: File,
    logged: usize,
}

impl Qemu {
    /// `None` if no emulator for the architecture is installed.
    pub async fn find(arch: Arch) -> Result<Option<Self>, CmdError> {
        let program = Machine::program(arch);
        match Cmd::new(&program).arg("--version").read().await {
            Ok(text) => {
                let version = text.lines().next().unwrap_or_default().to_owned();
                let sandboxed = Self::supports_sandbox(&program).await?;
                Ok(Some(Self { program, version, sandboxed }))
            }
            Err(CmdError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn supports_sandbox(program: &str) -> Result<bool, CmdError> {
        match Cmd::new(program).args(SANDBOX).args(["-machine", "help"]).read().await {
            Ok(_) => Ok(true),
            Err(CmdError::Failed { .. }) => {
                progress::print_notice(
                    "this QEMU is built without seccomp, so the guest runs without `-sandbox`",
                );
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Boots the guest once and compares its console with the expected steps.
    ///
    /// Ends when the guest powers off, shortly after a failure, or at the timeout. Dropping the future kills the guest.
    pub async fn boot(
        &self,
        machine: Machine,
        console: ConsoleParser,
        limit: Duration,
        guest: &mut GuestDirectory<'_>,
        mut on_step: impl FnMut(&StepReport),
    ) -> Result<BootReport, CmdError> {
        let boot = console.boot;
        let arguments = machine.arguments(boot, &console.expected.run);
        let sandbox = SANDBOX.iter().filter(|_| self.sandboxed);
        let cmd = Cmd::new(&self.program).args(sandbox).args(arguments).directory(guest.directory);
        guest.say(&format!("=== boot {}: {cmd}", boot.number()));
        let started = Instant::now();
        let console = RefCell::new(console);
        let decided = Notify::new();
        let running = cmd.stream(|line| {
            guest.say(line.text());
            let Line::Out(text) = line else { return };
            let mut console = console.borrow_mut();
            let steps = console.last().map(|report| report.step);
            console.line(text, started.elapsed());
            if let Some(report) = console.last().filter(|report| Some(report.step) != steps) {
                on_step(report);
            }
            if console.is_decided() {
                decided.notify_one();
            }
        });
        let ending = tokio::select! {
            finished = running => {
                let finished = finished?;
                let status = finished.status;
                let words = if finished.tail.is_empty() { status.to_string() } else { finished.tail };
                QemuExit::Exited { success: status.success(), words }
            }
            () = async { decided.notified().await; sleep(GRACE).await; } => QemuExit::Stopped,
            () = sleep(limit) => QemuExit::TimeUp,
        };
        Ok(console.into_inner().finish(ending, started.elapsed()))
    }
}

impl<'a> GuestDirectory<'a> {
    /// Writes the guest's files into a directory; guest and emulator output goes to the log.
    pub fn prepare(directory: &'a Path, files: &GuestFiles, log_path: &'a Path) -> Result<Self, GuestError> {
        let write = || {
            fs::write(directory.join(KERNEL), &files.vmlinuz)?;
            fs::write(directory.join(INITRAMFS), &files.initramfs)?;
            if let Some(folder) = log_path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut disk = File::create(directory.join(DISK))?;
            disk.write_all(&partition_table())?;
            disk.set_len(DISK_SIZE)?;
            File::create(log_path)
        };
        let log = write().map_err(|error| GuestError::Io { path: directory.to_owned(), error })?;
        Ok(Self { directory, log_path, log, logged: 0 })
    }

    /// The last lines of the log that are not blank.
    pub fn last_lines(&self, count: usize) -> String {
        let bytes = fs::read(self.log_path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    pub fn remove_log(self) {
        fs::remove_file(self.log_path).ok();
    }

    fn say(&mut self, text: &str) {
        // A full disk does not fail the test, and the timeout ends a guest that never stops writing.
        if self.logged < LARGEST_LOG {
            self.logged += text.len() + 1;
            // The log is shown on a terminal, which must not interpret control characters of a guest.
            let plain: String =
                text.chars().filter(|letter| !letter.is_control() || *letter == '\t').collect();
            writeln!(self.log, "{plain}").ok();
        }
    }
}

/// True if the KVM device exists and the guest has this machine's architecture. Only booting shows whether it works.
pub(super) fn may_have_kvm(arch: Arch) -> bool {
    arch.rpm() == std::env::consts::ARCH && Path::new("/dev/kvm").exists()
}
