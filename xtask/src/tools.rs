//! System programs: installing them, and running long ones with a log file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Context, NeedsRoot, Result};
use crate::terminal;

/// Interval between progress notices of a long step.
const REMINDER: Duration = Duration::from_secs(30);
/// Lines of a failed step's log that are shown.
const LAST_LINES: usize = 25;

/// A program and the Debian package that brings it.
pub(crate) type Tool = (&'static str, &'static str);

pub(crate) fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Installs the missing ones of `tools` if this is root on a machine with apt.
pub(crate) fn need(tools: &[Tool]) -> Result {
    let mut missing: Vec<&str> =
        tools.iter().filter(|(program, _)| !is_there(program)).map(|(_, package)| *package).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand =
        format!("apt-get update && apt-get install --yes --no-install-recommends {}", missing.join(" "));
    if !is_root() || !is_there("apt-get") {
        return Err(NeedsRoot { command: by_hand }.into());
    }
    terminal::print_notice(format_args!("lab: installing {}", missing.join(", ")));
    let shell = xshell::Shell::new()?;
    shell.set_var("DEBIAN_FRONTEND", "noninteractive");
    let (_, log) = tempfile::NamedTempFile::new()?.keep()?;
    run_logged("apt-get update", &xshell::cmd!(shell, "apt-get update").into(), &log)?;
    let install = xshell::cmd!(shell, "apt-get install --yes --no-install-recommends {missing...}");
    run_logged("apt-get install", &install.into(), &log).context(format_args!("help: run {by_hand}"))?;
    fs::remove_file(log)?;
    Ok(())
}

/// Looks in `PATH`, `/usr/sbin` and `/sbin`.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .any(|directory| Path::new(directory).join(program).is_file())
}

pub(crate) fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
    })
}

/// The same command, killed when this process ends.
pub(crate) fn tied(command: &Command) -> Command {
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        tied.current_dir(directory);
    }
    tied
}

/// Runs a long command with its output in `log`. A failure shows the last lines.
pub(crate) fn run_logged(what: &str, command: &Command, log: &Path) -> Result {
    if let Some(directory) = log.parent() {
        fs::create_dir_all(directory)?;
    }
    let file = File::create(log).context(log.display())?;
    let mut command = tied(command);
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut child = command.spawn().context(what)?;
    let begun = Instant::now();
    let mut reminded = begun;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(Duration::from_millis(50));
        if reminded.elapsed() >= REMINDER {
            reminded = Instant::now();
            terminal::print_notice(format_args!("     … {what}, {}", duration(begun.elapsed())));
        }
    };
    if status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  | ");
    Err(format!("{what} failed ({status}).\n  | {tail}\nThe whole log: {}", log.display()).into())
}

/// Runs a short command and returns its standard output. A failure shows the last line of its standard error.
pub(crate) fn output(command: &Command) -> Result<Vec<u8>> {
    let program = command.get_program().display().to_string();
    let output = tied(command).stdin(Stdio::null()).output().context(&program)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{program}: {}", last_line(&output.stderr)).into())
}

/// The same as text.
pub(crate) fn text(command: &Command) -> Result<String> {
    Ok(String::from_utf8(output(command)?)?)
}

/// The last line that is not empty.
pub(crate) fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no output").to_owned()
}

/// Every file below a directory, sorted. Symbolic links are not followed.
pub(crate) fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}
