//! The table at the end: what was done, with what result, in which time.

use std::time::{Duration, Instant};

use crate::{fail::Result, say, tools};

/// One line of the table.
struct Row {
    step: &'static str,
    good: bool,
    remark: String,
    time: Duration,
}

/// The steps of a run, in order.
#[derive(Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    /// Does a step, which returns what is worth saying about it, and keeps how it ended.
    pub(crate) fn step(&mut self, step: &'static str, work: impl FnOnce() -> Result<String>) -> bool {
        say::note(format_args!("lab: {step}"));
        let begun = Instant::now();
        let done = work();
        let good = done.is_ok();
        let remark = done.unwrap_or_else(|failure| {
            say::note(format_args!("lab: {step} FAILED: {failure}"));
            failure.to_string().lines().next().unwrap_or_default().to_owned()
        });
        self.0.push(Row { step, good, remark, time: begun.elapsed() });
        good
    }

    /// Whether every step was good so far.
    pub(crate) fn is_good(&self) -> bool {
        self.0.iter().all(|row| row.good)
    }

    /// Prints the table; a failure if any step failed.
    pub(crate) fn end(self) -> Result {
        let width = self.0.iter().map(|row| row.step.chars().count()).max().unwrap_or_default();
        say::data("");
        for row in &self.0 {
            let result = if row.good { "good" } else { "FAILED" };
            let time = tools::duration(row.time);
            say::data(format_args!("{:<width$}  {result:<6}  {time:>12}  {}", row.step, row.remark));
        }
        let failed = self.0.iter().filter(|row| !row.good).count();
        match failed {
            0 => Ok(()),
            1 => Err("one step of the lab failed".into()),
            failed => Err(format!("{failed} steps of the lab failed").into()),
        }
    }
}
