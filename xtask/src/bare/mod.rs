//! `cargo xtask bare`: runs commands of this repository as on a new machine. In a Debian root made by debootstrap there
//! are a C compiler, a Rust toolchain (read-only), an empty home, empty caches and a clean checkout of `HEAD`.
//!
//! The root's mounts and processes live in namespaces whose first process is killed with this one, so none outlives
//! the run. The network is this machine's, so the lab's directory is locked against a second lab on the same ports.

mod machine;
mod record;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};
use std::{fs, thread};

use tokio::signal::unix::{Signal, SignalKind, signal};
use xshell::{Shell, cmd};

use crate::error::{NeedsRoot, Result};
use crate::report::Report;
use crate::{lab, terminal, tools};
use record::BareRun;

const SUITE: &str = "bookworm";
/// What Rust itself needs: certificates for cargo, and a linker.
const PACKAGES: &str = "ca-certificates,gcc,libc6-dev";
const MAKE_ROOT: &str = include_str!("make-root.sh");
const ENTER: &str = include_str!("enter.sh");
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/rust/bin";
const TOOLS: [tools::Tool; 4] =
    [("debootstrap", "debootstrap"), ("unshare", "util-linux"), ("setpriv", "util-linux"), ("git", "git")];

pub(crate) fn run(arguments: &[&str]) -> Result {
    let flags = arguments.iter().take_while(|argument| argument.starts_with("--")).count();
    let (flags, command) = arguments.split_at(flags);
    if let Some(unknown) = flags.iter().find(|flag| !["--keep", "--record"].contains(flag)) {
        return Err(format!("bare: unknown option {unknown}; the options are --keep and --record").into());
    }
    if !tools::is_root() {
        return Err(NeedsRoot { command: format!("cargo xtask bare {}", arguments.join(" ")) }.into());
    }
    tools::need(&TOOLS)?;
    let commands: Vec<Vec<&str>> =
        if command.is_empty() { vec![vec!["lab"], vec!["test"]] } else { vec![command.to_vec()] };
    let cache = lab::LabCache::open()?;
    let work = cache.scratch()?;
    let root = work.path().join("root");
    fs::create_dir(&root)?;
    let mut machine = Namespaces::new()?;
    let mut report = Report::new("bare");
    let mut runs = Vec::new();
    let made = report.step("root", || make(&mut machine, &root));
    for command in commands.into_iter().filter(|_| made) {
        if machine.interrupted {
            break;
        }
        let name = format!("cargo xtask {}", command.join(" "));
        let (started, begun) = (jiff::Timestamp::now(), Instant::now());
        let passed = report.step(&name, || enter(&mut machine, &root, &command));
        runs.push(BareRun {
            command: name,
            started: started.strftime("%Y-%m-%d %H:%M").to_string(),
            commit: commit()?,
            passed,
            time: tools::duration(begun.elapsed()),
            machine: in_words(),
        });
    }
    if flags.contains(&"--keep") {
        let kept = cache.kept_root();
        let _ = fs::remove_dir_all(&kept);
        fs::rename(&root, &kept)?;
        terminal::print_notice(format_args!("bare: the root stays in {}", kept.display()));
    }
    remove(work.path())?;
    if !machine.interrupted && flags.contains(&"--record") {
        record::write(&runs)?;
    }
    for run in &runs {
        terminal::print_data(run.row());
    }
    report.end()
}

/// Debian's packages, this machine's configuration, and the checkout.
fn make(machine: &mut Namespaces, root: &Path) -> Result<String> {
    let mirror = lab::mirror()?;
    let mut make = namespaced(MAKE_ROOT);
    make.arg(root).args([SUITE, &mirror, PACKAGES]);
    let log = root.with_file_name("debootstrap.log");
    let file = fs::File::create(&log)?;
    make.stdout(file.try_clone()?).stderr(file);
    if !machine.run(make)?.success() {
        let text = fs::read_to_string(&log)?;
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join(" | ");
        return Err(format!("debootstrap failed: {last}").into());
    }
    machine::configure(root)?;
    let shell = Shell::new()?;
    let (from, to) = (tools::workspace(), root.join("root/zfs-kmods"));
    cmd!(shell, "git clone --quiet --no-hardlinks {from} {to}").quiet().run()?;
    let changed = cmd!(shell, "git -C {from} status --porcelain").quiet().read()?;
    Ok(if changed.is_empty() { commit()? } else { format!("{}, without uncommitted changes", commit()?) })
}

fn enter(machine: &mut Namespaces, root: &Path, command: &[&str]) -> Result<String> {
    let mut enter = namespaced(ENTER);
    enter.arg(root).arg(toolchain()?).args(["cargo", "xtask"]).args(command);
    enter.env_clear().envs(machine::environment());
    enter.envs([("HOME", "/root"), ("PATH", PATH), ("LANG", "C.UTF-8"), ("USER", "root")]);
    let status = machine.run(enter)?;
    if status.success() { Ok(String::new()) } else { Err(format!("{status}").into()) }
}

/// A shell script as process 1 of namespaces, killed when this process ends.
fn namespaced(script: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--propagation", "private"]);
    command.args(["--pid", "--fork", "--kill-child", "sh", "-c", script, "bare"]);
    command
}

/// Runs commands until they end or this process is asked to end.
struct Namespaces {
    runtime: tokio::runtime::Runtime,
    signals: [Signal; 3],
    interrupted: bool,
}

impl Namespaces {
    fn new() -> Result<Self> {
        // One thread: the kernel ties `--pdeathsig` to the thread that started the process.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let guard = runtime.enter();
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        let signals = [interrupt?, terminate?, hangup?];
        drop(guard);
        Ok(Self { runtime, signals, interrupted: false })
    }

    fn run(&mut self, command: Command) -> Result<ExitStatus> {
        let [interrupt, terminate, hangup] = &mut self.signals;
        self.runtime.block_on(async {
            let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
            let status = tokio::select! {
                status = child.wait() => Some(status?),
                _ = interrupt.recv() => None,
                _ = terminate.recv() => None,
                _ = hangup.recv() => None,
            };
            if let Some(status) = status {
                return Ok(status);
            }
            self.interrupted = true;
            child.kill().await?;
            Err("interrupted".into())
        })
    }
}

/// The directory of the Rust toolchain that runs this program.
fn toolchain() -> Result<PathBuf> {
    let shell = Shell::new()?;
    let directory = PathBuf::from(cmd!(shell, "rustc --print sysroot").quiet().read()?);
    if directory == Path::new("/usr") {
        return Err("this toolchain is spread over /usr; `bare` needs one in a directory of its own".into());
    }
    Ok(directory)
}

fn commit() -> Result<String> {
    let shell = Shell::new()?;
    shell.change_dir(tools::workspace());
    Ok(cmd!(shell, "git rev-parse --short HEAD").quiet().read()?)
}

/// Processors and memory of this machine, and its kernel's series.
fn in_words() -> String {
    let processors = thread::available_parallelism().map_or(0, usize::from);
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo");
    let kilobytes = memory.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    let series = kernel.split('.').take(2).collect::<Vec<_>>().join(".");
    format!("{processors} CPUs, {} GiB of memory, Linux {series}", kilobytes >> 20)
}

/// Killed processes may take a moment to end, and write until then.
fn remove(directory: &Path) -> Result {
    let begun = Instant::now();
    while let Err(error) = fs::remove_dir_all(directory) {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(format!("cannot remove {}: {error}", directory.display()).into());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
