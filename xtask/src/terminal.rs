//! The only writer to the terminal: notices for people go to stderr, data for scripts goes to stdout, and what programs say
//! while they work goes to a log.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "the only place that writes to the terminal")]

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use crate::error::Result;

static LOG: OnceLock<Log> = OnceLock::new();

/// What programs say while they work.
struct Log {
    path: PathBuf,
    file: Mutex<File>,
    /// Whether it goes to stderr as well.
    verbose: bool,
}

/// Begins the log. Only the first call counts.
pub(crate) fn open_log(path: &Path, verbose: bool) -> Result {
    let file = Mutex::new(File::create(path)?);
    let _ = LOG.set(Log { path: path.to_owned(), file, verbose });
    if !verbose {
        print_notice(format_args!("what the programs say is in {} (-v shows it)", path.display()));
    }
    Ok(())
}

/// Goes to stderr without a log.
pub(crate) fn print_detail(line: impl Display) {
    let Some(log) = LOG.get() else { return eprintln!("{line}") };
    if let Ok(mut file) = log.file.lock() {
        // A full disk must not end the run that may free it.
        let _ = writeln!(file, "{line}");
    }
    if log.verbose {
        print_notice(line);
    }
}

/// The length of the log, to be given to [`last_details`]. 0 without a log.
pub(crate) fn log_length() -> usize {
    let length = LOG.get().and_then(|log| fs::metadata(&log.path).ok()).map(|metadata| metadata.len());
    length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default()
}

/// The last `lines` of what was logged after `since`, if they were not shown.
pub(crate) fn last_details(since: usize, lines: usize) -> Option<String> {
    let log = LOG.get().filter(|log| !log.verbose)?;
    let bytes = fs::read(&log.path).ok()?;
    let text = String::from_utf8_lossy(bytes.get(since..)?).into_owned();
    let all: Vec<&str> = text.lines().collect();
    let last = all[all.len().saturating_sub(lines)..].join("\n  | ");
    (!last.is_empty()).then(|| format!("  | {last}\n  the whole log: {}", log.path.display()))
}

/// Whether a line of stderr can be written again.
pub(crate) fn can_rewrite() -> bool {
    std::io::stderr().is_terminal() && LOG.get().is_none_or(|log| !log.verbose)
}

/// Replaces the last line of stderr, which [`can_rewrite`]. The next notice replaces this one.
pub(crate) fn rewrite(line: impl Display) {
    eprint!("\r\x1b[K{line}");
}

pub(crate) fn print_notice(line: impl Display) {
    let clear = if can_rewrite() { "\r\x1b[K" } else { "" };
    eprintln!("{clear}{line}");
}

pub(crate) fn print_data(line: impl Display) {
    println!("{line}");
}
