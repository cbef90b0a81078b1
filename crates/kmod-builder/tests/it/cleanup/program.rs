use std::path::{Path, PathBuf};
use std::time::Duration;

use super::environment::CleanupEnvironment;
use crate::command_output::{CommandOutput, Program};

/// Through GitHub's API, without delays.
pub(super) const GITHUB: [&str; 4] = ["--delete-api", "github", "--delete-interval", "0"];

impl Program {
    /// `cleanup` of a package at GitHub, without asking Fedora for kernels.
    pub(super) async fn cleanup(
        &self,
        environment: &CleanupEnvironment,
        arguments: &[&str],
    ) -> CommandOutput {
        self.run(&cleanup(&environment.store(), arguments)).await
    }

    pub(super) async fn restore(&self, journal: &Path, arguments: &[&str]) -> CommandOutput {
        self.run(&[&["cleanup", "restore", text(journal)], arguments].concat()).await
    }

    pub(super) fn journals(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.path("cache/journals")) else { return Vec::new() };
        let mut journals: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        journals.sort();
        journals
    }
}

pub(super) fn cleanup<'a>(store: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    [&["cleanup", store, "--keep-kernels-of", "none"], &GITHUB[..], arguments].concat()
}

/// The output, the processor time in seconds and the highest memory in MiB, read while the program runs.
pub(super) async fn measure(
    program: &Program,
    environment: &CleanupEnvironment,
    arguments: &[&str],
) -> (CommandOutput, f64, u64) {
    let child = program.command(&cleanup(&environment.store(), arguments)).spawn().unwrap();
    let process = format!("/proc/{}", child.id().unwrap());
    let mut output = std::pin::pin!(child.wait_with_output());
    let (mut ticks, mut memory) = (0, 0);
    loop {
        tokio::select! {
            output = &mut output => return (output.unwrap().into(), f64::from(ticks) / 100.0, memory / 1024),
            () = tokio::time::sleep(Duration::from_millis(10)) => {
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
    }
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
