//! Runs the jobs of a workflow in order, each in a directory of its own as if that were its machine.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    expression::{Contexts, as_text, evaluate, interpolate, is_true},
    workflow::{Act, Job, Matrix, Step, Work, Workflow},
};
use crate::error::{Context as _, Result};

/// Whoever carries a line out.
pub(super) trait Executor {
    /// Runs the program with these words after its name; returns its exit status.
    fn run(&mut self, line: &Line<'_>) -> Result<i32>;
}

/// One `run:` line with all that it gets.
pub(super) struct Line<'a> {
    pub(super) job: &'a str,
    pub(super) words: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) directory: &'a Path,
    /// Whether the job may ask for the workflow's identity.
    pub(super) may_have_identity: bool,
}

/// One run of a workflow.
pub(super) struct Run<'a> {
    pub(super) workflows: &'a Path,
    /// For directories of jobs, artifacts and summaries.
    pub(super) directory: &'a Path,
    /// `github` and `vars`.
    pub(super) given: Value,
    /// What the environment of every step has: `GITHUB_REPOSITORY` and others.
    pub(super) environment: BTreeMap<String, String>,
    pub(super) executor: &'a mut dyn Executor,
}

/// How jobs ended: by name, those of a matrix with their number.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Ended {
    pub(super) jobs: Vec<(String, &'static str)>,
}

impl Ended {
    pub(super) fn of(&self, job: &str) -> Option<&'static str> {
        self.jobs.iter().find(|(name, _)| name == job).map(|(_, result)| *result)
    }
}

/// Which machine a job is on, in words: `target 2/build`.
type Place = String;

impl Run<'_> {
    /// Runs a workflow with these inputs; those that are not given are not set, as on a schedule.
    pub(super) fn workflow(&mut self, file: &str, inputs: &Value) -> Result<Ended> {
        let mut ended = Ended::default();
        self.jobs(file, inputs, &json!({}), "", &mut ended)?;
        Ok(ended)
    }

    /// The inputs of a run that a person starts: those that were given, and the values that the others have.
    pub(super) fn dispatched(&self, file: &str, given: &Value) -> Result<Value> {
        let mut inputs: serde_json::Map<_, _> =
            Workflow::read(&self.workflows.join(file))?.defaults.into_iter().collect();
        inputs.extend(given.as_object().cloned().unwrap_or_default());
        Ok(Value::Object(inputs))
    }

    /// Runs the jobs of a file; the result is that of the worst of them.
    fn jobs(
        &mut self,
        file: &str,
        inputs: &Value,
        secrets: &Value,
        prefix: &str,
        ended: &mut Ended,
    ) -> Result<&'static str> {
        let workflow = Workflow::read(&self.workflows.join(file))?;
        if let Some(name) = inputs
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::keys)
            .find(|name| !workflow.defaults.contains_key(*name))
        {
            return Err(format!("{file} has no input `{name}`").into());
        }
        let mut contexts = self.given.clone();
        contexts["inputs"] = inputs.clone();
        contexts["secrets"] = secrets.clone();
        contexts["needs"] = json!({});
        let mut worst = "success";
        for job in &workflow.jobs {
            let result =
                self.job(job, &mut contexts, prefix, ended).context(format_args!("job {}", job.id))?;
            if result == "failure" {
                worst = result;
            }
        }
        Ok(worst)
    }

    fn job(
        &mut self,
        job: &Job,
        contexts: &mut Contexts,
        prefix: &str,
        ended: &mut Ended,
    ) -> Result<&'static str> {
        let all_good = job.needs.iter().all(|need| contexts["needs"][need]["result"] == "success");
        let condition = job.condition.as_deref().unwrap_or_default();
        // Without one of these functions, a condition means "and everything before went well".
        let whatever = condition.contains("always()") || condition.contains("cancelled()");
        let inner = condition.trim().trim_start_matches("${{").trim_end_matches("}}");
        let wanted = condition.is_empty() || is_true(&evaluate(inner, contexts)?);
        let place = format!("{prefix}{}", job.id);
        let mut outputs = json!({});
        let result = if wanted && (all_good || whatever) {
            let instances = match &job.matrix {
                Matrix::None => vec![None],
                Matrix::Include(list) => {
                    include(&interpolate(list, contexts)?)?.into_iter().map(Some).collect()
                }
                Matrix::Values(name, list) => {
                    let list = interpolate(list, contexts)?;
                    let list = list.as_array().context("a matrix is a list")?;
                    list.iter().map(|value| Some(json!({name: value}))).collect()
                }
            };
            let mut worst = "success";
            for (index, instance) in instances.into_iter().enumerate() {
                let mut own = contexts.clone();
                let mut place = place.clone();
                if let Some(matrix) = instance {
                    own["matrix"] = matrix;
                    own["strategy"] = json!({"job-index": index});
                    place = format!("{place} {}", index + 1);
                }
                let result = self.instance(job, &mut own, &place, ended, &mut outputs)?;
                ended.jobs.push((place, result));
                if result == "failure" {
                    worst = result;
                }
            }
            worst
        } else {
            ended.jobs.push((place, "skipped"));
            "skipped"
        };
        contexts["needs"][&job.id] = json!({"result": result, "outputs": outputs});
        Ok(result)
    }

    fn instance(
        &mut self,
        job: &Job,
        contexts: &mut Contexts,
        place: &Place,
        ended: &mut Ended,
        outputs: &mut Value,
    ) -> Result<&'static str> {
        match &job.work {
            Work::Call { file, with, secrets } => {
                let inputs = evaluated(with, contexts)?;
                let secrets = evaluated(secrets, contexts)?;
                self.jobs(file, &inputs, &secrets, &format!("{place}/"), ended)
            }
            Work::Steps(steps) => {
                let directory = self.directory.join("jobs").join(place.replace('/', "-"));
                fs::create_dir_all(&directory)?;
                contexts["steps"] = json!({});
                let mut result = "success";
                for (number, step) in steps.iter().enumerate() {
                    if (result == "success" || step.always)
                        && !self.step(job, step, number, contexts, place, &directory)?
                    {
                        result = "failure";
                    }
                }
                *outputs = evaluated(&job.outputs, contexts)?;
                Ok(result)
            }
        }
    }

    /// Whether the step went well.
    fn step(
        &mut self,
        job: &Job,
        step: &Step,
        number: usize,
        contexts: &mut Contexts,
        place: &Place,
        directory: &Path,
    ) -> Result<bool> {
        let artifacts = self.directory.join("artifacts");
        match &step.act {
            Act::Prepare => Ok(true),
            Act::Upload { name, path } => {
                let name = as_text(&interpolate(name, contexts)?);
                let from = directory.join(path);
                // As the action does: nothing to upload is a warning.
                if from.is_dir() {
                    copy(&from, &artifacts.join(name))?;
                }
                Ok(true)
            }
            Act::Download { pattern, path } => {
                let prefix = pattern.strip_suffix('*').context("a pattern ends with an asterisk here")?;
                for artifact in listed(&artifacts)? {
                    if artifact.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
                        copy(&artifact, &directory.join(path))?;
                    }
                }
                Ok(true)
            }
            Act::Run(line) => {
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
                let line = Line { job: place, words, environment, directory, may_have_identity };
                let code = self.executor.run(&line)?;
                if let Some(id) = &step.id {
                    contexts["steps"][id] = json!({"outputs": outputs(&output)?});
                }
                Ok(code == 0)
            }
        }
    }
}

/// The jobs of a matrix, which is a list of them here.
fn include(matrix: &Value) -> Result<Vec<Value>> {
    let list = matrix["include"].as_array().filter(|_| matrix.as_object().is_some_and(|all| all.len() == 1));
    Ok(list.context("a matrix is `include` and nothing else here")?.clone())
}

fn value_of(value: &Value, contexts: &Contexts) -> Result<Value> {
    match value {
        Value::String(text) => interpolate(text, contexts),
        other => Ok(other.clone()),
    }
}

fn evaluated(members: &BTreeMap<String, Value>, contexts: &Contexts) -> Result<Value> {
    let mut all = serde_json::Map::new();
    for (name, value) in members {
        all.insert(name.clone(), value_of(value, contexts)?);
    }
    Ok(Value::Object(all))
}

/// The words of a line as a shell would see them. Only whole variables in quotation marks are known; anything else
/// would be logic.
fn words(line: &str, environment: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for word in line.split(' ') {
        let variable = word.strip_prefix("\"$").and_then(|rest| rest.strip_suffix('"'));
        match variable {
            Some(name) => words.push(environment.get(name).context(format_args!("no {name}"))?.clone()),
            None if word.contains(['"', '\'', '$', '`', '|', '&', ';', '<', '>', '*', '\n']) => {
                return Err(format!("`{word}` needs a shell: {line}").into());
            }
            None => words.push(word.to_owned()),
        }
    }
    match words.first() {
        Some(program) if program == "zfs-kmods" => Ok(words.split_off(1)),
        _ => Err(format!("not a line of the program: {line}").into()),
    }
}

/// What a step wrote: `NAME=VALUE` a line.
fn outputs(file: &Path) -> Result<Value> {
    let text = if file.exists() { fs::read_to_string(file)? } else { String::new() };
    let mut all = serde_json::Map::new();
    for line in text.lines() {
        let (name, value) = line.split_once('=').context(format_args!("an output is NAME=VALUE: {line}"))?;
        all.insert(name.to_owned(), json!(value));
    }
    Ok(Value::Object(all))
}

fn listed(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let mut all: Vec<PathBuf> = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    all.sort();
    Ok(all)
}

fn copy(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    for file in listed(from)? {
        let name = file.file_name().context("a file without a name")?;
        fs::copy(&file, to.join(name)).context(file.display())?;
    }
    Ok(())
}
