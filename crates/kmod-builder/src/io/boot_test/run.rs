use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::qemu::{self, GuestDirectory, Qemu};
use crate::io::cmd::CmdError;
use crate::io::progress::ProgressSection;
use crate::model::Target;
use crate::model::boot_test::{
    Accelerator, AcceleratorMode, Boot, BootReport, ConsoleParser, ExpectedConsole, Machine,
};

/// Maximum time for a working KVM guest to boot and power off.
const PROBE: Duration = Duration::from_secs(8);

#[derive(Clone, Copy, Debug)]
pub struct GuestTest<'a> {
    pub qemu: &'a Qemu,
    pub target: &'a Target,
    /// In MiB.
    pub memory: u32,
    /// For both boots together.
    pub limit: Duration,
}

impl GuestTest<'_> {
    pub fn machine(&self, accelerator: Accelerator) -> Machine {
        Machine { arch: self.target.arch(), accelerator, memory: self.memory }
    }

    /// The inner error states why no permitted accelerator is available.
    pub async fn accelerator(
        &self,
        mode: AcceleratorMode,
        guest: &mut GuestDirectory<'_>,
        section: &mut ProgressSection,
    ) -> Result<Result<Accelerator, String>, CmdError> {
        if mode == AcceleratorMode::Tcg {
            return Ok(Ok(Accelerator::Tcg));
        }
        let reason = if qemu::may_have_kvm(self.target.arch()) {
            // The device can exist without working; only booting a guest shows that.
            let machine = self.machine(Accelerator::Kvm);
            let probe = self.boot(machine, Boot::Probe, None, PROBE, guest, section).await?;
            let Some(failure) = probe.failure else { return Ok(Ok(Accelerator::Kvm)) };
            // Only the first line of the emulator's output states the reason.
            let failure = failure.to_string();
            format!("KVM does not work here: {}", failure.lines().next().unwrap_or_default().trim())
        } else {
            "this machine has no /dev/kvm for this architecture".to_owned()
        };
        if mode == AcceleratorMode::Kvm {
            return Ok(Err(reason));
        }
        section.line(&format!("{reason}; emulating"));
        Ok(Ok(Accelerator::Tcg))
    }

    /// Stops after the first boot that fails.
    pub async fn boots(
        &self,
        machine: Machine,
        guest: &mut GuestDirectory<'_>,
        section: &mut ProgressSection,
    ) -> Result<Vec<BootReport>, CmdError> {
        let end = Instant::now() + self.limit;
        let mut boots: Vec<BootReport> = Vec::new();
        for boot in [Boot::First, Boot::Second] {
            section.part(&format!("boot {}", boot.number()));
            let written = boots.last().and_then(|report| report.written.clone());
            let left = end.saturating_duration_since(Instant::now());
            let report = self.boot(machine, boot, written, left, guest, section).await?;
            let failed = report.failure.is_some();
            boots.push(report);
            if failed {
                break;
            }
        }
        Ok(boots)
    }

    async fn boot(
        &self,
        machine: Machine,
        boot: Boot,
        written: Option<String>,
        limit: Duration,
        guest: &mut GuestDirectory<'_>,
        section: &ProgressSection,
    ) -> Result<BootReport, CmdError> {
        // Differs between runs; not a secret.
        let run = format!("{:016x}", RandomState::new().hash_one(boot.number()));
        let Target { zfs, kernel } = self.target.clone();
        let seconds = if boot == Boot::Probe { limit } else { self.limit }.as_secs();
        let expected = ExpectedConsole { run, kernel, zfs, written, limit: seconds };
        let console = ConsoleParser::new(boot, expected);
        let report = self.qemu.boot(machine, console, limit, guest, |report| {
            let result = if report.passed { "ok" } else { "FAILED" };
            section.line(&format!("boot {}: {}: {result}", boot.number(), report.step.doing()));
        });
        report.await
    }
}
