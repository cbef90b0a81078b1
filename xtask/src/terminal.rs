//! The only writer to the terminal: notices for people go to stderr, data for scripts goes to stdout.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "the only place that writes to the terminal")]

use std::fmt::Display;

pub(crate) fn print_notice(line: impl Display) {
    eprintln!("{line}");
}

pub(crate) fn print_data(line: impl Display) {
    println!("{line}");
}
