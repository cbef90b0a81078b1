use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use super::environment::CleanupEnvironment;
use crate::command_output::CommandOutput;

/// The program as shipped, with a home of its own.
pub(super) struct Program {
    pub(super) directory: TempDir,
    github: String,
    environment: Vec<(&'static str, String)>,
}

impl Program {
    pub(super) fn new(environment: &CleanupEnvironment) -> Self {
        Self::at(&environment.github.address())
    }

    pub(super) fn at(github: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, github: format!("http://{github}"), environment: Vec::new() }
    }

    pub(super) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.push((name, value.into()));
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zfs-kmods"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.directory.path())
            .env("GITHUB_API_URL", &self.github)
            .env("GITHUB_TOKEN", "ghp_stand_in")
            .env("ZFS_KMODS_CACHE", self.directory.path().join("cache"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub(super) async fn run(&self, arguments: &[&str]) -> CommandOutput {
        let output = self.command(arguments).output().await.unwrap();
        output.into()
    }

    /// `cleanup` of a package at GitHub, without asking Fedora for kernels.
    pub(super) async fn cleanup(
        &self,
        environment: &CleanupEnvironment,
        arguments: &[&str],
    ) -> CommandOutput {
        let store = environment.store();
        let mut all = vec!["cleanup", &store];
        all.extend(["--delete-api", "github", "--keep-kernels-of", "none", "--delete-interval", "0"]);
        all.extend(arguments);
        self.run(&all).await
    }

    /// The same, with the processor time in seconds and the most memory in MiB that it took, read while it runs.
    pub(super) async fn measure(
        &self,
        environment: &CleanupEnvironment,
        arguments: &[&str],
    ) -> (CommandOutput, f64, u64) {
        let store = environment.store();
        let mut all = vec!["cleanup", &store, "--delete-api", "github", "--keep-kernels-of", "none"];
        all.extend(arguments);
        let child = self.command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let process = format!("/proc/{}", child.id().unwrap());
        let mut output = std::pin::pin!(child.wait_with_output());
        let (mut ticks, mut memory) = (0, 0);
        let output = loop {
            tokio::select! {
                output = &mut output => break output.unwrap(),
                () = tokio::time::sleep(std::time::Duration::from_millis(10)) => {
                    let read = |name: &str| std::fs::read_to_string(format!("{process}/{name}")).unwrap_or_default();
                    // proc_pid_stat(5): user and system time are fields 14 and 15; the name in field 2 ends with `)`.
                    let stat = read("stat");
                    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
                    ticks = fields.filter_map(|field| field.parse::<u32>().ok()).sum::<u32>().max(ticks);
                    let peak = read("status").lines().find_map(|line| line.strip_prefix("VmHWM:").map(str::to_owned));
                    let peak = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok());
                    memory = peak.unwrap_or_default().max(memory);
                }
            }
        };
        (output.into(), f64::from(ticks) / 100.0, memory / 1024)
    }

    /// The journals written so far.
    pub(super) fn journals(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.path("cache/journals")) else { return Vec::new() };
        let mut journals: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        journals.sort();
        journals
    }
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
