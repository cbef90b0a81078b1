//! The workflows use only commands, flags and outputs of the program, and contain no logic.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Parser as _;
use kmod_builder::cli::Cli;
use kmod_builder::model::ci_report::{self, OUTPUTS, RUNNERS};
use kmod_builder::model::plan::{BuildDecision, Plan, PlannedTarget};
use kmod_query::Stream;
use serde_json::Value;

use crate::images;

/// The workflows of the service; those that only test run `.ci/run`.
const SERVICE: [&str; 3] = ["publish.yml", "target.yml", "cleanup.yml"];
const TESTS: [&str; 2] = ["ci.yml", "docs.yml"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.github/workflows")
}

fn workflow(name: &str) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

fn action(name: &str) -> Value {
    let file = folder().join("../actions").join(name).join("action.yml");
    serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn jobs(workflow: &Value) -> Vec<(&str, &Value)> {
    workflow["jobs"].as_object().unwrap().iter().map(|(name, job)| (name.as_str(), job)).collect()
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().map_or(&[], Vec::as_slice)
}

/// The words of a line with its variables replaced. Other features of the shell are rejected.
fn words(line: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    line.split(' ')
        .map(|word| {
            let bare = word.trim_matches('"');
            if let Some(name) = bare.strip_prefix('$') {
                assert_eq!(word, format!("\"${name}\""), "{line}: a variable must be quoted");
                return variables.get(name).unwrap_or_else(|| panic!("{line}: {name} is not set")).clone();
            }
            let logic = ['"', '\'', '$', '`', '|', '&', ';', '<', '>', '*', '\n'];
            assert!(!word.is_empty() && !word.contains(logic), "{line}: `{word}` is logic");
            word.to_owned()
        })
        .collect()
}

/// An example value of a variable.
fn example(name: &str) -> String {
    match name {
        "STREAMS" => "stable,testing".into(),
        "ARCHES" => "x86_64,aarch64".into(),
        "ZFS" => "newest".into(),
        "IMAGE" => "docker://ghcr.io/owner/zfs-kmods".into(),
        "TESTED" | "PUBLISHED" => format!("docker://ghcr.io/owner/zfs-kmods@sha256:{}", "0".repeat(64)),
        "INPUTS" => "{}".into(),
        "CHANNEL" => "stable".into(),
        "OLDER_THAN" => "90d".into(),
        "KEEP_NEWEST" => "3".into(),
        "GITHUB_REPOSITORY" => "owner/zfs-kmods".into(),
        "GITHUB_REF" => "refs/heads/main".into(),
        other => format!("a value of {other}"),
    }
}

fn lines() -> Vec<(String, String, Value, Value)> {
    let mut all = Vec::new();
    for name in SERVICE {
        let workflow = workflow(name);
        for (job, content) in jobs(&workflow) {
            for step in steps(content) {
                if let Some(line) = step["run"].as_str() {
                    all.push((format!("{name}: {job}"), line.to_owned(), content.clone(), step.clone()));
                }
            }
        }
    }
    all
}

#[test]
fn the_program_accepts_every_command_line() {
    let mut verbs = BTreeSet::new();
    for (place, line, job, step) in lines() {
        let parts = [&job["env"], &step["env"]].into_iter().filter_map(Value::as_object);
        let names = parts.flat_map(serde_json::Map::keys).map(String::as_str);
        let names = names.chain(["GITHUB_REPOSITORY", "GITHUB_REF"]);
        let variables = names.map(|name| (name.to_owned(), example(name))).collect();
        let words = words(&line, &variables);
        assert_eq!(words[0], "zfs-kmods", "{place}: {line}");
        verbs.insert(words[1].clone());
        if let Err(error) = Cli::try_parse_from(&words) {
            panic!("{place}: {line}\n{error}");
        }
    }
    let expected = ["boot-test", "build", "cleanup", "plan", "promote", "recall", "report", "sign"];
    assert_eq!(verbs.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn test_workflows_run_the_ci_script() {
    for name in TESTS {
        let workflow = workflow(name);
        for (_, job) in jobs(&workflow) {
            let lines: Vec<_> = steps(job).iter().filter_map(|step| step["run"].as_str()).collect();
            assert!(matches!(lines[..], [".ci/run" | ".ci/run --quick"]), "{name}: {lines:?}");
        }
    }
    let files = std::fs::read_dir(folder()).unwrap();
    let all: BTreeSet<_> = files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let known: BTreeSet<_> = SERVICE.iter().chain(&TESTS).map(|name| (*name).to_owned()).collect();
    assert_eq!(all, known, "an untested workflow");
}

/// The expressions between `${{` and `}}` in a value.
fn expressions(value: &Value) -> Vec<String> {
    let text = value.to_string();
    text.split("${{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim().to_owned()).collect()
}

#[test]
fn every_output_that_is_read_is_written_by_a_step() {
    let mut read = 0;
    for name in SERVICE {
        let workflow = workflow(name);
        let jobs: BTreeMap<_, _> = jobs(&workflow).into_iter().collect();
        for (job_name, job) in &jobs {
            let verbs: BTreeMap<_, _> = steps(job)
                .iter()
                .filter_map(|step| Some((step["id"].as_str()?, step["run"].as_str()?.split(' ').nth(1)?)))
                .collect();
            for expression in expressions(job) {
                let words = expression.split([' ', '(', ')', ',', '!']);
                for path in words.filter(|word| word.contains(".outputs.")) {
                    read += 1;
                    let parts: Vec<_> = path.split('.').collect();
                    let place = format!("{name}: {job_name}: {path}");
                    match parts[..] {
                        ["steps", "compile", "outputs", output] => {
                            assert!(action("compile")["outputs"][output].is_object(), "{place}");
                        }
                        ["steps", id, "outputs", output] => {
                            let verb = verbs.get(id).unwrap_or_else(|| panic!("{place}: no such step"));
                            let written = OUTPUTS.iter().find(|(of, _)| of == verb);
                            let (_, written) =
                                written.unwrap_or_else(|| panic!("{place}: `{verb}` writes nothing"));
                            assert!(written.contains(&output), "{place}: `{verb}` writes {written:?}");
                        }
                        ["needs", other, "outputs", output] => {
                            assert!(job["needs"].to_string().contains(other), "{place}: not needed");
                            assert!(jobs[other]["outputs"][output].is_string(), "{place}: no such output");
                        }
                        _ => panic!("{place}"),
                    }
                }
            }
        }
    }
    assert!(read >= 7, "only {read} outputs were found");
}

#[test]
fn the_matrix_has_every_input_of_its_jobs() {
    let (publish, target) = (workflow("publish.yml"), workflow("target.yml"));
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let (job, of_branch) = (&publish["jobs"]["target"], &publish["jobs"]["branch-target"]);
    assert_eq!(names(&job["with"]), names(&target["on"]["workflow_call"]["inputs"]));
    assert_eq!(names(&job["secrets"]), names(&target["on"]["workflow_call"]["secrets"]));
    // A branch's job differs in its condition, and has no secrets.
    let mut same = job.clone();
    same.as_object_mut().unwrap().remove("secrets");
    same["if"] = job["if"].as_str().unwrap().replace("github.ref == ", "github.ref != ").into();
    assert_eq!(*of_branch, same);
    // The same members that `plan` writes.
    let inputs = images::inputs();
    let decision = BuildDecision::Build { inputs: Box::new(inputs.clone()), reason: String::new() };
    let planned =
        PlannedTarget { target: inputs.target(), sources: vec!["stable".into()], channels: None, decision };
    let plan = Plan::new(vec![planned], Vec::new(), Vec::new());
    let members = names(&serde_json::to_value(&ci_report::jobs(&plan, None)[0]).unwrap());
    for expression in expressions(job) {
        for path in expression.split(['(', ')', ' ']).filter_map(|word| word.strip_prefix("matrix.")) {
            assert!(members.contains(path), "matrix.{path} is not in {members:?}");
        }
    }
    // Every architecture that is planned has a machine.
    let arches = publish["jobs"]["plan"]["env"]["ARCHES"].as_str().unwrap();
    let arches = arches.split('\'').nth(1).unwrap();
    for arch in arches.split(',') {
        assert!(RUNNERS.iter().any(|(of, _)| *of == arch), "{arch}");
    }
    // The program is compiled on each of them.
    let compiled = publish["jobs"]["program"]["strategy"]["matrix"]["runner"].as_str().unwrap();
    for (_, runner) in RUNNERS {
        assert!(compiled.contains(&format!("\"{runner}\"")), "{runner}");
    }
}

/// An empty list means the sources of the configuration, and without one the streams that the form names.
#[test]
fn a_run_without_a_choice_plans_the_configured_sources() {
    let publish = workflow("publish.yml");
    let streams: Vec<_> = Stream::with_channel().map(Stream::name).collect();
    let input = &publish["on"]["workflow_dispatch"]["inputs"]["streams"];
    assert_eq!(input["default"], "");
    let shown = input["description"].as_str().unwrap();
    assert!(shown.ends_with(&format!("zfs-kmods.toml, or {}", streams.join(","))), "{shown}");
    let scheduled = publish["jobs"]["plan"]["env"]["STREAMS"].as_str().unwrap();
    assert!(scheduled.contains("|| ''"), "{scheduled}");
}

#[test]
fn jobs_have_only_the_permissions_they_need() {
    for name in SERVICE.iter().chain(&TESTS) {
        let workflow = workflow(name);
        assert_eq!(workflow["permissions"], serde_json::json!({}), "{name}");
        for (job, content) in jobs(&workflow) {
            let place = format!("{name}: {job}");
            let permissions = content["permissions"].as_object().unwrap_or_else(|| panic!("{place}"));
            let known = ["contents", "packages", "id-token", "issues"];
            assert!(permissions.keys().all(|of| known.contains(&&**of)), "{place}");
            assert_eq!(permissions["contents"], "read", "{place}");
            assert!(content["uses"].is_string() || content["timeout-minutes"].is_number(), "{place}");
            assert!(!content["env"].to_string().contains("secrets."), "{place}: a secret for every step");
            assert!(!content["env"].to_string().contains("token"), "{place}: a token for every step");
            for step in steps(content) {
                let has_key = step["env"].to_string().contains("secrets.");
                assert!(
                    !has_key || content["environment"] == "signing",
                    "{place}: a key outside its environment"
                );
                if step["uses"].as_str().is_some_and(|action| action.starts_with("actions/checkout@")) {
                    assert_eq!(step["with"]["persist-credentials"], false, "{place}");
                }
                assert!(!step["run"].to_string().contains("${{"), "{place}: an expression in a script");
            }
        }
    }
}
