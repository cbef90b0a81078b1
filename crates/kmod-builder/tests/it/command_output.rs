//! Exit status and output of the program.

use std::process::Output;

use serde_json::Value;

#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for CommandOutput {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl CommandOutput {
    /// Fails, showing all output, unless the exit status is this one.
    #[track_caller]
    pub(crate) fn with(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless standard output contains each of these.
    #[track_caller]
    pub(crate) fn says(self, sentences: &[&str]) -> Self {
        for sentence in sentences {
            assert!(self.stdout.contains(sentence), "no `{sentence}` in:\n{}", self.stdout);
        }
        self
    }

    /// The one JSON document on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// Standard error in one line, without miette's decoration.
    pub(crate) fn error_text(&self) -> String {
        self.stderr.replace(['│', '×'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
