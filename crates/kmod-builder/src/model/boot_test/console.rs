//! Reads the guest's serial console line by line and compares it with the expected steps.
//!
//! `init.sh` prints one line for each step between the kernel's messages:
//!
//! ```text
//! zfs-kmods-boot-test 1 RUN BOOT STEP ok|failed DETAIL
//! ```
//!
//! 1 is the format version. RUN is new for each run, so that echoed or old lines are not accepted. DETAIL is
//! printable ASCII up to the end of the line.

#[cfg(test)]
mod tests;

use std::time::Duration;

use kmod_compat::{KernelRelease, ZfsVersion};
use serde::Serialize;

use super::{Boot, BootFailure, BootStep, Taints};
use crate::model::document;

const MARK: &str = "zfs-kmods-boot-test";
const FORM: &str = "1";
/// The kernel's last message before it powers off (`kernel_power_off` in `kernel/reboot.c`), shown at every log
/// level.
const POWER_OFF: &str = "reboot: Power down";
/// Kernel: `lib/bug.c`, `arch/*/kernel/traps.c`, `arch/*/mm/fault.c`.
const OOPSES: [&str; 8] = [
    "kernel BUG at ",
    "Oops: ",
    "BUG: ",
    "Unable to handle kernel ",
    "Internal error: ",
    "general protection fault",
    "invalid opcode: ",
    "divide error: ",
];
/// What these lines of the kernel's log mean; the first match counts. OpenZFS: `module/os/linux/spl/spl-err.c`, kernel:
/// `kernel/panic.c`.
const KERNEL_FAULTS: [(&[&str], &str); 3] = [
    (&["PANIC at "], "an assertion of OpenZFS failed"),
    (&["Kernel panic - not syncing"], "the kernel panicked"),
    (&OOPSES, "the kernel oopsed"),
];
/// Kernel: `kernel/module/version.c`, `kernel/module/main.c`.
const OTHER_KERNEL: [&str; 2] = ["version magic '", "disagrees about version of symbol "];
const UNKNOWN_SYMBOL: &str = "Unknown symbol ";
const UNKNOWN: &str = "uses a symbol that this kernel does not export";
/// Printed by `insmod`.
const REFUSED: &str = "invalid module format";
const LONGEST: usize = 300;
/// In bytes. Longer lines are not the guest's.
const LONGEST_LINE: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedConsole {
    pub run: String,
    pub kernel: KernelRelease,
    pub zfs: ZfsVersion,
    /// The digest of the files that the first boot wrote; set for the second boot.
    pub written: Option<String>,
    /// In seconds, for messages.
    pub limit: u64,
}

#[derive(Clone, Debug)]
pub struct ConsoleParser {
    pub boot: Boot,
    pub expected: ExpectedConsole,
    steps: Vec<StepReport>,
    written: Option<String>,
    failure: Option<BootFailure>,
    /// The first kernel error, which explains every later failure.
    kernel_fault: Option<BootFailure>,
    /// Why the kernel rejected a module, and its message.
    load_rejection: Option<(&'static str, String)>,
    spoke: bool,
    saw_power_off: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepReport {
    #[serde(flatten, serialize_with = "step")]
    pub step: BootStep,
    pub passed: bool,
    pub detail: String,
    /// Time since the start of the boot.
    #[serde(rename = "elapsed_seconds", serialize_with = "document::seconds")]
    pub at: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootReport {
    pub boot: Boot,
    pub steps: Vec<StepReport>,
    /// `None` only if every step passed and the guest then powered off.
    pub failure: Option<BootFailure>,
    /// The digest of the files that the guest wrote.
    #[serde(skip)]
    pub written: Option<String>,
    #[serde(rename = "duration_seconds", serialize_with = "document::seconds")]
    pub time: Duration,
}

/// Serializes the step's id and text.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn step<S: serde::Serializer>(step: &BootStep, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::json!({ "id": step.as_str(), "step": step.doing() }).serialize(serializer)
}

impl BootReport {
    /// The step that was running when the boot failed; it has no result of its own.
    pub fn unfinished(&self) -> Option<&'static str> {
        let next = self.boot.steps().get(self.steps.len()).map_or("power off", |step| step.as_str());
        (self.failure.is_some() && self.steps.iter().all(|step| step.passed)).then_some(next)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QemuExit {
    Exited { success: bool, words: String },
    Stopped,
    TimeUp,
}

impl ConsoleParser {
    pub fn new(boot: Boot, expected: ExpectedConsole) -> Self {
        Self {
            boot,
            expected,
            steps: Vec::new(),
            written: None,
            failure: None,
            kernel_fault: None,
            load_rejection: None,
            spoke: false,
            saw_power_off: false,
        }
    }

    /// `line` has no line end; `at` is the time since the start of the boot.
    pub fn line(&mut self, line: &str, at: Duration) {
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        self.spoke = true;
        if line.contains(MARK) {
            if self.failure.is_none() {
                self.failure = self.guest(line, at).err();
            }
        } else {
            self.kernel(line);
        }
    }

    /// Whether the boot has already failed.
    pub const fn is_decided(&self) -> bool {
        self.failure.is_some() || self.kernel_fault.is_some()
    }

    pub fn last(&self) -> Option<&StepReport> {
        self.steps.last()
    }

    pub fn finish(self, ending: QemuExit, time: Duration) -> BootReport {
        let next = self.next();
        let failure = self.kernel_fault.or(self.failure).or(match (next, ending) {
            (_, QemuExit::Exited { success: false, words }) => Some(BootFailure::Emulator(words)),
            (_, QemuExit::TimeUp) if !self.spoke => Some(BootFailure::NeverSpoke(self.expected.limit)),
            (Some(step), QemuExit::TimeUp) => {
                Some(BootFailure::TimeUp { seconds: self.expected.limit, step })
            }
            (Some(step), QemuExit::Exited { .. } | QemuExit::Stopped) => Some(BootFailure::Ended { step }),
            (None, QemuExit::Exited { success: true, .. }) if self.saw_power_off => None,
            (None, _) => Some(BootFailure::StayedOn),
        });
        BootReport { boot: self.boot, steps: self.steps, failure, written: self.written, time }
    }

    fn next(&self) -> Option<BootStep> {
        self.boot.steps().get(self.steps.len()).copied()
    }

    fn guest(&mut self, line: &str, at: Duration) -> Result<(), BootFailure> {
        let bad_line = |fault| BootFailure::ConsoleLine { fault, line: shorten(line) };
        let said = StatusLine::parse(line).ok_or_else(|| bad_line("cannot parse a console line"))?;
        if said.run != self.expected.run || said.boot != self.boot.number().to_string() {
            return Err(bad_line("a console line belongs to another run"));
        }
        let expected = self.next();
        let step = match (BootStep::from_id(said.step), expected) {
            // No step may follow the power-off line.
            (Some(found), Some(next)) if found == next && !self.saw_power_off => next,
            _ => return Err(BootFailure::OutOfOrder { expected, found: said.step.to_owned() }),
        };
        let outcome =
            if said.ok { self.check_detail(step, said.detail) } else { Err(self.failure(step, said.detail)) };
        self.steps.push(StepReport { step, passed: outcome.is_ok(), detail: said.detail.to_owned(), at });
        outcome
    }

    fn check_detail(&mut self, step: BootStep, detail: &str) -> Result<(), BootFailure> {
        let kernel = self.expected.kernel.to_string();
        let zfs = self.expected.zfs.to_string();
        let found = || detail.to_owned();
        match step {
            BootStep::Start if detail != kernel => Err(BootFailure::Wrong {
                what: "the guest runs the kernel",
                expected: kernel,
                found: found(),
            }),
            // Version and release of the package: `2.4.3-1`.
            BootStep::Zfs if detail.split('-').next() != Some(&zfs) => {
                Err(BootFailure::Wrong { what: "zfs.ko reports the version", expected: zfs, found: found() })
            }
            BootStep::Write | BootStep::Read | BootStep::Change | BootStep::Rollback => {
                self.check_digest(step, detail)
            }
            BootStep::Taint => match Taints::parse(detail).map(Taints::unexpected) {
                Some(None) => Ok(()),
                Some(Some(taints)) => Err(BootFailure::Taint(taints)),
                None => Err(BootFailure::BootStep { step, words: found() }),
            },
            _ => Ok(()),
        }
    }

    fn check_digest(&mut self, step: BootStep, detail: &str) -> Result<(), BootFailure> {
        let is_digest = detail.len() == 64 && detail.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_digest {
            return Err(BootFailure::NoDigest { step, words: detail.to_owned() });
        }
        if step == BootStep::Write {
            self.written = Some(detail.to_owned());
            return Ok(());
        }
        // Without a first boot there is no digest to compare with, so every digest is wrong.
        let expected = self.expected.written.clone().unwrap_or_default();
        let what = match (step, expected == detail) {
            (BootStep::Change, true) => return Err(BootFailure::Unchanged),
            (BootStep::Change, false) | (_, true) => return Ok(()),
            (BootStep::Read, false) => "after the reboot the files have the digest",
            (_, false) => "after the rollback the files have the digest",
        };
        Err(BootFailure::Wrong { what, expected, found: detail.to_owned() })
    }

    fn failure(&self, step: BootStep, detail: &str) -> BootFailure {
        let words = detail.trim().to_owned();
        let module = if step == BootStep::Drivers { "a driver".to_owned() } else { step.to_string() };
        let is_refused = || words.to_ascii_lowercase().contains(REFUSED);
        let rejection = match (step, &self.load_rejection) {
            (BootStep::Drivers | BootStep::Spl | BootStep::Zfs, Some(rejection)) => Some(rejection.clone()),
            (BootStep::Spl | BootStep::Zfs, None) if is_refused() => {
                Some((BootFailure::OTHER_KERNEL, words.clone()))
            }
            _ => None,
        };
        match rejection {
            Some((fault, reason)) => BootFailure::Module { module, fault, reason },
            None if step == BootStep::Import => {
                BootFailure::Lost(if words.is_empty() { "no reason given".into() } else { words })
            }
            None => BootFailure::BootStep { step, words },
        }
    }

    fn kernel(&mut self, line: &str) {
        let words = || shorten(without_time(line));
        if line.contains(POWER_OFF) {
            self.saw_power_off = true;
        }
        if OTHER_KERNEL.iter().any(|sign| line.contains(sign)) {
            self.load_rejection = Some((BootFailure::OTHER_KERNEL, words()));
        } else if line.contains(UNKNOWN_SYMBOL) && self.load_rejection.is_none() {
            self.load_rejection = Some((UNKNOWN, words()));
        }
        let fault = KERNEL_FAULTS.iter().find(|(signs, _)| signs.iter().any(|sign| line.contains(sign)));
        if let (Some((_, fault)), None) = (fault, &self.kernel_fault) {
            self.kernel_fault = Some(BootFailure::Kernel { fault, step: self.next(), words: words() });
        }
    }
}

struct StatusLine<'a> {
    run: &'a str,
    boot: &'a str,
    step: &'a str,
    ok: bool,
    detail: &'a str,
}

impl<'a> StatusLine<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        if line.len() > LONGEST_LINE || !line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return None;
        }
        let mut words = line.splitn(7, ' ');
        let (mark, form) = (words.next()?, words.next()?);
        let (run, boot, step) = (words.next()?, words.next()?, words.next()?);
        let ok = match words.next()? {
            "ok" => true,
            "failed" => false,
            _ => return None,
        };
        let detail = words.next().unwrap_or_default();
        // A second mark means that two lines were joined.
        let is_whole = mark == MARK && form == FORM && !detail.contains(MARK);
        is_whole.then_some(Self { run, boot, step, ok, detail })
    }
}

/// Removes the time stamp at the beginning of a kernel message: `[    2.345678] `.
fn without_time(line: &str) -> &str {
    let rest = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    rest.filter(|(time, _)| time.trim().parse::<f64>().is_ok()).map_or(line, |(_, rest)| rest).trim()
}

fn shorten(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(LONGEST).collect()
}
