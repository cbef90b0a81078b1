//! The table of last runs in `docs/bare-machine.md`: one row for each command.

use std::fs;

use crate::error::{Context, Result};
use crate::tools;

const PAGE: &str = "docs/bare-machine.md";
/// The line above the first row.
const RULER: &str = "|---|---|---|---|---|---|";

/// A run of one command.
pub(super) struct BareRun {
    pub(super) command: String,
    /// When it started, UTC.
    pub(super) started: String,
    pub(super) commit: String,
    pub(super) passed: bool,
    pub(super) time: String,
    pub(super) machine: String,
}

impl BareRun {
    /// A row of the page's table: command, start, commit, result, time, machine.
    pub(super) fn row(&self) -> String {
        let Self { command, started, commit, passed, time, machine } = self;
        let result = if *passed { "passed" } else { "failed" };
        format!("| `{command}` | {started} | {commit} | {result} | {time} | {machine} |")
    }
}

pub(super) fn write(runs: &[BareRun]) -> Result {
    let path = tools::workspace().join(PAGE);
    let text = fs::read_to_string(&path).context(PAGE)?;
    fs::write(&path, updated(&text, runs)?).context(PAGE)
}

/// Replaces the rows of the same commands, and adds the others at the end of the table.
fn updated(text: &str, runs: &[BareRun]) -> Result<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let first = lines.iter().position(|line| line == RULER).context("the page has no table of runs")? + 1;
    for run in runs {
        let rows = lines[first..].iter().take_while(|line| line.starts_with('|')).count();
        let start = format!("| `{}` |", run.command);
        match lines[first..first + rows].iter_mut().find(|line| line.starts_with(&start)) {
            Some(line) => *line = run.row(),
            None => lines.insert(first + rows, run.row()),
        }
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &str, passed: bool) -> BareRun {
        let text = |text: &str| text.to_owned();
        BareRun {
            command: text(command),
            started: text("2026-11-21 14:00"),
            commit: text("abc"),
            passed,
            time: text("1 min 00 s"),
            machine: text("2 CPUs"),
        }
    }

    #[test]
    fn a_row_is_replaced_and_a_new_one_is_added_to_the_table() {
        let page = |rows: &[BareRun]| {
            let rows: String = rows.iter().map(|run| run.row() + "\n").collect();
            format!("# Title\n\n{RULER}\n{rows}\nText | with a bar.\n")
        };
        let runs = [run("cargo xtask lab", true), run("cargo xtask test", false)];
        assert_eq!(updated(&page(&[run("cargo xtask lab", false)]), &runs).unwrap(), page(&runs));
    }
}
