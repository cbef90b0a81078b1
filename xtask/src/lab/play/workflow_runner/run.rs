//! Runs the jobs of a workflow in order, each in a directory of its own as if that were its machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::expression::{Contexts, as_text, evaluate, interpolate, is_true};
use super::workflow::{JobBody, JobMatrix, StepAction, WorkflowFile, WorkflowJob, WorkflowStep};
use crate::error::{Context as _, Result};

/// Runs the lines of steps.
pub(crate) trait Executor {
    /// Runs the program with these words after its name; returns its exit status.
    fn run(&mut self, line: &RunLine<'_>) -> Result<i32>;
}

/// One `run:` line.
pub(crate) struct RunLine<'a> {
    pub(crate) job: &'a str,
    pub(crate) words: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) directory: &'a Path,
    /// `id-token: write`
    pub(crate) may_have_identity: bool,
}

/// One run of a workflow.
pub(crate) struct SimulatedRun<'a> {
    pub(crate) workflows: &'a Path,
    /// For directories of jobs, artifacts and summaries.
    pub(crate) directory: &'a Path,
    /// `github` and `vars`.
    pub(crate) given: Value,
    /// The environment of every step: `GITHUB_REPOSITORY` and others.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) executor: &'a mut dyn Executor,
}

/// The conclusions of jobs by name, those of a matrix with their number.
pub(crate) type JobConclusions = Vec<(String, &'static str)>;

/// `target 2/build`: the second job of the matrix `target`, and `build` in the workflow that it calls.
type JobPath = String;

impl SimulatedRun<'_> {
    /// Inputs that are not given stay unset, as in a scheduled run.
    pub(crate) fn workflow(&mut self, file: &str, inputs: &Value) -> Result<JobConclusions> {
        let mut conclusions = JobConclusions::default();
        self.jobs(file, inputs, &json!({}), "", &mut conclusions)?;
        Ok(conclusions)
    }

    /// The inputs of a manual run: the given ones, and the defaults of the others.
    pub(crate) fn dispatched(&self, file: &str, given: &Value) -> Result<Value> {
        let mut inputs: serde_json::Map<_, _> =
            WorkflowFile::read(&self.workflows.join(file))?.defaults.into_iter().collect();
        inputs.extend(given.as_object().cloned().unwrap_or_default());
        Ok(Value::Object(inputs))
    }

    /// Runs the jobs of a file. It fails if one of them fails.
    fn jobs(
        &mut self,
        file: &str,
        inputs: &Value,
        secrets: &Value,
        prefix: &str,
        conclusions: &mut JobConclusions,
    ) -> Result<&'static str> {
        let workflow = WorkflowFile::read(&self.workflows.join(file))?;
        let mut given = inputs.as_object().into_iter().flat_map(serde_json::Map::keys);
        if let Some(name) = given.find(|name| !workflow.defaults.contains_key(*name)) {
            return Err(format!("{file} has no input `{name}`").into());
        }
        if !prefix.is_empty()
            && let Some(name) = workflow.required.iter().find(|name| inputs.get(name.as_str()).is_none())
        {
            return Err(format!("{file} needs the input `{name}`").into());
        }
        let mut contexts = self.given.clone();
        contexts["inputs"] = inputs.clone();
        contexts["secrets"] = secrets.clone();
        contexts["needs"] = json!({});
        let mut worst = "success";
        for job in &workflow.jobs {
            let result =
                self.job(job, &mut contexts, prefix, conclusions).context(format_args!("job {}", job.id))?;
            if result == "failure" {
                worst = result;
            }
        }
        Ok(worst)
    }

    fn job(
        &mut self,
        job: &WorkflowJob,
        contexts: &mut Contexts,
        prefix: &str,
        conclusions: &mut JobConclusions,
    ) -> Result<&'static str> {
        let needs_succeeded = job.needs.iter().all(|need| contexts["needs"][need]["result"] == "success");
        // `failure()` asks about all jobs before, not only those that are needed directly.
        let needs_failed = job.needs.iter().any(|need| {
            contexts["needs"][need]["result"] == "failure" || contexts["needs"][need]["needs_failed"] == true
        });
        contexts["job"] = json!({"needs_failed": needs_failed});
        let condition = job.condition.as_deref().unwrap_or_default();
        // Without one of these functions, a condition implies that all needed jobs succeeded.
        let status_function = condition.contains("always()")
            || condition.contains("cancelled()")
            || condition.contains("failure()");
        let inner = condition.trim().trim_start_matches("${{").trim_end_matches("}}");
        let wanted = condition.is_empty() || is_true(&evaluate(inner, contexts)?);
        let path = format!("{prefix}{}", job.id);
        let mut outputs = json!({});
        let result = if wanted && (needs_succeeded || status_function) {
            let instances = match &job.matrix {
                JobMatrix::None => vec![None],
                JobMatrix::Include(list) => {
                    include(&interpolate(list, contexts)?)?.into_iter().map(Some).collect()
                }
                JobMatrix::Values(name, list) => {
                    let list = interpolate(list, contexts)?;
                    let list = list.as_array().context("the value of a matrix is not a list")?;
                    list.iter().map(|value| Some(json!({name: value}))).collect()
                }
            };
            let mut worst = "success";
            for (index, instance) in instances.into_iter().enumerate() {
                let mut own = contexts.clone();
                let mut path = path.clone();
                if let Some(matrix) = instance {
                    own["matrix"] = matrix;
                    own["strategy"] = json!({"job-index": index});
                    path = format!("{path} {}", index + 1);
                }
                let result = self.instance(job, &mut own, &path, conclusions, &mut outputs)?;
                conclusions.push((path, result));
                if result == "failure" {
                    worst = result;
                }
            }
            worst
        } else {
            conclusions.push((path, "skipped"));
            "skipped"
        };
        contexts["needs"][&job.id] =
            json!({"result": result, "outputs": outputs, "needs_failed": needs_failed});
        Ok(result)
    }

    fn instance(
        &mut self,
        job: &WorkflowJob,
        contexts: &mut Contexts,
        path: &JobPath,
        conclusions: &mut JobConclusions,
        outputs: &mut Value,
    ) -> Result<&'static str> {
        match &job.body {
            JobBody::Call { file, with, secrets } => {
                let inputs = evaluated(with, contexts)?;
                let secrets = evaluated(secrets, contexts)?;
                self.jobs(file, &inputs, &secrets, &format!("{path}/"), conclusions)
            }
            JobBody::Steps(steps) => {
                let directory = self.directory.join("jobs").join(path.replace('/', "-"));
                fs::create_dir_all(&directory)?;
                contexts["steps"] = json!({});
                let mut result = "success";
                for (number, step) in steps.iter().enumerate() {
                    if (result == "success" || step.always)
                        && !self.step(job, step, number, contexts, path, &directory)?
                    {
                        result = "failure";
                    }
                }
                *outputs = evaluated(&job.outputs, contexts)?;
                Ok(result)
            }
        }
    }

    /// Returns whether the step succeeded.
    fn step(
        &mut self,
        job: &WorkflowJob,
        step: &WorkflowStep,
        number: usize,
        contexts: &mut Contexts,
        path: &JobPath,
        directory: &Path,
    ) -> Result<bool> {
        let artifacts = self.directory.join("artifacts");
        match &step.action {
            StepAction::Prepare => Ok(true),
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
                let output = directory.join(format!("output-{number}"));
                let mut environment = self.environment.clone();
                environment.insert("GITHUB_OUTPUT".to_owned(), output.display().to_string());
                let summary = self.directory.join("summary.md").display().to_string();
                environment.insert("GITHUB_STEP_SUMMARY".to_owned(), summary);
                for (name, value) in job.env.iter().chain(&step.env) {
                    environment.insert(name.clone(), as_text(&value_of(value, contexts)?));
                }
                let words = words(line, &environment)?;
                let may_have_identity = job.may_have_identity;
                let line = RunLine { job: path, words, environment, directory, may_have_identity };
                let code = self.executor.run(&line)?;
                if let Some(id) = &step.id {
                    contexts["steps"][id] = json!({"outputs": outputs(&output)?});
                }
                Ok(code == 0)
            }
        }
    }
}

fn include(matrix: &Value) -> Result<Vec<Value>> {
    let list = matrix["include"].as_array().filter(|_| matrix.as_object().is_some_and(|all| all.len() == 1));
    Ok(list.context("a matrix with anything but `include` is not supported")?.clone())
}

fn value_of(value: &Value, contexts: &Contexts) -> Result<Value> {
    match value {
        Value::String(text) => interpolate(text, contexts),
        other => Ok(other.clone()),
    }
}

fn evaluated(members: &BTreeMap<String, Value>, contexts: &Contexts) -> Result<Value> {
    members.iter().map(|(name, value)| Ok((name.clone(), value_of(value, contexts)?))).collect()
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
    fn refuses_other_matrices_and_outputs() {
        assert!(include(&json!({"include": [1]})).is_ok());
        assert!(include(&json!({"include": [1], "exclude": []})).is_err());
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("output");
        fs::write(&file, "name<<END\ntext\nEND\n").unwrap();
        assert!(outputs(&file).unwrap_err().to_string().contains("name<<END"));
    }
}
