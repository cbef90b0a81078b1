//! Runs the steps of a job in its directory, which stands for its machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::expression::{Contexts, as_text, interpolate};
use super::run::{RunLine, SimulatedRun, value_of};
use super::workflow::{StepAction, WorkflowJob, WorkflowStep};
use crate::error::{Context as _, Result};
use crate::terminal;

/// `runner.arch` of the lab's machine.
const RUNNER_ARCH: &str = "X64";

/// A job while its steps run.
pub(super) struct RunningJob<'a> {
    pub(super) job: &'a WorkflowJob,
    /// `target 2/build`
    pub(super) path: &'a str,
    pub(super) directory: &'a Path,
    pub(super) is_installed: bool,
    pub(super) has_cache: bool,
}

impl SimulatedRun<'_> {
    /// Returns whether the step succeeded.
    pub(super) fn step(
        &mut self,
        running: &mut RunningJob<'_>,
        step: &WorkflowStep,
        number: usize,
        contexts: &mut Contexts,
    ) -> Result<bool> {
        let artifacts = self.directory.join("artifacts");
        let program = artifacts.join(format!("program-{RUNNER_ARCH}")).join("zfs-kmods");
        let directory = running.directory;
        match &step.action {
            StepAction::Prepare => Ok(true),
            StepAction::Cache => {
                running.has_cache = true;
                Ok(true)
            }
            StepAction::Compile => {
                fs::create_dir_all(artifacts.join(format!("program-{RUNNER_ARCH}")))?;
                let _ = fs::remove_file(&program);
                fs::hard_link(self.program, &program)
                    .or_else(|_| fs::copy(self.program, &program).map(drop))?;
                if let Some(id) = &step.id {
                    contexts["steps"][id] = json!({"outputs": {RUNNER_ARCH: digest(&program)?}});
                }
                Ok(true)
            }
            StepAction::Install { digests } => {
                let digests = as_text(&interpolate(digests, contexts)?);
                let digests: Value = serde_json::from_str(&digests).context("the digests of the program")?;
                let stated = digests[RUNNER_ARCH].as_str();
                let found = if program.exists() { Some(digest(&program)?) } else { None };
                running.is_installed = found.is_some() && found.as_deref() == stated;
                if !running.is_installed {
                    let (found, stated) = (found.unwrap_or_default(), stated.unwrap_or_default());
                    let job = running.path;
                    terminal::print_detail(format_args!("{job}: the program is {found:?}, not {stated:?}"));
                }
                Ok(running.is_installed)
            }
            StepAction::Upload { name, path } => {
                let name = as_text(&interpolate(name, contexts)?);
                let from = directory.join(path);
                // Nothing to upload is only a warning of the action.
                if from.is_dir() {
                    copy(&from, &artifacts.join(name))?;
                }
                Ok(true)
            }
            StepAction::Download { pattern, path } => {
                let prefix = pattern
                    .strip_suffix('*')
                    .context("a pattern that does not end with `*` is not supported")?;
                for artifact in listed(&artifacts)? {
                    if artifact.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
                        copy(&artifact, &directory.join(path))?;
                    }
                }
                Ok(true)
            }
            StepAction::Run(line) => {
                if !running.is_installed {
                    return Err(format!("the program is not installed: {line}").into());
                }
                let output = directory.join(format!("output-{number}"));
                let environment = self.step_environment(running, step, &output, contexts)?;
                let line = RunLine {
                    job: running.path,
                    words: words(line, &environment)?,
                    environment,
                    directory,
                    may_have_identity: running.job.may("id-token"),
                    has_cache: running.has_cache,
                };
                let code = self.executor.run(&line)?;
                if let Some(id) = &step.id {
                    contexts["steps"][id] = json!({"outputs": outputs(&output)?});
                }
                Ok(code == 0)
            }
        }
    }

    fn step_environment(
        &self,
        running: &RunningJob<'_>,
        step: &WorkflowStep,
        output: &Path,
        contexts: &Contexts,
    ) -> Result<BTreeMap<String, String>> {
        let mut environment = self.environment.clone();
        environment.insert("GITHUB_OUTPUT".to_owned(), output.display().to_string());
        let summary = self.directory.join("summary.md").display().to_string();
        environment.insert("GITHUB_STEP_SUMMARY".to_owned(), summary);
        for (name, value) in running.job.env.iter().chain(&step.env) {
            environment.insert(name.clone(), as_text(&value_of(value, contexts)?));
        }
        Ok(environment)
    }
}

fn digest(file: &Path) -> Result<String> {
    Ok(format!("{:x}", Sha256::digest(fs::read(file).context(file.display())?)))
}

/// The words of a line as a shell would split them. The only shell syntax is a whole variable in quotation marks.
fn words(line: &str, environment: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for word in line.split(' ') {
        let variable = word.strip_prefix("\"$").and_then(|rest| rest.strip_suffix('"'));
        match variable {
            Some(name) => {
                let value = environment.get(name).cloned();
                words.push(value.context(format_args!("the variable {name} is not set: {line}"))?);
            }
            None if word.contains(['"', '\'', '$', '`', '|', '&', ';', '<', '>', '*', '\n']) => {
                return Err(format!("shell syntax is not supported: `{word}` in {line}").into());
            }
            None => words.push(word.to_owned()),
        }
    }
    match words.first() {
        Some(program) if program == "zfs-kmods" => Ok(words.split_off(1)),
        _ => Err(format!("only `zfs-kmods` is supported: {line}").into()),
    }
}

fn outputs(file: &Path) -> Result<Value> {
    let text = if file.exists() { fs::read_to_string(file)? } else { String::new() };
    let output = |line: &str| {
        let (name, value) =
            line.split_once('=').context(format_args!("an output is not NAME=VALUE: {line}"))?;
        Ok((name.to_owned(), json!(value)))
    };
    text.lines().map(output).collect()
}

fn listed(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let mut all = entries.collect::<Result<Vec<_>>>()?;
    all.sort();
    Ok(all)
}

fn copy(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    for file in listed(from)? {
        let name = file.file_name().context("the file has no name")?;
        fs::copy(&file, to.join(name)).context(file.display())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_lines_that_need_a_shell_or_run_other_programs() {
        let environment = BTreeMap::from([("IMAGE".to_owned(), "a b".to_owned())]);
        assert_eq!(words("zfs-kmods plan \"$IMAGE\"", &environment).unwrap(), ["plan", "a b"]);
        for (line, named) in [
            ("zfs-kmods plan $IMAGE", "`$IMAGE`"),
            ("zfs-kmods plan | tee x", "`|`"),
            ("zfs-kmods plan\nzfs-kmods report", "shell syntax"),
            ("zfs-kmods plan \"$OTHER\"", "OTHER is not set"),
            ("cargo build", "only `zfs-kmods`"),
        ] {
            let error = words(line, &environment).unwrap_err().to_string();
            assert!(error.contains(named), "{line}: {error}");
        }
    }

    #[test]
    fn refuses_other_outputs() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("output");
        fs::write(&file, "name<<END\ntext\nEND\n").unwrap();
        assert!(outputs(&file).unwrap_err().to_string().contains("name<<END"));
    }
}
