//! Runs the jobs of a workflow in order, each in a directory of its own as if that were its machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::expression::{Contexts, as_text, evaluate, interpolate, is_true};
use super::settings::RepositorySettings;
use super::steps::RunningJob;
use super::workflow::{JobBody, JobMatrix, WorkflowFile, WorkflowJob};
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
    /// The job restored a cache.
    pub(crate) has_cache: bool,
}

/// One run of a workflow.
pub(crate) struct SimulatedRun<'a> {
    pub(crate) workflows: &'a Path,
    /// For directories of jobs, artifacts and summaries.
    pub(crate) directory: &'a Path,
    /// `github` and `vars`.
    pub(crate) given: Value,
    pub(crate) settings: RepositorySettings,
    /// What is compiled.
    pub(crate) program: &'a Path,
    /// The environment of every step: `GITHUB_REPOSITORY` and others.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) executor: &'a mut dyn Executor,
}

/// The conclusions of jobs by name, those of a matrix with their number.
pub(crate) type JobConclusions = Vec<(String, &'static str)>;

/// `target 2/build`: the second job of the matrix `target`, and `build` in the workflow that it calls.
type JobPath = String;

/// What a workflow is given: by GitHub, or by the job that calls it.
struct Call<'a> {
    inputs: &'a Value,
    secrets: Value,
    /// `target 2/`; empty for a workflow that is not called.
    prefix: &'a str,
    /// The permissions of the calling job.
    permissions: Option<&'a BTreeMap<String, String>>,
}

impl SimulatedRun<'_> {
    /// Inputs that are not given stay unset, as in a scheduled run.
    pub(crate) fn workflow(&mut self, file: &str, inputs: &Value) -> Result<JobConclusions> {
        let mut conclusions = JobConclusions::default();
        let call = Call { inputs, secrets: self.settings.secrets(), prefix: "", permissions: None };
        self.jobs(file, &call, &mut conclusions)?;
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
        call: &Call<'_>,
        conclusions: &mut JobConclusions,
    ) -> Result<&'static str> {
        let workflow = WorkflowFile::read(&self.workflows.join(file))?;
        check_call(file, &workflow, call)?;
        let mut contexts = self.given.clone();
        contexts["inputs"] = call.inputs.clone();
        contexts["needs"] = json!({});
        let mut worst = "success";
        for job in &workflow.jobs {
            let result =
                self.job(job, &mut contexts, call, conclusions).context(format_args!("job {}", job.id))?;
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
        call: &Call<'_>,
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
        let path = format!("{}{}", call.prefix, job.id);
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
                let result = self.instance(job, &mut own, &path, call, conclusions, &mut outputs)?;
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
        call: &Call<'_>,
        conclusions: &mut JobConclusions,
        outputs: &mut Value,
    ) -> Result<&'static str> {
        match &job.body {
            JobBody::Call { file, with, secrets } => {
                let inputs = evaluated(with, contexts)?;
                contexts["secrets"] = call.secrets.clone();
                let called = Call {
                    inputs: &inputs,
                    secrets: evaluated(secrets, contexts)?,
                    prefix: &format!("{path}/"),
                    permissions: Some(&job.permissions),
                };
                self.jobs(file, &called, conclusions)
            }
            JobBody::Steps(steps) => {
                let Some(secrets) = self.secrets_of(job, contexts, call)? else { return Ok("failure") };
                contexts["secrets"] = secrets;
                let directory = self.directory.join("jobs").join(path.replace('/', "-"));
                fs::create_dir_all(&directory)?;
                contexts["steps"] = json!({});
                let mut running =
                    RunningJob { job, path, directory: &directory, is_installed: false, has_cache: false };
                let mut result = "success";
                for (number, step) in steps.iter().enumerate() {
                    if (result == "success" || step.always)
                        && !self.step(&mut running, step, number, contexts)?
                    {
                        result = "failure";
                    }
                }
                // Of a matrix, the last value that is not empty counts.
                for (name, value) in evaluated(&job.outputs, contexts)?.as_object().into_iter().flatten() {
                    if !as_text(value).is_empty() {
                        outputs[name] = value.clone();
                    }
                }
                Ok(result)
            }
        }
    }

    /// `None` if the job's environment does not allow the ref: the job fails before its first step.
    fn secrets_of(&self, job: &WorkflowJob, contexts: &Contexts, call: &Call<'_>) -> Result<Option<Value>> {
        let environment = job.environment.as_deref().map(|name| interpolate(name, contexts)).transpose()?;
        let environment = environment.map(|name| as_text(&name)).filter(|name| !name.is_empty());
        let Some(environment) = environment else { return Ok(Some(call.secrets.clone())) };
        let reference = as_text(&contexts["github"]["ref"]);
        self.settings.secrets_in(&environment, &reference, &call.secrets, !call.prefix.is_empty())
    }
}

/// GitHub does not start a run with such a call.
fn check_call(file: &str, workflow: &WorkflowFile, call: &Call<'_>) -> Result {
    let mut given = call.inputs.as_object().into_iter().flat_map(serde_json::Map::keys);
    if let Some(name) = given.find(|name| !workflow.defaults.contains_key(*name)) {
        return Err(format!("{file} has no input `{name}`").into());
    }
    let Some(permissions) = call.permissions else { return Ok(()) };
    if let Some(name) = workflow.required.iter().find(|name| call.inputs.get(name.as_str()).is_none()) {
        return Err(format!("{file} needs the input `{name}`").into());
    }
    let mut secrets = call.secrets.as_object().into_iter().flat_map(serde_json::Map::keys);
    if let Some(name) = secrets.find(|name| !workflow.secrets.contains(*name)) {
        return Err(format!("{file} has no secret `{name}`").into());
    }
    for job in &workflow.jobs {
        for (name, level) in &job.permissions {
            let given = permissions.get(name).map_or("none", String::as_str);
            if level != "none" && level != given && given != "write" {
                let job = &job.id;
                return Err(format!("{file}: {job} needs `{name}: {level}`, its caller has `{given}`").into());
            }
        }
    }
    Ok(())
}

fn include(matrix: &Value) -> Result<Vec<Value>> {
    let list = matrix["include"].as_array().filter(|_| matrix.as_object().is_some_and(|all| all.len() == 1));
    Ok(list.context("a matrix with anything but `include` is not supported")?.clone())
}

pub(super) fn value_of(value: &Value, contexts: &Contexts) -> Result<Value> {
    match value {
        Value::String(text) => interpolate(text, contexts),
        other => Ok(other.clone()),
    }
}

fn evaluated(members: &BTreeMap<String, Value>, contexts: &Contexts) -> Result<Value> {
    members.iter().map(|(name, value)| Ok((name.clone(), value_of(value, contexts)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_other_matrices() {
        assert!(include(&json!({"include": [1]})).is_ok());
        assert!(include(&json!({"include": [1], "exclude": []})).is_err());
    }
}
