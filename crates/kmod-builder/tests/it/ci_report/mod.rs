//! Records, issues and workflow runs: the program as shipped against a fake GitHub.

mod github;
mod issues;
mod records;
mod workflow;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::command_output::CommandOutput;

/// The program with a home of its own.
pub(crate) struct Program {
    directory: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    fn at(github: &str) -> Self {
        let mut program = Self::new();
        program.set("GITHUB_API_URL", github);
        program.set("GITHUB_TOKEN", "token");
        program.set("GITHUB_REPOSITORY", "owner/zfs-kmods");
        program
    }

    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.push((name, value.into()));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> CommandOutput {
        let output = Command::new(env!("CARGO_BIN_EXE_zfs-kmods"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.directory.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        output.into()
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
