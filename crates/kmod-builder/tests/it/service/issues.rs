//! One issue for each class and target: opened, updated, closed and opened again, and never a second one.

use std::time::Duration;

use kmod_builder::io::records;
use kmod_builder::model::service::{Class, Ending, Failure, Record};
use serde_json::{Value, json};

use super::github::Github;
use super::{Program, read};
use crate::command_output::CommandOutput;

const GOOD: &str = "zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64";
const OTHER: &str = "zfs-2.4.3_kernel-6.17.9-300.fc43.x86_64";
const HELD: &str = "zfs-2.4.3_kernel-7.3.0-300.fc44.x86_64";

fn record(verb: &str, target: Option<&str>, failure: Option<Failure>, shown: Value) -> Record {
    let began: jiff::Timestamp = "2026-11-20T06:00:00Z".parse().unwrap();
    Record {
        verb: verb.into(),
        arguments: vec![verb.into()],
        target: target.map(str::to_owned),
        ending: if failure.is_some() { Ending::Failed } else { Ending::Done },
        failure,
        began,
        ended: began + jiff::SignedDuration::from_secs(60),
        shown: vec![shown],
    }
}

/// The records of a run with one good target, one held, and one that fails or not.
fn write(program: &Program, fails: bool) {
    let directory = program.path("records");
    let _ = std::fs::remove_dir_all(&directory);
    let target = |tag: &str, decision: &str| json!({"tag": tag, "arch": "x86_64", "streams": ["stable"], "decision": decision, "reason": "so it is"});
    let targets = [target(GOOD, "up-to-date"), target(OTHER, "build"), target(HELD, "held")];
    records::write(&directory, &record("plan", None, None, json!({"targets": targets, "unknown": []})))
        .unwrap();
    if fails {
        let failure = Failure { class: Class::Build, message: "stage kmod".into(), help: None };
        records::write(&directory, &record("build", Some(OTHER), Some(failure), Value::Null)).unwrap();
    } else {
        for verb in ["build", "boot-test", "promote"] {
            records::write(&directory, &record(verb, Some(OTHER), None, json!({}))).unwrap();
        }
    }
}

async fn report(program: &mut Program, run: &str) -> CommandOutput {
    let _ = std::fs::remove_file(program.path("summary.md"));
    let summary = program.path("summary.md").display().to_string();
    program.environment.retain(|(name, _)| !["GITHUB_RUN_ID", "GITHUB_STEP_SUMMARY"].contains(name));
    program.set("GITHUB_STEP_SUMMARY", summary);
    program.set("GITHUB_SERVER_URL", "https://github.com");
    program.set("GITHUB_RUN_ID", run);
    program
        .run(&["report", "--records", "records", "--issues", "--everything", "--change-interval", "0"])
        .await
}

#[tokio::test]
async fn an_issue_is_opened_updated_closed_and_opened_again() {
    let github = Github::start().await;
    let mut program = Program::at(&github.address());
    program.set("GITHUB_ACTIONS", "true");
    write(&program, true);
    let command_output = report(&mut program, "1").await;
    assert_eq!(command_output.status, Some(3), "{command_output:?}");
    assert!(
        command_output
            .stderr
            .contains(&format!("::error title={OTHER}%3A the build failed::build: stage kmod")),
        "{}",
        command_output.stderr
    );
    assert!(command_output.stderr.contains(&format!("::notice title={HELD}")), "{}", command_output.stderr);
    let failed = format!("{OTHER}: the build failed");
    let held = format!("{HELD}: held");
    assert_eq!(github.state().open(), [&failed, &held]);
    let summary = read(&program.path("summary.md"));
    assert!(
        summary.contains("1 failed, 1 up to date, 1 held") && summary.contains("open an issue"),
        "{summary}"
    );

    // The next day it is the same: one issue is written anew, the one that is held is left alone.
    github.state().log.clear();
    report(&mut program, "2").await;
    assert_eq!(github.state().issues.len(), 2);
    assert!(github.state().issues[0]["body"].as_str().unwrap().contains("/actions/runs/2"));
    assert_eq!(github.state().log.iter().filter(|line| line.starts_with("PATCH")).count(), 1);
    assert!(github.state().comments.is_empty());

    write(&program, false);
    let command_output = report(&mut program, "3").await;
    assert_eq!(command_output.status, Some(0), "{command_output:?}");
    assert_eq!(github.state().open(), [&held]);
    assert_eq!(github.state().comments, [(1, "It went well.".to_owned())]);

    // A run with nothing new asks one question.
    github.state().log.clear();
    report(&mut program, "4").await;
    assert_eq!(github.state().log, ["GET /repos/owner/zfs-kmods/issues"]);

    write(&program, true);
    report(&mut program, "5").await;
    assert_eq!(github.state().open(), [&failed, &held]);
    assert_eq!(github.state().issues.len(), 2, "the old one is opened again");
}

#[tokio::test]
async fn two_reports_at_once_leave_one_issue() {
    let github = Github::start().await;
    github.state().list_delay = Duration::from_millis(1500);
    let (mut one, mut two) = (Program::at(&github.address()), Program::at(&github.address()));
    write(&one, true);
    write(&two, true);
    tokio::join!(report(&mut one, "1"), report(&mut two, "1"));
    let state = github.state();
    assert!(state.issues.len() > 2, "they did not run at once: this test shows nothing");
    assert_eq!(state.open(), [format!("{OTHER}: the build failed"), format!("{HELD}: held")]);
    for issue in state.issues.iter().filter(|issue| issue["state"] == "closed") {
        assert_eq!(issue["state_reason"], "not_planned");
    }
}

#[tokio::test]
async fn old_issues_are_found_on_later_pages() {
    let github = Github::start().await;
    let mut program = Program::at(&github.address());
    write(&program, true);
    report(&mut program, "1").await;
    for number in 0..150 {
        let labels = json!([{"name": "zfs-kmods"}]);
        github.state().add(&json!(format!("other {number}")), &json!("a person's own words"), &labels);
    }
    // A pull request with the words of an issue is none.
    let body = github.state().issues[0]["body"].clone();
    github.state().add(&json!("pull"), &body, &json!([{"name": "zfs-kmods"}]));
    github.state().issues.last_mut().unwrap()["pull_request"] = json!({"url": "x"});
    report(&mut program, "2").await;
    let state = github.state();
    assert_eq!(state.issues.len(), 153);
    assert_eq!(state.open().len(), 153, "what is not ours is left alone");
    assert!(state.issues[0]["body"].as_str().unwrap().contains("/actions/runs/2"));
}

#[tokio::test]
async fn a_repository_without_issues_is_told_in_the_summary() {
    for (code, message) in [
        (403, "Resource not accessible by integration"),
        (404, "Not Found"),
        (410, "Issues are disabled for this repo"),
    ] {
        let github = Github::start().await;
        github.state().refuses = Some((code, message));
        let mut program = Program::at(&github.address());
        write(&program, false);
        let command_output = report(&mut program, "1").await;
        assert_eq!(command_output.status, Some(0), "{command_output:?}");
        let summary = read(&program.path("summary.md"));
        assert!(summary.contains("[!WARNING]") && summary.contains(message), "{summary}");
        assert!(summary.contains("issues: write"), "{summary}");
        assert_eq!(github.state().log.len(), 1, "a refusal is final");
    }
}

#[tokio::test]
async fn without_issues_nobody_is_asked() {
    let github = Github::start().await;
    let program = Program::at(&github.address());
    write(&program, true);
    let command_output = program.run(&["report", "--records", "records", "--format", "json"]).await;
    assert_eq!(command_output.status, Some(3));
    assert!(github.state().log.is_empty());
    let results: Value = serde_json::from_str(&command_output.stdout).unwrap();
    assert_eq!(results["targets"][1]["troubles"][0]["class"], "build");
    // What a workflow's expression says that is false asks for nothing.
    let mut plain = Program::new();
    plain.set("ZFS_KMODS_ISSUES", "false");
    write(&plain, false);
    assert_eq!(plain.run(&["report", "--records", "records"]).await.status, Some(0));
    plain.set("ZFS_KMODS_ISSUES", "true");
    assert_eq!(
        plain.run(&["report", "--records", "records"]).await.status,
        Some(1),
        "no repository is named"
    );
    // Not one record: not even the plan's.
    let command_output = program.run(&["report", "--records", "nowhere"]).await;
    assert_eq!(command_output.status, Some(3));
    assert!(command_output.stdout.contains("a job was lost"), "{}", command_output.stdout);
}
