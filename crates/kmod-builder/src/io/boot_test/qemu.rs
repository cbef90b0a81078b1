//! QEMU, which runs the guest of a boot test.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use kmod_compat::Arch;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::io::cmd::{Cmd, CmdError, Line};
use crate::model::boot_test::{
    BootReport, ConsoleParser, DISK, DISK_SIZE, INITRAMFS, KERNEL, Machine, QemuExit, StepReport,
    partition_table,
};

/// How long a guest that has failed may go on, so that all it has to say about that can be kept.
const GRACE: Duration = Duration::from_secs(5);
/// The most that is kept of what the guest and the emulator write, in bytes.
const LARGEST_LOG: usize = 16 << 20;

#[derive(Clone, Debug)]
pub struct Qemu {
    program: String,
    pub version: String,
}

/// The files of a guest, and the disk that outlives a boot.
#[derive(Debug)]
pub struct GuestDirectory<'a> {
    directory: &'a Path,
    log: File,
    logged: usize,
}

impl Qemu {
    /// The emulator for an architecture; `None` if there is none on this machine.
    pub async fn find(arch: Arch) -> Result<Option<Self>, CmdError> {
        let program = Machine::program(arch);
        match Cmd::new(&program).arg("--version").read().await {
            Ok(text) => {
                let version = text.lines().next().unwrap_or_default().to_owned();
                Ok(Some(Self { program, version }))
            }
            Err(CmdError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Boots the guest once and holds its console against what must come.
    ///
    /// It ends when the guest powers off, shortly after it has failed, or when the time is over; dropping the future
    /// ends it at once.
    pub async fn boot(
        &self,
        machine: Machine,
        console: ConsoleParser,
        limit: Duration,
        guest: &mut GuestDirectory<'_>,
        mut on_step: impl FnMut(&StepReport),
    ) -> Result<BootReport, CmdError> {
        let boot = console.boot();
        let cmd =
            Cmd::new(&self.program).args(machine.arguments(boot, console.run())).directory(guest.directory);
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
    /// Writes the files of a guest into a directory; what it and the emulator say goes to the log.
    pub fn prepare(
        directory: &'a Path,
        vmlinuz: &[u8],
        initramfs: &[u8],
        log: &Path,
    ) -> std::io::Result<Self> {
        fs::write(directory.join(KERNEL), vmlinuz)?;
        fs::write(directory.join(INITRAMFS), initramfs)?;
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder)?;
        }
        let guest = Self { directory, log: File::create(log)?, logged: 0 };
        guest.new_disk()?;
        Ok(guest)
    }

    pub fn new_disk(&self) -> std::io::Result<()> {
        let mut disk = File::create(self.directory.join(DISK))?;
        disk.write_all(&partition_table())?;
        disk.set_len(DISK_SIZE)
    }

    fn say(&mut self, text: &str) {
        // A full disk is no reason to fail a test that needs none of this, and a guest that talks without end is
        // ended by the clock.
        if self.logged < LARGEST_LOG {
            self.logged += text.len() + 1;
            // Whoever shows the log shows it on a terminal, which must not take orders from a guest.
            let plain: String =
                text.chars().filter(|letter| !letter.is_control() || *letter == '\t').collect();
            writeln!(self.log, "{plain}").ok();
        }
    }
}

/// Whether this machine has the device of KVM and is of the guest's architecture; whether it works, only trying tells.
pub fn may_have_kvm(arch: Arch) -> bool {
    arch.rpm() == std::env::consts::ARCH && Path::new("/dev/kvm").exists()
}
