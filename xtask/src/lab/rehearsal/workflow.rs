//! A workflow as it stands in the YAML. What the rehearsal does not know, it refuses: a key that is skipped would be a
//! rehearsal of something else.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::error::{Context as _, Result};

/// A file of `.github/workflows`.
pub(super) struct Workflow {
    /// The values that its inputs have if nobody gives any.
    pub(super) defaults: BTreeMap<String, Value>,
    /// In an order in which each comes after those that it needs.
    pub(super) jobs: Vec<Job>,
}

pub(super) struct Job {
    pub(super) id: String,
    pub(super) needs: Vec<String>,
    /// As it stands there.
    pub(super) condition: Option<String>,
    pub(super) matrix: Matrix,
    pub(super) env: BTreeMap<String, Value>,
    pub(super) outputs: BTreeMap<String, Value>,
    pub(super) may_have_identity: bool,
    pub(super) work: Work,
}

/// How often a job runs, and with what in `matrix`.
pub(super) enum Matrix {
    /// Once, with nothing.
    None,
    /// An expression whose value has the whole list as `include`.
    Include(String),
    /// A name, and an expression whose value is the list of its values.
    Values(String, String),
}

impl Matrix {
    fn parse(matrix: &Value) -> Result<Self> {
        match matrix {
            Value::Null => Ok(Self::None),
            Value::String(include) => Ok(Self::Include(include.clone())),
            Value::Object(members) => match members.iter().next() {
                Some((name, Value::String(values))) if members.len() == 1 => {
                    Ok(Self::Values(name.clone(), values.clone()))
                }
                _ => Err("a matrix has one name and an expression here".into()),
            },
            other => Err(format!("a matrix is not {other}").into()),
        }
    }
}

pub(super) enum Work {
    /// Another workflow of this repository, with inputs and secrets.
    Call {
        file: String,
        with: BTreeMap<String, Value>,
        secrets: BTreeMap<String, Value>,
    },
    Steps(Vec<Step>),
}

pub(super) struct Step {
    pub(super) id: Option<String>,
    /// The step comes also after a failure.
    pub(super) always: bool,
    pub(super) env: BTreeMap<String, Value>,
    pub(super) act: Act,
}

pub(super) enum Act {
    Run(String),
    /// What brings repository and program onto the machine; here they are there.
    Prepare,
    Upload {
        name: String,
        path: String,
    },
    Download {
        pattern: String,
        path: String,
    },
}

const WORKFLOW: &[&str] = &["name", "on", "permissions", "concurrency", "jobs"];
const JOB: &[&str] = &[
    "name",
    "needs",
    "if",
    "strategy",
    "env",
    "outputs",
    "permissions",
    "runs-on",
    "timeout-minutes",
    "steps",
    "uses",
    "with",
    "secrets",
];
const STEP: &[&str] = &["id", "if", "env", "run", "uses", "with"];

impl Workflow {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).context(file.display())?;
        Self::parse(&text).context(file.display())
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        known(&value, WORKFLOW)?;
        let inputs = [&value["on"]["workflow_dispatch"]["inputs"], &value["on"]["workflow_call"]["inputs"]];
        let inputs = inputs.into_iter().filter_map(Value::as_object).flatten();
        let defaults = inputs.map(|(name, input)| (name.clone(), input["default"].clone())).collect();
        let mut jobs = Vec::new();
        for (id, job) in value["jobs"].as_object().context("there are no jobs")? {
            jobs.push(Job::parse(id, job).context(format_args!("job {id}"))?);
        }
        Ok(Self { defaults, jobs: in_order(jobs)? })
    }
}

/// Each job after those that it needs.
fn in_order(mut jobs: Vec<Job>) -> Result<Vec<Job>> {
    let mut ordered: Vec<Job> = Vec::new();
    while !jobs.is_empty() {
        let done = |need: &String| ordered.iter().any(|job| job.id == *need);
        let ready = jobs.iter().position(|job| job.needs.iter().all(done));
        ordered.push(jobs.remove(ready.context("a job needs one that never runs")?));
    }
    Ok(ordered)
}

impl Job {
    fn parse(id: &str, job: &Value) -> Result<Self> {
        known(job, JOB)?;
        let needs = match &job["needs"] {
            Value::Null => Vec::new(),
            Value::String(one) => vec![one.clone()],
            Value::Array(many) => many.iter().filter_map(|need| Some(need.as_str()?.to_owned())).collect(),
            other => return Err(format!("`needs` is {other}").into()),
        };
        if job["strategy"].is_object() {
            known(&job["strategy"], &["fail-fast", "matrix"])?;
            if job["strategy"]["fail-fast"] != false {
                return Err("one target would stop the others: `fail-fast` must be false".into());
            }
        }
        let work = if let Some(file) = job["uses"].as_str() {
            Work::Call {
                file: file.strip_prefix("./.github/workflows/").context("not a workflow of ours")?.to_owned(),
                with: members(&job["with"]),
                secrets: members(&job["secrets"]),
            }
        } else {
            let steps = job["steps"].as_array().context("neither `steps` nor `uses`")?;
            Work::Steps(steps.iter().map(Step::parse).collect::<Result<_>>()?)
        };
        Ok(Self {
            id: id.to_owned(),
            needs,
            condition: job["if"].as_str().map(str::to_owned),
            matrix: Matrix::parse(&job["strategy"]["matrix"])?,
            env: members(&job["env"]),
            outputs: members(&job["outputs"]),
            may_have_identity: job["permissions"]["id-token"] == "write",
            work,
        })
    }
}

impl Step {
    fn parse(step: &Value) -> Result<Self> {
        known(step, STEP)?;
        let with = &step["with"];
        let text = |name: &str| with[name].as_str().map(str::to_owned).context(format_args!("no `{name}`"));
        let act = match (step["run"].as_str(), step["uses"].as_str()) {
            (Some(line), None) => Act::Run(line.to_owned()),
            (None, Some("./.github/actions/zfs-kmods")) => Act::Prepare,
            (None, Some(action)) => match action.split_once('@').map(|(name, _)| name) {
                // What the program keeps between runs is kept here as well.
                Some("actions/checkout" | "actions/cache") => Act::Prepare,
                Some("actions/upload-artifact") => {
                    known(with, &["name", "path", "retention-days"])?;
                    Act::Upload { name: text("name")?, path: text("path")? }
                }
                Some("actions/download-artifact") => {
                    known(with, &["pattern", "path", "merge-multiple"])?;
                    if with["merge-multiple"] != true {
                        return Err("artifacts are only merged here".into());
                    }
                    Act::Download { pattern: text("pattern")?, path: text("path")? }
                }
                _ => return Err(format!("the action {action} is not known here").into()),
            },
            _ => return Err("a step is either `run` or `uses`".into()),
        };
        let always = match step["if"].as_str() {
            None => false,
            Some("always()") => true,
            Some(other) => return Err(format!("a step's condition is `always()` here, not {other}").into()),
        };
        Ok(Self { id: step["id"].as_str().map(str::to_owned), always, env: members(&step["env"]), act })
    }
}

fn known(value: &Value, keys: &[&str]) -> Result {
    let unknown = value.as_object().into_iter().flatten().find(|(key, _)| !keys.contains(&key.as_str()));
    unknown.map_or(Ok(()), |(key, _)| Err(format!("`{key}` is not known here").into()))
}

fn members(value: &Value) -> BTreeMap<String, Value> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused() {
        let job = |job: &str| Workflow::parse(&format!("on: push\njobs:\n  a:\n{job}")).map(|_| ());
        assert!(job("    steps:\n      - run: zfs-kmods plan\n").is_ok());
        for other in [
            "    steps:\n      - run: zfs-kmods plan\n        shell: bash\n",
            "    steps:\n      - uses: somebody/else@0\n",
            "    steps:\n      - run: zfs-kmods plan\n        if: failure()\n",
            "    container: debian\n    steps: []\n",
            "    needs: b\n    steps: []\n",
            "    uses: somebody/else/.github/workflows/x.yml@0\n",
            "    strategy:\n      matrix: x\n    steps: []\n",
        ] {
            assert!(job(other).is_err(), "{other}");
        }
    }
}
