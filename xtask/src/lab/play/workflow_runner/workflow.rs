//! Reads a workflow's YAML, and refuses what the interpreter does not support.

use std::collections::{BTreeMap, BTreeSet};
use std::{fs, path::Path};

use serde_json::Value;

use crate::error::{Context as _, Result};

/// A file of `.github/workflows`.
pub(super) struct WorkflowFile {
    /// All inputs, with their default values (null without one).
    pub(super) defaults: BTreeMap<String, Value>,
    /// Inputs that a caller must give.
    pub(super) required: Vec<String>,
    /// Those that a caller may give.
    pub(super) secrets: BTreeSet<String>,
    /// Each after those that it needs.
    pub(super) jobs: Vec<WorkflowJob>,
}

pub(super) struct WorkflowJob {
    pub(super) id: String,
    pub(super) needs: Vec<String>,
    pub(super) condition: Option<String>,
    pub(super) matrix: JobMatrix,
    pub(super) env: BTreeMap<String, Value>,
    pub(super) outputs: BTreeMap<String, Value>,
    pub(super) permissions: BTreeMap<String, String>,
    pub(super) environment: Option<String>,
    pub(super) body: JobBody,
}

/// How often a job runs, and with what in `matrix`.
pub(super) enum JobMatrix {
    /// Once, with nothing.
    None,
    /// An expression whose value has the whole list as `include`.
    Include(String),
    /// A name, and an expression whose value is the list of its values.
    Values(String, String),
}

impl JobMatrix {
    fn parse(matrix: &Value) -> Result<Self> {
        match matrix {
            Value::Null => Ok(Self::None),
            Value::String(include) => Ok(Self::Include(include.clone())),
            Value::Object(members) => match members.iter().collect::<Vec<_>>()[..] {
                [(name, Value::String(values))] => Ok(Self::Values(name.clone(), values.clone())),
                _ => Err("a matrix with more than one name, or with a list, is not supported".into()),
            },
            other => Err(format!("the matrix {other} is not supported").into()),
        }
    }
}

pub(super) enum JobBody {
    /// Another workflow of this repository, with inputs and secrets.
    Call {
        file: String,
        with: BTreeMap<String, Value>,
        secrets: BTreeMap<String, Value>,
    },
    Steps(Vec<WorkflowStep>),
}

pub(super) struct WorkflowStep {
    pub(super) id: Option<String>,
    /// `if: always()`
    pub(super) always: bool,
    pub(super) env: BTreeMap<String, Value>,
    pub(super) action: StepAction,
}

pub(super) enum StepAction {
    Run(String),
    /// Provides the repository, which this machine has already.
    Prepare,
    Cache,
    /// `.github/actions/compile`
    Compile,
    /// `.github/actions/zfs-kmods`; `digests` are the outputs of the job that compiled the program.
    Install {
        digests: String,
    },
    Upload {
        name: String,
        path: String,
    },
    Download {
        pattern: String,
        path: String,
    },
}

const WORKFLOW: &str = "name on permissions concurrency jobs";
const TRIGGERS: &str = "pull_request push schedule workflow_call workflow_dispatch";
const INPUT: &str = "default description options required type";
const SECRET: &str = "description required";
const JOB: &str = "name needs if strategy env environment outputs permissions runs-on timeout-minutes steps \
     uses with secrets";
const STEP: &str = "id if env run uses with";

impl WorkflowFile {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).context(file.display())?;
        Self::parse(&text).context(file.display())
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        known(&value, WORKFLOW)?;
        known(&value["on"], TRIGGERS)?;
        let mut defaults = BTreeMap::new();
        let mut required = Vec::new();
        for trigger in ["workflow_dispatch", "workflow_call"] {
            for (name, input) in members(&value["on"][trigger]["inputs"])? {
                known(&input, INPUT).context(format_args!("input {name}"))?;
                if input["required"] == true {
                    required.push(name.clone());
                }
                defaults.insert(name, input["default"].clone());
            }
        }
        let secrets = members(&value["on"]["workflow_call"]["secrets"])?;
        for (name, secret) in &secrets {
            known(secret, SECRET).context(format_args!("secret {name}"))?;
            if secret["required"] == true {
                // Whether a required secret may come from an environment is not documented.
                return Err(format!("the required secret {name} is not supported").into());
            }
        }
        let mut jobs = Vec::new();
        for (id, job) in value["jobs"].as_object().context("the workflow has no jobs")? {
            jobs.push(WorkflowJob::parse(id, job).context(format_args!("job {id}"))?);
        }
        Ok(Self { defaults, required, secrets: secrets.into_keys().collect(), jobs: in_order(jobs)? })
    }
}

/// Each job after those that it needs.
fn in_order(mut jobs: Vec<WorkflowJob>) -> Result<Vec<WorkflowJob>> {
    let mut ordered: Vec<WorkflowJob> = Vec::new();
    while !jobs.is_empty() {
        let done = |need: &String| ordered.iter().any(|job| job.id == *need);
        let ready = jobs.iter().position(|job| job.needs.iter().all(done));
        let circular =
            || format!("job {}: `needs` names a job that does not exist, or is circular", jobs[0].id);
        let ready = ready.ok_or_else(circular)?;
        ordered.push(jobs.remove(ready));
    }
    Ok(ordered)
}

impl WorkflowJob {
    fn parse(id: &str, job: &Value) -> Result<Self> {
        known(job, JOB)?;
        let needs = match &job["needs"] {
            Value::Null => Vec::new(),
            Value::String(one) => vec![one.clone()],
            many => serde_json::from_value(many.clone()).context("`needs`")?,
        };
        if job["strategy"].is_object() {
            known(&job["strategy"], "fail-fast matrix")?;
            if job["strategy"]["fail-fast"] != false {
                return Err("`fail-fast` must be false: with it, one target stops the others".into());
            }
        }
        let body = if let Some(file) = job["uses"].as_str() {
            let file = file.strip_prefix("./.github/workflows/");
            let file = file.context("a workflow of another repository is not supported")?.to_owned();
            JobBody::Call { file, with: members(&job["with"])?, secrets: members(&job["secrets"])? }
        } else {
            let steps = job["steps"].as_array().context("the job has neither `steps` nor `uses`")?;
            JobBody::Steps(steps.iter().map(WorkflowStep::parse).collect::<Result<_>>()?)
        };
        Ok(Self {
            id: id.to_owned(),
            needs,
            condition: text(&job["if"], "if")?,
            matrix: JobMatrix::parse(&job["strategy"]["matrix"])?,
            env: members(&job["env"])?,
            outputs: members(&job["outputs"])?,
            permissions: permissions(&job["permissions"])?,
            environment: text(&job["environment"], "environment")?,
            body,
        })
    }

    /// Whether it may write.
    pub(super) fn may(&self, permission: &str) -> bool {
        self.permissions.get(permission).is_some_and(|level| level == "write")
    }
}

fn permissions(value: &Value) -> Result<BTreeMap<String, String>> {
    let level = |(name, level): (String, Value)| match level.as_str() {
        Some(level @ ("none" | "read" | "write")) => Ok((name, level.to_owned())),
        _ => Err(format!("the permission `{name}: {level}` is not supported").into()),
    };
    members(value)?.into_iter().map(level).collect()
}

impl WorkflowStep {
    fn parse(step: &Value) -> Result<Self> {
        known(step, STEP)?;
        let with = &step["with"];
        let argument =
            |name: &str| text(&with[name], name)?.context(format_args!("the action needs `{name}`"));
        let action = match (step["run"].as_str(), step["uses"].as_str()) {
            (Some(line), None) => StepAction::Run(line.to_owned()),
            (None, Some("./.github/actions/compile")) => StepAction::Compile,
            (None, Some("./.github/actions/zfs-kmods")) => {
                known(with, "digests qemu")?;
                StepAction::Install { digests: argument("digests")? }
            }
            (None, Some(action)) => match action.split_once('@').map(|(name, _)| name) {
                Some("actions/checkout") => StepAction::Prepare,
                // The lab keeps the program's cache between runs.
                Some("actions/cache") => StepAction::Cache,
                Some("actions/upload-artifact") => {
                    known(with, "name path retention-days")?;
                    StepAction::Upload { name: argument("name")?, path: argument("path")? }
                }
                Some("actions/download-artifact") => {
                    known(with, "pattern path merge-multiple")?;
                    if with["merge-multiple"] != true {
                        return Err("download-artifact is only supported with `merge-multiple`".into());
                    }
                    StepAction::Download { pattern: argument("pattern")?, path: argument("path")? }
                }
                _ => return Err(format!("the action {action} is not supported").into()),
            },
            _ => return Err("a step has either `run` or `uses`".into()),
        };
        let always = match text(&step["if"], "if")?.as_deref() {
            None => false,
            Some("always()") => true,
            Some(other) => return Err(format!("the step condition `{other}` is not supported").into()),
        };
        Ok(Self { id: text(&step["id"], "id")?, always, env: members(&step["env"])?, action })
    }
}

/// Refuses other keys than these, which are separated by spaces.
fn known(value: &Value, keys: &str) -> Result {
    let unknown = |key: &str| keys.split(' ').all(|known| known != key);
    let unknown = value.as_object().into_iter().flatten().find(|(key, _)| unknown(key));
    unknown.map_or(Ok(()), |(key, _)| Err(format!("the key `{key}` is not supported").into()))
}

fn text(value: &Value, key: &str) -> Result<Option<String>> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        other => Err(format!("`{key}: {other}` is not supported, only text").into()),
    }
}

fn members(value: &Value) -> Result<BTreeMap<String, Value>> {
    match value {
        Value::Null => Ok(BTreeMap::new()),
        Value::Object(members) => Ok(members.clone().into_iter().collect()),
        other => Err(format!("{other} is not supported here, only names with values").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(on: &str, job: &str) -> Result {
        WorkflowFile::parse(&format!("on: {on}\njobs:\n  a:\n{job}")).map(drop)
    }

    #[test]
    fn refuses_what_it_does_not_support_and_names_it() {
        assert!(parse("push", "    steps:\n      - run: zfs-kmods plan\n").is_ok());
        for (job, named) in [
            ("    container: debian\n    steps: []\n", "`container`"),
            ("    needs: b\n    steps: []\n", "does not exist"),
            ("    needs: a\n    steps: []\n", "circular"),
            ("    needs: [1]\n    steps: []\n", "`needs`"),
            ("    if: true\n    steps: []\n", "`if: true`"),
            ("    env: text\n    steps: []\n", "\"text\""),
            ("    environment: {name: x, url: y}\n    steps: []\n", "`environment"),
            ("    permissions: read-all\n    steps: []\n", "\"read-all\""),
            ("    permissions: {packages: all}\n    steps: []\n", "`packages: \"all\"`"),
            ("    uses: somebody/else/.github/workflows/x.yml@0\n", "another repository"),
            ("    uses: ./.github/workflows/x.yml\n    secrets: inherit\n", "\"inherit\""),
            ("    runs-on: x\n", "neither `steps` nor `uses`"),
            ("    strategy:\n      matrix: x\n    steps: []\n", "`fail-fast`"),
            ("    strategy:\n      max-parallel: 1\n    steps: []\n", "`max-parallel`"),
            (
                "    strategy:\n      fail-fast: false\n      matrix: {a: x, b: y}\n    steps: []\n",
                "more than one name",
            ),
            ("    strategy:\n      fail-fast: false\n      matrix: [a]\n    steps: []\n", "the matrix"),
        ] {
            let error = parse("push", job).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("job a"), "{job}: {error}");
        }
    }

    #[test]
    fn refuses_steps_that_it_does_not_support() {
        for (step, named) in [
            ("run: zfs-kmods plan\n        shell: bash", "`shell`"),
            ("run: zfs-kmods plan\n        continue-on-error: true", "`continue-on-error`"),
            ("run: zfs-kmods plan\n        if: failure()", "`failure()`"),
            ("run: zfs-kmods plan\n        uses: actions/checkout@0", "either `run` or `uses`"),
            ("id: x", "either `run` or `uses`"),
            ("uses: somebody/else@0", "somebody/else@0"),
            ("uses: ./.github/actions/other", "./.github/actions/other"),
            ("uses: ./.github/actions/zfs-kmods", "`digests`"),
            (
                "uses: actions/upload-artifact@0\n        with: {name: x, path: y, overwrite: true}",
                "`overwrite`",
            ),
            ("uses: actions/upload-artifact@0\n        with: {name: x}", "`path`"),
            ("uses: actions/download-artifact@0\n        with: {pattern: x, path: y}", "`merge-multiple`"),
        ] {
            let error = parse("push", &format!("    steps:\n      - {step}\n")).unwrap_err().to_string();
            assert!(error.contains(named), "{step}: {error}");
        }
    }

    #[test]
    fn refuses_triggers_and_inputs_that_it_does_not_support() {
        for (on, named) in [
            ("{issues: {}}", "`issues`"),
            ("{workflow_call: {inputs: {x: {deprecationMessage: y}}}}", "`deprecationMessage`"),
            ("{workflow_call: {secrets: {x: {required: true}}}}", "secret x"),
        ] {
            let error = parse(on, "    steps: []\n").unwrap_err().to_string();
            assert!(error.contains(named), "{on}: {error}");
        }
        assert!(WorkflowFile::parse("on: push\ndefaults: {}\njobs: {}\n").is_err());
        assert!(WorkflowFile::parse("on: push\n").is_err());
    }
}
