//! Jobs with secrets or permissions to write run nothing but the program that a job without any compiled, and only a job of
//! `main` names the keys.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::source::root;

type Workflows = BTreeMap<String, Value>;

const MAIN: &str = "github.ref == 'refs/heads/main'";
/// What a privileged job may use.
const HARMLESS: [&str; 4] = [
    "actions/checkout@",
    "actions/upload-artifact@",
    "actions/download-artifact@",
    "./.github/actions/zfs-kmods",
];

fn workflows() -> Workflows {
    let read = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).unwrap();
        (entry.file_name().into_string().unwrap(), serde_saphyr::from_str(&text).unwrap())
    };
    fs::read_dir(root().join(".github/workflows")).unwrap().map(Result::unwrap).map(read).collect()
}

fn jobs(workflow: &Value) -> impl Iterator<Item = (&String, &Value)> {
    workflow["jobs"].as_object().unwrap().iter()
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().map_or(&[], Vec::as_slice)
}

fn names_keys(value: &Value) -> bool {
    value.to_string().contains("secrets.")
}

fn is_privileged(job: &Value) -> bool {
    let permissions = job["permissions"].as_object().into_iter().flatten();
    let writes = permissions.filter(|(_, level)| *level == "write").count() > 0;
    writes || job["environment"].is_string() || names_keys(job)
}

/// Whether the condition is false for every other branch.
fn is_limited_to_main(job: &Value) -> bool {
    let condition = job["if"].as_str().unwrap_or_default();
    let condition = condition.trim_start_matches("${{").trim_end_matches("}}");
    !condition.contains("||") && condition.split("&&").any(|part| part.trim() == MAIN)
}

/// Whether an event of a branch or of a pull request starts it.
fn starts_from_branches(workflow: &Value) -> bool {
    let on = &workflow["on"];
    let push = &on["push"];
    let pushed = push.is_object() && push["branches"] != json!(["main"]);
    pushed || on["workflow_dispatch"].is_object() || !on["pull_request"].is_null()
}

/// Files whose jobs a branch can start.
fn reachable_from_branches(workflows: &Workflows) -> Vec<&str> {
    let mut reached: Vec<&str> = workflows
        .iter()
        .filter(|(_, workflow)| starts_from_branches(workflow))
        .map(|(file, _)| file.as_str())
        .collect();
    let mut next = 0;
    while next < reached.len() {
        for (_, job) in jobs(&workflows[reached[next]]) {
            let called = job["uses"].as_str().and_then(|path| path.strip_prefix("./.github/workflows/"));
            if let Some(called) = called.filter(|file| !is_limited_to_main(job) && !reached.contains(file)) {
                reached.push(called);
            }
        }
        next += 1;
    }
    reached
}

fn violations(workflows: &Workflows) -> Vec<String> {
    let reachable = reachable_from_branches(workflows);
    let mut found = Vec::new();
    for (file, workflow) in workflows {
        for (id, job) in jobs(workflow) {
            let place = format!("{file}: {id}");
            let from_branch = reachable.contains(&file.as_str()) && !is_limited_to_main(job);
            if from_branch && (names_keys(job) || job["environment"].is_string()) {
                found.push(format!("{place}: a branch reaches a job that names the keys"));
            }
            if steps(job).iter().any(names_keys) && job["environment"] != "signing" {
                found.push(format!("{place}: keys outside the environment"));
            }
            if !is_privileged(job) {
                continue;
            }
            for step in steps(job) {
                let uses = step["uses"].as_str().unwrap_or_default();
                let run = step["run"].as_str().unwrap_or_default();
                if !HARMLESS.iter().any(|harmless| uses.starts_with(harmless))
                    && !run.starts_with("zfs-kmods ")
                {
                    found.push(format!("{place}: a privileged job has `{uses}{run}`"));
                }
            }
        }
    }
    found
}

#[test]
fn privileged_jobs_compile_nothing_and_restore_no_cache_and_only_main_has_the_keys() {
    let workflows = workflows();
    assert_eq!(violations(&workflows), Vec::<String>::new());
    let install = fs::read_to_string(root().join(".github/actions/zfs-kmods/action.yml")).unwrap();
    assert!(!install.contains("cargo") && !install.contains("actions/cache"), "{install}");
    let compiling: Vec<_> =
        workflows.values().flat_map(jobs).filter(|(_, job)| job.to_string().contains("/compile")).collect();
    assert!(compiling.len() >= 2 && compiling.iter().all(|(_, job)| !is_privileged(job)), "{compiling:?}");
}

#[test]
fn planted_faults_of_workflows_are_found() {
    let planted = |change: &dyn Fn(&mut Workflows)| {
        let mut workflows = workflows();
        change(&mut workflows);
        violations(&workflows)
    };
    let step = |file: &'static str, job: &'static str, step: Value| {
        planted(&move |workflows: &mut Workflows| {
            let steps = workflows.get_mut(file).unwrap()["jobs"][job]["steps"].as_array_mut().unwrap();
            steps.push(step.clone());
        })
    };
    let cache = json!({"uses": "actions/cache@0057852bfaa89a56745cba8c7296529d2fc39830"});
    let cached = [
        "cleanup.yml: cleanup: a privileged job has `actions/cache@0057852bfaa89a56745cba8c7296529d2fc39830`",
    ];
    assert_eq!(step("cleanup.yml", "cleanup", cache.clone()), cached);
    assert_eq!(step("publish.yml", "plan", cache), Vec::<String>::new(), "it may only read");
    let cargo = json!({"run": "cargo build --release"});
    assert_eq!(
        step("target.yml", "build", cargo.clone()),
        ["target.yml: build: a privileged job has `cargo build --release`"]
    );
    assert_eq!(step("publish.yml", "report", cargo).len(), 1);
    assert_eq!(step("target.yml", "sign", json!({"uses": "./.github/actions/compile"})).len(), 1);

    let key = json!({"run": "zfs-kmods build", "env": {"ZFS_KMODS_KEY_PEM": "${{ secrets.ZFS_KMODS_KEY }}"}});
    let reached = "target.yml: build: a branch reaches a job that names the keys";
    assert_eq!(
        step("target.yml", "build", key),
        [reached, "target.yml: build: keys outside the environment"]
    );
    let unlimited = planted(&|workflows| {
        workflows.get_mut("target.yml").unwrap()["jobs"]["sign"]["if"] = json!("${{ !cancelled() }}");
    });
    assert_eq!(unlimited, ["target.yml: sign: a branch reaches a job that names the keys"]);
    let either = planted(&|workflows| {
        let condition = format!("${{{{ always() || {MAIN} && true }}}}");
        workflows.get_mut("target.yml").unwrap()["jobs"]["sign"]["if"] = json!(condition);
    });
    assert_eq!(either, unlimited);
    let given = planted(&|workflows| {
        let jobs = &mut workflows.get_mut("publish.yml").unwrap()["jobs"];
        jobs["branch-target"]["secrets"] = jobs["target"]["secrets"].clone();
    });
    assert_eq!(given, ["publish.yml: branch-target: a branch reaches a job that names the keys"]);
    let without = planted(&|workflows| {
        workflows.get_mut("target.yml").unwrap()["jobs"]["sign"]["environment"] = Value::Null;
    });
    assert_eq!(without, ["target.yml: sign: keys outside the environment"]);
}
