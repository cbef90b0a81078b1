use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// The program as shipped, with this home and nothing else in its environment.
pub(crate) fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zfs-kmods"));
    command.env_clear().env("HOME", home).env("ZFS_KMODS_CACHE", home.join("cache"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// [`program`] in a directory of its own, with more variables.
pub(crate) struct Program {
    directory: TempDir,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    /// With a fake GitHub at this URL.
    pub(crate) fn at(github: &str) -> Self {
        let mut program = Self::new();
        program.set("GITHUB_API_URL", github);
        program.set("GITHUB_TOKEN", "token");
        program.set("GITHUB_REPOSITORY", "owner/zfs-kmods");
        program
    }

    /// Replaces the variable.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.retain(|(other, _)| *other != name);
        self.environment.push((name, value.into()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = program(self.directory.path());
        command.args(arguments).envs(self.environment.iter().cloned()).current_dir(self.directory.path());
        command
    }

    pub(crate) async fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> CommandOutput {
        self.command(arguments).output().await.unwrap().into()
    }
}

pub(crate) fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

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

    /// Fails unless [`Self::error_text`] contains each of these.
    #[track_caller]
    pub(crate) fn explains(self, sentences: &[&str]) -> Self {
        let text = self.error_text();
        for sentence in sentences {
            assert!(text.contains(sentence), "no `{sentence}` in:\n{}", self.stderr);
        }
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// Standard error in one line, without miette's decoration.
    pub(crate) fn error_text(&self) -> String {
        self.stderr.replace(['│', '×'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
