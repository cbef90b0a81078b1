//! Runs other programs; the only module that starts processes.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use super::environment;

/// Lines shown of a failed program's standard error.
const TAIL: usize = 20;
/// Bytes. Longer lines are split, to limit memory.
const LONGEST_LINE: usize = 16 << 20;

/// Variables that every program inherits. Keys, passwords and tokens are in others.
const INHERITED: [&str; 10] =
    ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "TERM"];

/// A program and its arguments as data; `Display` uses shell syntax.
///
/// Arguments are logged: pass secrets through [`Cmd::input`].
#[derive(Clone, Debug)]
pub struct Cmd {
    program: OsString,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
    input: Option<Vec<u8>>,
    inherited: &'static [&'static str],
}

impl Cmd {
    /// Found on `PATH` unless it is a path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            directory: None,
            input: None,
            inherited: &[],
        }
    }

    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Standard input; not shown by `Display`. Empty by default.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Further variables that the program inherits; `NAME*` stands for all that begin with `NAME`.
    #[must_use]
    pub const fn inherit(mut self, names: &'static [&'static str]) -> Self {
        self.inherited = names;
        self
    }

    /// Runs the program to its end and returns its standard output.
    ///
    /// The last lines of standard error go into the error. Dropping the future kills the program.
    pub async fn read(self) -> Result<String, CmdError> {
        let mut output = Vec::new();
        let status = self
            .stream(|line| {
                if let Line::Out(text) = line {
                    output.push(text.to_owned());
                }
            })
            .await?;
        self.succeeded(status)?;
        Ok(output.join("\n"))
    }

    /// Runs the program to its end and passes each line to `on_line`.
    ///
    /// Both streams are read line by line (invalid UTF-8 is replaced); none is inherited. Dropping the future kills the
    /// program. A failing exit status is no error here: see [`Cmd::succeeded`].
    pub async fn stream(&self, mut on_line: impl FnMut(Line<'_>)) -> Result<CompletedCommand, CmdError> {
        tracing::debug!(cmd = %self, "running");
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(environment::matching(&[&INHERITED, self.inherited].concat()))
            .stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C drops the future and must end podman and qemu.
            .kill_on_drop(true);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                CmdError::Missing { program: self.program.to_string_lossy().into_owned() }
            }
            _ => CmdError::Io { cmd: self.to_string(), source: error },
        })?;
        let io = |source| CmdError::Io { cmd: self.to_string(), source };
        if let (Some(bytes), Some(mut stdin)) = (self.input.clone(), child.stdin.take()) {
            // A program that ends without reading its input closes the pipe; its exit status tells why.
            tokio::spawn(async move { stdin.write_all(&bytes).await.ok() });
        }
        let mut tail = std::collections::VecDeque::new();
        let (mut out, mut err) = (lines(child.stdout.take()), lines(child.stderr.take()));
        let (mut out_open, mut err_open) = (true, true);
        while out_open || err_open {
            tokio::select! {
                line = out.next(), if out_open => match line.map_err(io)? {
                    Some(line) => on_line(Line::Out(&text(line))),
                    None => out_open = false,
                },
                line = err.next(), if err_open => match line.map_err(io)? {
                    Some(line) => {
                        let text = text(line);
                        on_line(Line::Err(&text));
                        tail.push_back(text);
                        if tail.len() > TAIL {
                            tail.pop_front();
                        }
                    }
                    None => err_open = false,
                },
            }
        }
        let status = child.wait().await.map_err(io)?;
        Ok(CompletedCommand { status, tail: Vec::from(tail).join("\n") })
    }

    /// Turns a failing exit status into an error with the end of standard error.
    pub fn succeeded(&self, completed: CompletedCommand) -> Result<(), CmdError> {
        if completed.status.success() {
            return Ok(());
        }
        Err(CmdError::Failed { cmd: self.to_string(), status: completed.status, tail: completed.tail })
    }
}

#[derive(Clone, Debug)]
pub struct CompletedCommand {
    pub status: ExitStatus,
    /// The last lines of standard error.
    pub tail: String,
}

/// A line without its line break.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    Out(&'a str),
    Err(&'a str),
}

impl<'a> Line<'a> {
    pub const fn text(self) -> &'a str {
        match self {
            Self::Out(text) | Self::Err(text) => text,
        }
    }
}

struct Lines {
    pipe: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
    line: Vec<u8>,
}

fn lines(pipe: Option<impl AsyncRead + Send + Unpin + 'static>) -> Lines {
    let pipe: Box<dyn AsyncRead + Send + Unpin> = match pipe {
        Some(pipe) => Box::new(pipe),
        None => Box::new(tokio::io::empty()),
    };
    Lines { pipe: BufReader::new(pipe), line: Vec::new() }
}

impl Lines {
    /// The next line without its line break; `None` at the end. Cancel-safe: a partially read line is kept.
    async fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            let bytes = self.pipe.fill_buf().await?;
            if bytes.is_empty() {
                return Ok(Some(std::mem::take(&mut self.line)).filter(|line| !line.is_empty()));
            }
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let length = end.unwrap_or(bytes.len());
            self.line.extend_from_slice(&bytes[..length]);
            self.pipe.consume(length + usize::from(end.is_some()));
            if end.is_some() || self.line.len() > LONGEST_LINE {
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }
}

fn text(mut line: Vec<u8>) -> String {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8_lossy(&line).into_owned()
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = std::iter::once(&self.program).chain(&self.arguments);
        for (position, word) in words.enumerate() {
            let word = word.to_string_lossy();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:@,%+".contains(&byte);
            let separator = if position == 0 { "" } else { " " };
            if !word.is_empty() && word.bytes().all(plain) {
                write!(f, "{separator}{word}")?;
            } else {
                write!(f, "{separator}'{}'", word.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CmdError {
    #[error("the program `{program}` was not found")]
    #[diagnostic(help(
        "install it (`apt install {program}` or `dnf install {program}`), or set PATH so that it is found"
    ))]
    Missing { program: String },
    #[error("`{cmd}` failed ({status}):\n{tail}")]
    Failed { cmd: String, status: ExitStatus, tail: String },
    #[error("could not run `{cmd}`")]
    Io { cmd: String, source: std::io::Error },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn programs_inherit_only_named_variables() {
        // cargo sets some for every test.
        let names = |text: &str| {
            let mut names: Vec<_> =
                text.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect();
            names.retain(|name| name.starts_with("CARGO"));
            names
        };
        assert_eq!(names(&Cmd::new("env").read().await.unwrap()), Vec::<String>::new());
        let inherited =
            Cmd::new("env").inherit(&["CARGO_PKG_NAME", "CARGO_MANIFEST_*"]).read().await.unwrap();
        let inherited = names(&inherited);
        assert!(inherited.contains(&"CARGO_PKG_NAME".to_owned()), "{inherited:?}");
        assert!(inherited.contains(&"CARGO_MANIFEST_DIR".to_owned()), "{inherited:?}");
        assert!(!inherited.contains(&"CARGO_PKG_VERSION".to_owned()), "{inherited:?}");
    }
}
