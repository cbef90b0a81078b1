//! The table at the end of a run: step, result, time.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{NeedsRoot, Result};
use crate::{terminal, tools};

/// Lines of the log that a failed step shows.
const LAST_LINES: usize = 25;
/// Between two times that are shown.
const TICK: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq)]
enum StepResult {
    Passed,
    Failed,
    NeedsRoot,
}

struct StepRow {
    step: String,
    result: StepResult,
    remark: String,
    time: Duration,
}

impl StepRow {
    /// `width`: of the column with the step.
    fn line(&self, width: usize) -> String {
        let result = match self.result {
            StepResult::Passed => "good",
            StepResult::Failed => "FAILED",
            StepResult::NeedsRoot => "not run",
        };
        let time = tools::duration(self.time);
        format!("{:<width$}  {result:<7}  {time:>12}  {}", self.step, self.remark).trim_end().to_owned()
    }
}

/// Shows the elapsed time until the work ends; without a terminal, a line at its begin.
fn with_elapsed_time<T>(what: &str, work: impl FnOnce() -> T) -> T {
    if !terminal::can_rewrite() {
        terminal::print_notice(what);
        return work();
    }
    let started = Instant::now();
    thread::scope(|scope| {
        // The work drops its end, also when it panics.
        let (end, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            loop {
                terminal::rewrite(format_args!("{what}  {}", tools::duration(started.elapsed())));
                if ended.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Disconnected) {
                    break;
                }
            }
        });
        let result = work();
        drop(end);
        result
    })
}

pub(crate) struct Report {
    /// Prefix of each notice.
    command: &'static str,
    rows: Vec<StepRow>,
}

impl Report {
    pub(crate) fn new(command: &'static str) -> Self {
        Self { command, rows: Vec::new() }
    }

    /// Runs a step, which returns a remark for the table. Returns whether it passed.
    pub(crate) fn step(&mut self, step: impl Into<String>, work: impl FnOnce() -> Result<String>) -> bool {
        let (step, command) = (step.into(), self.command);
        let (started, log) = (Instant::now(), terminal::log_length());
        terminal::print_detail(format_args!("{command}: {step}"));
        let result = with_elapsed_time(&format!("{command}: {step}"), work);
        let time = started.elapsed();
        let (result, remark) = match result {
            Ok(remark) => (StepResult::Passed, remark),
            Err(error) if error.is::<NeedsRoot>() => (StepResult::NeedsRoot, error.to_string()),
            Err(error) => {
                if let Some(details) = terminal::last_details(log, LAST_LINES) {
                    terminal::print_notice(details);
                }
                terminal::print_notice(format_args!("{command}: {step} FAILED: {error}"));
                (StepResult::Failed, error.to_string().lines().next().unwrap_or_default().to_owned())
            }
        };
        let row = StepRow { step, result, remark, time };
        terminal::print_notice(format_args!("{command}: {}", row.line(row.step.chars().count())));
        self.rows.push(row);
        result == StepResult::Passed
    }

    /// Whether every step passed so far.
    pub(crate) fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.result == StepResult::Passed)
    }

    /// Prints the table. A step that failed, or that needs root and did not run, makes the run fail.
    pub(crate) fn end(self) -> Result {
        terminal::print_data(format_args!("\n{}", self.table()));
        let count = |result| self.rows.iter().filter(|row| row.result == result).count();
        let steps = |count: usize| if count == 1 { "1 step".to_owned() } else { format!("{count} steps") };
        match (count(StepResult::Failed), count(StepResult::NeedsRoot)) {
            (0, 0) => Ok(()),
            (failed, 0) => Err(format!("{}: {} failed", self.command, steps(failed)).into()),
            (failed, root) => {
                let (failed, root) = (steps(failed), steps(root));
                Err(format!("{}: {failed} failed, {root} did not run without root", self.command).into())
            }
        }
    }

    fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.step.chars().count()).max().unwrap_or_default();
        self.rows.iter().map(|row| row.line(width)).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_after_a_failed_one_run_and_the_run_fails() {
        let mut report = Report::new("test");
        assert!(report.step("one", || Ok("fine".to_owned())));
        assert!(!report.step("two", || Err("it broke\nin two lines".into())));
        assert!(report.step("three", || Ok(String::new())));
        assert!(!report.is_good());
        let table = report.table();
        let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[0], ["one", "good", "0.0", "s", "fine"]);
        assert_eq!(words[1], ["two", "FAILED", "0.0", "s", "it", "broke"]);
        assert_eq!(words[2], ["three", "good", "0.0", "s"]);
        assert_eq!(report.end().unwrap_err().to_string(), "test: 1 step failed");
    }

    #[test]
    fn a_step_that_needs_root_names_the_command_and_the_run_is_not_good() {
        let mut report = Report::new("test");
        report.step("packages", || Err(NeedsRoot { command: "apt-get install rpm".to_owned() }.into()));
        assert!(report.table().ends_with("run this as root: apt-get install rpm"));
        assert!(report.end().is_err());
    }
}
