//! The only writer to the terminal: what a person reads goes to stderr, what a shell evaluates goes to stdout.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "this is the room for it")]

use std::fmt::Display;

/// A line for the person at the terminal.
pub(crate) fn note(line: impl Display) {
    eprintln!("{line}");
}

/// A line of output that a script may use.
pub(crate) fn data(line: impl Display) {
    println!("{line}");
}
