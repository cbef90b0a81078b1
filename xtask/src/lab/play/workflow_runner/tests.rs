use std::path::{Path, PathBuf};
use std::process::Command;
use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use super::{Executor, JobConclusions, JobEnvironment, RepositorySettings, RunLine, SimulatedRun};
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
    /// Jobs with the key, and the key.
    keys: Vec<(String, String)>,
    /// The command whose job replaces the program of the run.
    replaces_program: Option<&'static str>,
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
        fs::write(&line.environment["GITHUB_OUTPUT"], outputs)?;
        if let Some(records) = line.environment.get("ZFS_KMODS_RECORD") {
            let records = line.directory.join(records);
            fs::create_dir_all(&records)?;
            let target = line.environment.get("ZFS_KMODS_TARGET").map_or("", String::as_str);
            // A promotion for each channel, as the program names them by their lines.
            let channel = if command == "promote" { format!(".{}", line.words[3]) } else { String::new() };
            fs::write(records.join(format!("{command}.{target}{channel}.json")), line.job)?;
        }
        if command == "report" {
            let mut records: Vec<_> = fs::read_dir(line.directory.join("records"))?
                .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
                .collect::<std::io::Result<_>>()?;
            records.sort();
            self.lines.push(records);
        }
        if command == "cleanup" {
            self.dry_run = line.environment.get("ZFS_KMODS_DRY_RUN").cloned();
        }
        if let Some(key) = line.environment.get("ZFS_KMODS_KEY_PEM").filter(|key| !key.is_empty()) {
            self.keys.push((line.job.to_owned(), key.clone()));
        }
        if self.replaces_program == Some(command.as_str()) {
            let run = line.directory.ancestors().nth(2).expect("the run's directory");
            let program = run.join("artifacts/program-X64/zfs-kmods");
            fs::remove_file(&program).and_then(|()| fs::write(&program, "another program"))?;
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

/// Runs a workflow of this repository for `main`; returns the conclusions of its jobs.
fn simulate(recorder: &mut Recorder, file: &str, event: &str, inputs: &Value) -> JobConclusions {
    simulate_on("refs/heads/main", recorder, file, event, inputs)
}

fn simulate_on(
    reference: &str,
    recorder: &mut Recorder,
    file: &str,
    event: &str,
    inputs: &Value,
) -> JobConclusions {
    let workflows = tools::workspace().join(".github/workflows");
    run_in(&workflows, reference, recorder, file, event, inputs).expect("a run")
}

/// In a repository with the key in its environment `signing`, which only `main` may use.
fn run_in(
    workflows: &Path,
    reference: &str,
    recorder: &mut Recorder,
    file: &str,
    event: &str,
    inputs: &Value,
) -> Result<JobConclusions> {
    let directory = tempfile::tempdir()?;
    let program = directory.path().join("compiled");
    fs::write(&program, "the program")?;
    let given = json!({
        "github": {"event_name": event, "ref": reference, "repository": "owner/zfs-kmods", "token": "token"},
        "vars": {},
    });
    let environment = [("GITHUB_REPOSITORY", "owner/zfs-kmods"), ("GITHUB_REF", reference)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let signing = JobEnvironment {
        branches: Some(vec!["main".to_owned()]),
        secrets: BTreeMap::from([("ZFS_KMODS_KEY".to_owned(), "the key".to_owned())]),
    };
    let settings = RepositorySettings {
        secrets: BTreeMap::new(),
        environments: BTreeMap::from([("signing".to_owned(), signing)]),
    };
    let mut run = SimulatedRun {
        workflows,
        directory: directory.path(),
        given,
        settings,
        program: &program,
        environment,
        executor: recorder,
    };
    let inputs = if event == "workflow_dispatch" { run.dispatched(file, inputs)? } else { inputs.clone() };
    run.workflow(file, &inputs)
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
        ("program 1", "success"),
        ("plan", "success"),
        ("branch-target", "skipped"),
        ("target 1/build", "failure"),
        ("target 1/recall", "skipped"),
        ("target 1/boot-test", "skipped"),
        ("target 1/sign", "skipped"),
        ("target 1/promote", "skipped"),
        ("target 1", "failure"),
        ("target 2/build", "success"),
        ("target 2/recall", "skipped"),
        ("target 2/boot-test", "success"),
        ("target 2/sign", "success"),
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
        "sign.two.json",
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
    assert_eq!(recorder.lines[4][..3], line("sign docker://image/two --skip-without-key"));
    assert_eq!(recorder.lines[5][..4], line("promote docker://image/two --channel stable"));
    assert!(recorder.identities.iter().all(|job| job.starts_with("target ")), "{:?}", recorder.identities);
    assert!(recorder.identities.contains(&"target 2/build".to_owned()));
    let signing = recorder.identities.iter().find(|job| job.ends_with("/sign"));
    assert_eq!(signing, None, "the job with the key has no identity");
    let commands = ["plan", "build", "build", "boot-test", "sign", "promote", "promote", "report"];
    assert_eq!(recorder.tokens, commands);
}

#[test]
fn a_job_does_only_the_steps_of_its_target() {
    let image = "docker://ghcr.io/owner/zfs-kmods@sha256:d";
    for (steps, ran) in [
        (vec!["promote"], vec!["sign", "promote 1", "promote 2"]),
        (vec!["boot-test", "promote"], vec!["boot-test", "sign", "promote 1", "promote 2"]),
        (vec!["withdraw"], vec!["recall", "sign"]),
        (vec!["reinstate", "boot-test"], vec!["recall", "boot-test", "sign"]),
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
    let expected = [
        ("program 1", "success"),
        ("plan", "success"),
        ("branch-target", "skipped"),
        ("target", "skipped"),
        ("report", "success"),
    ];
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

#[test]
fn only_the_signing_job_has_the_key() {
    let mut recorder = recorder(&["one", "two"]);
    simulate(&mut recorder, "publish.yml", "schedule", &json!({}));
    let key = |job: &str| (job.to_owned(), "the key".to_owned());
    assert_eq!(recorder.keys, [key("target 1/sign"), key("target 2/sign")]);
}

#[test]
fn a_branch_does_the_same_steps_without_the_key() {
    for event in ["push", "workflow_dispatch"] {
        let mut recorder = recorder(&["one"]);
        let jobs = simulate_on("refs/heads/fix", &mut recorder, "publish.yml", event, &json!({}));
        assert_eq!(recorder.keys, []);
        let expected = [
            ("program 1", "success"),
            ("plan", "success"),
            ("branch-target 1/build", "success"),
            ("branch-target 1/recall", "skipped"),
            ("branch-target 1/boot-test", "success"),
            ("branch-target 1/sign", "skipped"),
            ("branch-target 1/promote 1", "success"),
            ("branch-target 1/promote 2", "success"),
            ("branch-target 1", "success"),
            ("target", "skipped"),
            ("report", "success"),
        ];
        assert_eq!(jobs, expected.map(|(job, result)| (job.to_owned(), result)));
    }
}

/// Workflows that somebody may push, with this `on` and these jobs.
fn pushed(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        fs::write(directory.path().join(name), text).expect("a workflow");
    }
    let path = directory.path().to_owned();
    (directory, path)
}

const THIEF: &str = "
on: push
jobs:
  sign:
    environment: signing
    steps:
      - id: compile
        uses: ./.github/actions/compile
      - uses: ./.github/actions/zfs-kmods
        with:
          digests: ${{ toJSON(steps.compile.outputs) }}
      - run: zfs-kmods sign
        env:
          ZFS_KMODS_KEY_PEM: ${{ secrets.ZFS_KMODS_KEY }}
";

#[test]
fn a_job_of_a_branch_that_names_the_environment_fails_before_its_first_step() {
    let (_directory, thief) = pushed(&[("x.yml", THIEF)]);
    let mut recorder = recorder(&[]);
    let jobs = run_in(&thief, "refs/heads/fix", &mut recorder, "x.yml", "push", &json!({})).unwrap();
    assert_eq!(jobs, [("sign".to_owned(), "failure")]);
    assert_eq!((recorder.lines.len(), recorder.keys.len()), (0, 0));
    run_in(&thief, "refs/heads/main", &mut recorder, "x.yml", "push", &json!({})).unwrap();
    assert_eq!(recorder.keys.len(), 1);
    // Without the environment, the job runs without the key.
    let (_directory, thief) = pushed(&[("x.yml", &THIEF.replace("    environment: signing\n", ""))]);
    recorder.keys.clear();
    let jobs = run_in(&thief, "refs/heads/fix", &mut recorder, "x.yml", "push", &json!({})).unwrap();
    assert_eq!((jobs, recorder.keys.len()), (vec![("sign".to_owned(), "success")], 0));
}

#[test]
fn a_called_workflow_may_not_have_more_than_its_caller() {
    let caller = "
on: push
jobs:
  call:
    permissions: {packages: read}
    uses: ./.github/workflows/called.yml
    secrets: {GIVEN: x}
";
    for (secret, permission, named) in [
        ("GIVEN", "read", None),
        ("GIVEN", "write", Some("`packages: write`")),
        ("OTHER", "read", Some("no secret `GIVEN`")),
    ] {
        let other = format!(
            "on: {{workflow_call: {{secrets: {{{secret}: {{}}}}}}}}\njobs:\n  a:\n    permissions: {{packages: \
             {permission}}}\n    steps: []\n"
        );
        let (_directory, workflows) = pushed(&[("x.yml", caller), ("called.yml", &other)]);
        let run =
            run_in(&workflows, "refs/heads/main", &mut Recorder::default(), "x.yml", "push", &json!({}));
        match named {
            None => assert_eq!(run.unwrap().len(), 2),
            Some(named) => assert!(run.unwrap_err().to_string().contains(named), "{other}"),
        }
    }
}

#[test]
fn a_program_that_another_job_replaced_is_not_run() {
    let mut recorder = recorder(&["one"]);
    recorder.replaces_program = Some("plan");
    let jobs = simulate(&mut recorder, "publish.yml", "schedule", &json!({}));
    for job in ["target 1/build", "report"] {
        assert!(jobs.contains(&(job.to_owned(), "failure")), "{jobs:?}");
    }
    let commands: Vec<_> = recorder.lines.iter().map(|line| line[0].as_str()).collect();
    assert_eq!(commands, ["plan"]);
}

/// The script of the action's step, as a composite action runs it.
fn run_script(script: &str, directory: &Path, digest: &str) -> bool {
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap_or_default());
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script]).current_dir(directory);
    bash.env("RUNNER_TEMP", directory).env("DIGEST", digest).env("PATH", path);
    bash.output().expect("bash").status.success()
}

#[test]
fn the_action_checks_the_digest_before_it_installs_the_program() {
    let file = tools::workspace().join(".github/actions/zfs-kmods/action.yml");
    let action: Value = serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let scripts: Vec<_> =
        action["runs"]["steps"].as_array().unwrap().iter().filter_map(|step| step["run"].as_str()).collect();
    let (check, install) = (scripts[0], scripts[1]);
    assert!(check.contains("sha256sum --check") && install.starts_with("sudo install "), "{scripts:?}");
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("program")).unwrap();
    fs::write(directory.path().join("program/zfs-kmods"), "the program\n").unwrap();
    let other = "0".repeat(64);
    let right =
        tools::text(Command::new("sha256sum").arg(directory.path().join("program/zfs-kmods"))).unwrap();
    let right = right.split(' ').next().unwrap();
    assert!(run_script(check, directory.path(), right));
    for wrong in [&*other, "", "x"] {
        assert!(!run_script(check, directory.path(), wrong), "{wrong}");
    }
}
