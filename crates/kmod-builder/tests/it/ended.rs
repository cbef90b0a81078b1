//! How the program ended, and what it said.

use std::process::Output;

use serde_json::Value;

/// The program's last words.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ended {
    /// Fails with everything that was said unless the status is this one.
    #[track_caller]
    pub(crate) fn with(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless each of these is said on standard output.
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

    /// What was said on standard error, in one line.
    pub(crate) fn oci_error(&self) -> String {
        self.stderr.replace(['│', '×'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
