//! The program with its standard flags. Only its environment refers to the lab.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use serde_json::Value;

use crate::error::{Context, Result};
use crate::lab::environment;
use crate::lab::serve::{http, services};
use crate::{terminal, tools};

pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) text: String,
    /// Its standard error.
    pub(crate) messages: String,
    /// Requests to the lab's services, and bytes sent for them.
    pub(crate) requests: (u64, u64),
    /// User and system time, in steps of 10 ms.
    pub(crate) processor: Duration,
}

impl Output {
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.text).context("the program's JSON")
    }

    /// Fails unless the exit status is `code`.
    pub(crate) fn expect(self, code: i32) -> Result<Self> {
        if self.code == code {
            return Ok(self);
        }
        Err(format!("the program ended with {}, expected {code}", self.code).into())
    }

    /// Fails unless all words are in the messages, whose lines are broken and begin with `│`.
    pub(crate) fn explains(self, words: &[&str]) -> Result<Self> {
        let messages: Vec<_> = self.messages.split_whitespace().filter(|word| *word != "│").collect();
        let messages = messages.join(" ");
        match words.iter().find(|word| !messages.contains(**word)) {
            Some(word) => Err(format!("its messages do not contain `{word}`").into()),
            None => Ok(self),
        }
    }

    /// Fails unless all words are in the output.
    pub(crate) fn mentions(self, words: &[&str]) -> Result<Self> {
        match words.iter().find(|word| !self.text.contains(**word)) {
            Some(word) => Err(format!("its output does not mention {word}").into()),
            None => Ok(self),
        }
    }
}

pub(crate) struct Program {
    executable: PathBuf,
    run: PathBuf,
    work: PathBuf,
}

impl Program {
    /// Compiles it, with optimisations if xtask has them. It runs in `work`.
    pub(crate) fn build(run: &Path, work: &Path) -> Result<Self> {
        let executable = compile(!cfg!(debug_assertions))?;
        Ok(Self { executable, run: run.to_owned(), work: work.to_owned() })
    }

    pub(crate) fn executable(&self) -> &Path {
        &self.executable
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.run_with(arguments, &[])
    }

    /// Fails unless the exit status is 0.
    pub(crate) fn done(&self, arguments: &[&str]) -> Result<Output> {
        self.run(arguments)?.expect(0)
    }

    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(String, String)]) -> Result<Output> {
        self.run_in(&self.work, arguments, environment)
    }

    pub(crate) fn run_in(
        &self,
        directory: &Path,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> Result<Output> {
        terminal::print_detail(format_args!("  $ zfs-kmods {}", arguments.join(" ")));
        let before = self.counted();
        let processor = processor_of_children()?;
        let mut child = tools::tied(&self.command(directory, arguments, environment))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().context("no stderr")?;
        let messages = thread::spawn(move || logged(stderr));
        let output = child.wait_with_output()?;
        let messages = messages.join().map_err(|_| "the reader of the messages panicked")?;
        let after = self.counted();
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
            messages,
            requests: (after.0 - before.0, after.1 - before.1),
            processor: processor_of_children()?.saturating_sub(processor),
        })
    }

    /// To be run in another way than [`Self::run`].
    pub(crate) fn command_of(&self, arguments: &[&str]) -> Command {
        self.command(&self.work, arguments, &[])
    }

    fn command(&self, directory: &Path, arguments: &[&str], environment: &[(String, String)]) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(arguments).envs(environment::variables(&self.run)).current_dir(directory);
        // The user's own settings for GitHub.
        for name in ["GITHUB_TOKEN", "GH_TOKEN", "GITHUB_ACTIONS", "CI"] {
            command.env_remove(name);
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Kills the program before it sets another tag after this many. Without a number, the program ends by itself.
    pub(crate) fn run_until(
        &self,
        directory: &Path,
        arguments: &[&str],
        environment: &[(String, String)],
        tags: Option<usize>,
    ) -> Result<Output> {
        let Some(tags) = tags else { return self.run_in(directory, arguments, environment) };
        let mut child = tools::tied(&self.command(directory, arguments, environment))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut seen = 0;
        for line in BufReader::new(child.stderr.take().context("no stderr")?).lines() {
            let line = line?;
            terminal::print_detail(&line);
            seen += usize::from(line.contains("set the tag ") || line.contains("move the tag "));
            if seen > tags {
                // SIGKILL
                child.kill()?;
                break;
            }
        }
        let code = child.wait()?.code().unwrap_or(-1);
        let (text, messages) = (String::new(), String::new());
        Ok(Output { code, text, messages, requests: (0, 0), processor: Duration::ZERO })
    }

    /// Requests to the HTTP server and to the registry, and bytes sent.
    fn counted(&self) -> (u64, u64) {
        let logs = [http::counted(&self.run), services::counted(&self.run)];
        logs.into_iter().flatten().fold((0, 0), |sum, log| (sum.0 + log.0, sum.1 + log.1))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }
}

/// Copies messages to the log, and returns them.
fn logged(messages: impl Read) -> String {
    let mut all = String::new();
    for line in BufReader::new(messages).split(b'\n').map_while(std::result::Result::ok) {
        let line = String::from_utf8_lossy(&line);
        terminal::print_detail(&line);
        all.push_str(&line);
        all.push('\n');
    }
    all
}

/// CPU time of all finished child processes, from proc_pid_stat(5).
fn processor_of_children() -> Result<Duration> {
    /// `sysconf(_SC_CLK_TCK)`, which is the same on every Linux.
    const TICKS: u64 = 100;
    let text = fs::read_to_string("/proc/self/stat")?;
    // The second field, a name in brackets, may contain anything. The third field follows.
    let (_, fields) = text.rsplit_once(") ").context("/proc/self/stat")?;
    let fields: Vec<u64> = fields.split(' ').map(|field| field.parse().unwrap_or_default()).collect();
    let ticks = fields.get(13..15).context("/proc/self/stat")?.iter().sum::<u64>();
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

pub(crate) fn compile(optimised: bool) -> Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "-p", "kmod-builder"])
        .args(optimised.then_some("--release"))
        .arg("--message-format=json-render-diagnostics")
        .current_dir(tools::workspace())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("the program does not compile".into());
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .find(|path| path.file_name().is_some_and(|name| name == "zfs-kmods"))
        .context("cargo names no executable zfs-kmods")
}

/// The compared fields of a package: the name in the program's JSON, and rpm's query.
pub(crate) const FIELDS: [(&str, &str); 14] = [
    ("name", "%{NAME}"),
    ("epoch", "%{EPOCH}"),
    ("version", "%{VERSION}"),
    ("release", "%{RELEASE}"),
    ("evr", "%{EVR}"),
    ("arch", "%{ARCH}"),
    ("installed_size", "%{SIZE}"),
    ("summary", "%{SUMMARY}"),
    ("license", "%{LICENSE}"),
    ("url", "%{URL}"),
    ("source_rpm", "%{SOURCERPM}"),
    ("build_time", "%{BUILDTIME}"),
    ("provides", "[%{PROVIDENEVRS};]"),
    ("requires", "[%{REQUIRENEVRS};]"),
];

/// rpm's values of [`FIELDS`] for the packages in a directory, a row each.
pub(crate) fn as_rpm_sees(directory: &Path) -> Result<Vec<Vec<String>>> {
    const BETWEEN: char = '\u{1f}';
    let mut files = tools::files_below(directory)?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rpm"));
    let mut format = FIELDS.map(|(_, query)| query).join(&BETWEEN.to_string());
    format.push('\n');
    let mut rpm = Command::new("rpm");
    let text = tools::text(rpm.args(["-qp", "--nosignature", "--qf", &format]).args(&files))?;
    let row = |line: &str| line.split(BETWEEN).map(str::to_owned).collect();
    let mut rows: Vec<Vec<String>> = text.lines().map(row).collect();
    rows.sort();
    Ok(rows)
}
