//! The program as it is shipped, run against the lab. Only its environment differs from the real world.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    fail::{Context, Result},
    lab::{http, world},
    say, tools,
};

/// What a run of the program left.
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) text: String,
    /// Requests to the lab's HTTP server, and bytes it sent for them.
    pub(crate) requests: (u64, u64),
}

impl Output {
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.text).context("the program's JSON")
    }

    /// The program promised `code`.
    pub(crate) fn expect(self, code: i32) -> Result<Self> {
        if self.code == code {
            return Ok(self);
        }
        Err(format!("the program ended with {} where {code} was expected", self.code).into())
    }

    /// Words that must be in the output.
    pub(crate) fn mentions(self, words: &[&str]) -> Result<Self> {
        match words.iter().find(|word| !self.text.contains(**word)) {
            Some(word) => Err(format!("its output does not mention {word}").into()),
            None => Ok(self),
        }
    }
}

/// The compiled program.
pub(crate) struct Program {
    executable: PathBuf,
    run: PathBuf,
    work: PathBuf,
}

impl Program {
    /// Compiles it. `work` is the directory that it runs in.
    pub(crate) fn build(run: &Path, work: &Path) -> Result<Self> {
        let output = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--locked",
                "-p",
                "kmod-builder",
                "--message-format=json-render-diagnostics",
            ])
            .current_dir(tools::workspace())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err("the program does not compile".into());
        }
        let executable = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
            .find(|path| path.file_name().is_some_and(|name| name == "zfs-kmods"))
            .context("cargo names no executable zfs-kmods")?;
        Ok(Self { executable, run: run.to_owned(), work: work.to_owned() })
    }

    /// Runs it; what it says for people goes to the terminal.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.run_with(arguments, &[])
    }

    /// Runs it with more in its environment.
    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(String, String)]) -> Result<Output> {
        say::note(format_args!("  $ zfs-kmods {}", arguments.join(" ")));
        let before = http::counted(&self.run).unwrap_or_default();
        let mut command = Command::new(&self.executable);
        command.args(arguments).envs(world::environment(&self.run)).current_dir(&self.work);
        // What this machine's user has set for the real world does not belong here.
        for name in ["GITHUB_TOKEN", "GH_TOKEN", "GITHUB_ACTIONS", "CI"] {
            command.env_remove(name);
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let output = tools::tied(&command).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        let after = http::counted(&self.run).unwrap_or_default();
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
            requests: (after.0 - before.0, after.1 - before.1),
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }
}

/// The fields of a package that are compared, by their names in the program's JSON, and how rpm is asked for each.
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

/// What rpm itself says about the packages in a directory: a row each, with the values of [`FIELDS`] in their order.
pub(crate) fn as_rpm_sees(directory: &Path) -> Result<Vec<Vec<String>>> {
    const BETWEEN: char = '\u{1f}';
    let mut files: Vec<PathBuf> = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rpm"));
    let mut format = FIELDS.map(|(_, query)| query).join(&BETWEEN.to_string());
    format.push('\n');
    let output = Command::new("rpm").args(["-qp", "--nosignature", "--qf", &format]).args(&files).output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut rows: Vec<Vec<String>> =
        text.lines().map(|line| line.split(BETWEEN).map(str::to_owned).collect()).collect();
    rows.sort();
    Ok(rows)
}
