//! The only writer to standard output, which carries data and nothing else.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

use miette::{IntoDiagnostic as _, Result};
use serde::Serialize;

use crate::model::ci_report::RecordedResult;
use crate::model::printable::{printable, printable_json};

/// In which form data is written to standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text with aligned columns.
    #[default]
    Table,
    /// One JSON document.
    Json,
}

/// A result of a command: the same value as a table and as JSON.
pub trait Show: Serialize {
    /// The table; each line ends with a line feed.
    fn table(&self) -> String;

    /// What the record of the command keeps of it for `report`.
    fn recorded(&self) -> Option<RecordedResult> {
        None
    }
}

/// Standard output of one command, and the results that its record keeps.
#[derive(Debug)]
pub struct StandardOutput {
    format: Format,
    results: Mutex<Vec<RecordedResult>>,
}

impl StandardOutput {
    pub fn new(format: Format) -> Self {
        Self { format, results: Mutex::default() }
    }

    /// Writes a value in the form asked for.
    pub fn show(&self, value: &impl Show) -> Result<()> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).extend(value.recorded());
        match self.format {
            Format::Table => self.text(&printable(&value.table())),
            Format::Json => {
                let json = serde_json::to_string_pretty(value).into_diagnostic()?;
                self.text(&format!("{}\n", printable_json(&json)))
            }
        }
    }

    pub fn text(&self, text: &str) -> Result<()> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            // The reader of `zfs-kmods … | head` has read enough; that is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.into_diagnostic(),
        }
    }

    /// What was shown and is to be recorded, in order.
    pub fn into_results(self) -> Vec<RecordedResult> {
        self.results.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Standard error, where each message is made printable.
#[derive(Clone, Copy, Debug)]
pub struct MessageWriter;

impl io::Write for MessageWriter {
    /// A message is written at once, so that none is cut.
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(printable(&String::from_utf8_lossy(message)).as_bytes())?;
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// Lines are wrapped on a terminal only, and only at spaces: a URL, digest, flag or path stays in one piece.
pub fn style_errors() {
    let handler = || {
        miette::MietteHandlerOpts::new()
            .wrap_lines(io::stderr().is_terminal())
            .break_words(false)
            .word_separator(textwrap::WordSeparator::AsciiSpace)
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .build()
    };
    // Only the first call counts.
    miette::set_hook(Box::new(move |_| Box::new(handler()))).ok();
}

/// The error with its causes and its help, as it is shown to users.
pub fn show_error(error: &miette::Report) {
    // A closed standard error does not change the exit status.
    MessageWriter.write_all(format!("Error: {error:?}\n").as_bytes()).ok();
}

/// A table with two spaces between the columns; the first row is the heading.
pub fn columns<const N: usize>(heading: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut all = vec![heading.map(str::to_owned)];
    all.extend(rows);
    let mut widths = [0; N];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let table =
            super::columns(["NAME", "SIZE"], [["zfs".into(), "1".into()], ["kmod-zfs".into(), "20".into()]]);
        assert_eq!(table, "NAME      SIZE\nzfs       1\nkmod-zfs  20\n");
    }
}
