use std::path::Path;

use serde_json::{Value, json};

use super::{Executor, RunLine, SimulatedRun};
use crate::{error::Result, tools};

/// Writes what the program would, and keeps what it was told.
#[derive(Default)]
struct Recorder {
    matrix: Value,
    /// Command and job of what fails.
    fails: Option<(&'static str, &'static str)>,
    lines: Vec<Vec<String>>,
    identities: Vec<String>,
    tokens: Vec<String>,
    dry_run: Option<String>,
}

impl Executor for Recorder {
    fn run(&mut self, line: &RunLine<'_>) -> Result<i32> {
        let command = line.words[0].clone();
        let outputs = match command.as_str() {
            "plan" => {
                let anything = self.matrix["include"].as_array().is_some_and(|jobs| !jobs.is_empty());
                format!("build={anything}\nmatrix={}\n", self.matrix)
            }
            "build" => {
                format!("digest=sha256:x\nimage=docker://image/{}\n", line.environment["ZFS_KMODS_TARGET"])
            }
            _ => String::new(),
        };
        std::fs::write(&line.environment["GITHUB_OUTPUT"], outputs)?;
        if let Some(records) = line.environment.get("ZFS_KMODS_RECORD") {
            let records = line.directory.join(records);
            std::fs::create_dir_all(&records)?;
            let target = line.environment.get("ZFS_KMODS_TARGET").map_or("", String::as_str);
            // A promotion for each channel, as the program names them by their lines.
            let channel = if command == "promote" { format!(".{}", line.words[3]) } else { String::new() };
            std::fs::write(records.join(format!("{command}.{target}{channel}.json")), line.job)?;
        }
        if command == "report" {
            let mut records: Vec<_> = std::fs::read_dir(line.directory.join("records"))?
                .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
                .collect::<std::io::Result<_>>()?;
            records.sort();
            self.lines.push(records);
        }
        if command == "cleanup" {
            self.dry_run = line.environment.get("ZFS_KMODS_DRY_RUN").cloned();
        }
        if line.may_have_identity {
            self.identities.push(line.job.to_owned());
        }
        if line.environment.get("GITHUB_TOKEN").is_some_and(|token| token == "token") {
            self.tokens.push(command.clone());
        }
        self.lines.push(line.words.clone());
        Ok(i32::from(self.fails == Some((&command, line.job))))
    }
}

fn target(tag: &str) -> Value {
    json!({"tag": tag, "runner": "ubuntu-24.04", "channel": "stable", "channels": ["stable", "testing"],
           "steps": ["build", "boot-test", "promote"], "digest": "",
           "inputs": {"zfs": "2.4.3", "nested": {"a": [1]}}})
}

/// Runs a workflow of this repository; returns the conclusions of its jobs.
fn simulate(recorder: &mut Recorder, file: &str, event: &str, inputs: &Value) -> Vec<(String, &'static str)> {
    let directory = tempfile::tempdir().expect("a directory");
    let given = json!({
        "github": {"event_name": event, "ref": "refs/heads/main", "repository": "owner/zfs-kmods", "token": "token"},
        "vars": {},
        "secrets": {"ZFS_KMODS_KEY": "the key"},
    });
    let environment = [("GITHUB_REPOSITORY", "owner/zfs-kmods"), ("GITHUB_REF", "refs/heads/main")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let workflows = tools::workspace().join(".github/workflows");
    let mut run = SimulatedRun {
        workflows: &workflows,
        directory: Path::new(directory.path()),
        given,
        environment,
        executor: recorder,
    };
    let inputs = if event == "workflow_dispatch" { run.dispatched(file, inputs) } else { Ok(inputs.clone()) };
    run.workflow(file, &inputs.expect("inputs")).expect("a run")
}

fn recorder(tags: &[&str]) -> Recorder {
    let jobs: Vec<_> = tags.iter().map(|tag| target(tag)).collect();
    Recorder { matrix: json!({"include": jobs}), ..Recorder::default() }
}

fn line(words: &str) -> Vec<String> {
    words.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_target_that_fails_stops_no_other() {
    let mut recorder = recorder(&["one", "two"]);
    recorder.fails = Some(("build", "target 1/build"));
    let jobs = simulate(&mut recorder, "publish.yml", "schedule", &json!({}));
    let expected = [
        ("plan", "success"),
        ("target 1/build", "failure"),
        ("target 1/recall", "skipped"),
        ("target 1/boot-test", "skipped"),
        ("target 1/promote", "skipped"),
        ("target 1", "failure"),
        ("target 2/build", "success"),
        ("target 2/recall", "skipped"),
        ("target 2/boot-test", "success"),
        ("target 2/promote 1", "success"),
        ("target 2/promote 2", "success"),
        ("target 2", "success"),
        ("report", "success"),
    ];
    assert_eq!(jobs, expected.map(|(job, result)| (job.to_owned(), result)));
    // The record of the one that failed is there as well.
    let records = [
        "boot-test.two.json",
        "build.one.json",
        "build.two.json",
        "plan..json",
        "promote.two.stable.json",
        "promote.two.testing.json",
    ];
    assert_eq!(recorder.lines[recorder.lines.len() - 2], records);
    let inputs = r#"{"nested":{"a":[1]},"zfs":"2.4.3"}"#;
    let repository = "docker://ghcr.io/owner/zfs-kmods";
    let plan = format!("plan --streams  --arches x86_64 --zfs newest --repository {repository}");
    let identity = "--identity-repo owner/zfs-kmods --identity-ref refs/heads/main";
    assert_eq!(recorder.lines[0], line(&format!("{plan} {identity}")));
    let build = format!("build --inputs {inputs} --publish {repository} --channel stable --replace");
    assert_eq!(recorder.lines[1], line(&build));
    assert_eq!(recorder.lines[3], line("boot-test docker://image/two"));
    assert_eq!(recorder.lines[4][..4], line("promote docker://image/two --channel stable"));
    assert!(recorder.identities.iter().all(|job| job.starts_with("target ")), "{:?}", recorder.identities);
    assert!(recorder.identities.contains(&"target 2/build".to_owned()));
    assert_eq!(recorder.tokens, ["plan", "build", "build", "boot-test", "promote", "promote", "report"]);
}

#[test]
fn a_job_does_only_the_steps_of_its_target() {
    let image = "docker://ghcr.io/owner/zfs-kmods@sha256:d";
    for (steps, ran) in [
        (vec!["promote"], vec!["promote 1", "promote 2"]),
        (vec!["boot-test", "promote"], vec!["boot-test", "promote 1", "promote 2"]),
        (vec!["withdraw"], vec!["recall"]),
        (vec!["reinstate", "boot-test"], vec!["recall", "boot-test"]),
    ] {
        let mut recorder = recorder(&["one"]);
        let job = &mut recorder.matrix["include"][0];
        (job["steps"], job["digest"], job["inputs"]) = (json!(steps), json!("sha256:d"), Value::Null);
        let jobs = simulate(&mut recorder, "publish.yml", "schedule", &json!({}));
        let succeeded = jobs.iter().filter(|(_, result)| *result == "success");
        let own: Vec<_> = succeeded.filter_map(|(job, _)| job.strip_prefix("target 1/")).collect();
        assert_eq!(own, ran, "{steps:?}");
        let of_image = recorder.lines.iter().filter(|line| line.get(1).is_some_and(|word| word == image));
        assert_eq!(of_image.count(), ran.len(), "{:?}", recorder.lines);
    }
}

#[test]
fn what_fails_its_boot_test_is_not_promoted() {
    let mut recorder = recorder(&["one"]);
    recorder.fails = Some(("boot-test", "target 1/boot-test"));
    let jobs = simulate(&mut recorder, "publish.yml", "schedule", &json!({}));
    assert!(jobs.contains(&("target 1/promote".to_owned(), "skipped")), "{jobs:?}");
}

#[test]
fn a_run_with_nothing_to_do_plans_and_reports() {
    let mut recorder = recorder(&[]);
    let jobs = simulate(&mut recorder, "publish.yml", "schedule", &json!({}));
    let expected = [("plan", "success"), ("target", "skipped"), ("report", "success")];
    assert_eq!(jobs, expected.map(|(job, result)| (job.to_owned(), result)));
}

#[test]
fn a_plan_with_holes_still_builds_what_it_knows() {
    let mut recorder = recorder(&["one"]);
    recorder.fails = Some(("plan", "plan"));
    let jobs = simulate(&mut recorder, "publish.yml", "schedule", &json!({}));
    assert!(jobs.contains(&("target 1/promote 1".to_owned(), "success")), "{jobs:?}");
    assert!(jobs.contains(&("report".to_owned(), "success")), "{jobs:?}");
}

#[test]
fn a_person_may_ask_for_something_else() {
    let mut recorder = recorder(&["one"]);
    let inputs = json!({"streams": "next", "last-stage": "boot-test", "force": true});
    let jobs = simulate(&mut recorder, "publish.yml", "workflow_dispatch", &inputs);
    assert!(jobs.contains(&("target 1/promote".to_owned(), "skipped")), "{jobs:?}");
    assert_eq!(recorder.lines[0][2], "next");
}

#[test]
fn a_clean_up_by_hand_is_a_dry_run_unless_asked_otherwise() {
    for (event, expected) in [("schedule", "false"), ("workflow_dispatch", "true")] {
        let mut recorder = recorder(&[]);
        simulate(&mut recorder, "cleanup.yml", event, &json!({}));
        assert_eq!(recorder.dry_run.as_deref(), Some(expected), "{event}");
        let words = "cleanup docker://ghcr.io/owner/zfs-kmods --older-than 90d --keep-newest 3";
        assert_eq!(recorder.lines[0][..6], line(words), "{event}");
    }
}
