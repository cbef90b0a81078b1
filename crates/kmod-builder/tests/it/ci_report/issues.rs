//! One issue for each kind and target: opened, updated, closed and opened again, and never a second one.

use std::time::Duration;

use kmod_builder::io::records;
use kmod_builder::model::ci_report::{CommandRecord, Failure, FindingKind, RecordedResult};
use kmod_builder::model::plan::{BuildDecision, NotBuilt, NotBuiltKind, Plan, PlannedTarget};
use kmod_builder::model::{Digest, Target};
use serde_json::{Value, json};

use super::github::Github;
use crate::command_output::{CommandOutput, Program};
use crate::images::inputs_for;

const GOOD: &str = "zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64";
const OTHER: &str = "zfs-2.4.3_kernel-6.17.9-300.fc43.x86_64";
const REPORT: [&str; 3] = ["report", "--records", "records"];
const UNSUPPORTED: &str = "zfs-2.4.3_kernel-7.3.0-300.fc44.x86_64";

fn record(
    command: &str,
    tag: Option<&str>,
    failure: Option<&Failure>,
    results: &[RecordedResult],
) -> CommandRecord {
    let record = json!({
        "command": command, "arguments": [command], "tag": tag, "failure": failure, "results": results,
        "status": if failure.is_some() { "failed" } else { "done" },
        "started_at": "2026-11-20T06:00:00Z", "ended_at": "2026-11-20T06:01:00Z",
    });
    serde_json::from_value(record).unwrap()
}

fn planned(tag: &str, decision: BuildDecision) -> PlannedTarget {
    let target = Target::from_tag(&tag.parse().unwrap()).unwrap();
    PlannedTarget { target, sources: vec!["stable".into()], channels: None, decision }
}

/// The records of a run with one good target, one unsupported, and one that fails or not.
fn write(program: &Program, fails: bool) {
    let directory = program.path("records");
    let _ = std::fs::remove_dir_all(&directory);
    let reason = || "because it is".to_owned();
    let not_built = NotBuilt { kind: NotBuiltKind::Unsupported, reason: reason(), verdict: Value::Null };
    let build =
        BuildDecision::Build { inputs: Box::new(inputs_for("6.17.9-300.fc43.x86_64")), reason: reason() };
    let targets = vec![
        planned(GOOD, BuildDecision::UpToDate(Digest::of(b"image"))),
        planned(OTHER, build),
        planned(UNSUPPORTED, BuildDecision::NotBuilt(not_built)),
    ];
    let plan = RecordedResult::Plan(Plan::new(targets, Vec::new(), Vec::new()));
    let mut all = vec![record("plan", None, None, &[plan])];
    if fails {
        let failure = Failure { kind: FindingKind::Build, message: "stage kmod".into(), help: None };
        all.push(record("build", Some(OTHER), Some(&failure), &[]));
    } else {
        let commands = ["build", "boot-test", "promote"];
        all.extend(commands.map(|command| record(command, Some(OTHER), None, &[])));
    }
    for record in all {
        records::write(&directory, &record).unwrap();
    }
}

async fn report(program: &mut Program, run: &str) -> CommandOutput {
    let summary = program.path("summary.md");
    let _ = std::fs::remove_file(&summary);
    program.set("GITHUB_STEP_SUMMARY", summary.display().to_string());
    program.set("GITHUB_SERVER_URL", "https://github.com");
    program.set("GITHUB_RUN_ID", run);
    let issues = ["--issues", "--close-stale-issues", "--change-interval", "0"];
    program.run(&[&REPORT[..], &issues].concat()).await
}

fn summary(program: &Program) -> String {
    std::fs::read_to_string(program.path("summary.md")).unwrap()
}

#[tokio::test]
async fn an_issue_is_opened_updated_closed_and_opened_again() {
    let (github, mut program) = Github::with_program().await;
    program.set("GITHUB_ACTIONS", "true");
    write(&program, true);
    report(&mut program, "1").await.with(3).explains(&[
        &format!("::error title={OTHER}%3A the build failed::build: stage kmod"),
        &format!("::notice title={UNSUPPORTED}"),
    ]);
    let failed = format!("{OTHER}: the build failed");
    let unsupported = format!("{UNSUPPORTED}: not supported by OpenZFS");
    assert_eq!(github.state().open(), [&failed, &unsupported]);
    let summary = summary(&program);
    assert!(
        summary.contains("1 failed, 1 up to date, 1 not built") && summary.contains("open an issue"),
        "{summary}"
    );

    // The same findings on the next day: one issue is updated, the unsupported target's is not.
    github.state().log.clear();
    report(&mut program, "2").await;
    assert_eq!(github.state().issues.len(), 2);
    assert!(github.state().issues[0]["body"].as_str().unwrap().contains("/actions/runs/2"));
    assert_eq!(github.state().log.iter().filter(|line| line.starts_with("PATCH")).count(), 1);
    assert!(github.state().comments.is_empty());

    write(&program, false);
    report(&mut program, "3").await.with(0);
    assert_eq!(github.state().open(), [&unsupported]);
    assert_eq!(github.state().comments, [(1, "All stages succeeded.".to_owned())]);

    // A run with nothing new makes one request.
    github.state().log.clear();
    report(&mut program, "4").await;
    assert_eq!(github.state().log, ["GET /repos/owner/zfs-kmods/issues"]);

    write(&program, true);
    report(&mut program, "5").await;
    assert_eq!(github.state().open(), [&failed, &unsupported]);
    assert_eq!(github.state().issues.len(), 2, "the old one is opened again");
}

#[tokio::test]
async fn two_concurrent_reports_leave_one_issue() {
    let github = Github::start().await;
    github.state().list_delay = Duration::from_millis(1500);
    let (mut one, mut two) = (Program::at(&github.address()), Program::at(&github.address()));
    write(&one, true);
    write(&two, true);
    tokio::join!(report(&mut one, "1"), report(&mut two, "1"));
    let state = github.state();
    assert!(state.issues.len() > 2, "they did not run concurrently");
    assert_eq!(
        state.open(),
        [format!("{OTHER}: the build failed"), format!("{UNSUPPORTED}: not supported by OpenZFS")]
    );
    for issue in state.issues.iter().filter(|issue| issue["state"] == "closed") {
        assert_eq!(issue["state_reason"], "not_planned");
    }
}

#[tokio::test]
async fn an_issue_that_gets_no_label_is_opened_once_and_closed() {
    let (github, mut program) = Github::with_program().await;
    github.state().refuses_labels = true;
    write(&program, true);
    let command_output = report(&mut program, "1").await;
    assert_eq!(command_output.status, Some(3), "{command_output:?}");
    let stderr = &command_output.stderr;
    assert!(
        stderr.contains("cannot create the label") && stderr.contains("issue #1 did not get"),
        "{stderr}"
    );
    // A stranger's issue with the first line of ours is not touched.
    let body = github.state().issues[1]["body"].clone();
    github.state().add(&json!("a stranger's"), &body, &json!([]));
    github.state().issues[2]["user"] = json!({"login": "stranger", "type": "User"});
    report(&mut program, "2").await;
    assert_eq!(github.state().issues.len(), 3, "no new issue on the next day");
    assert!(github.state().issues[0]["body"].as_str().unwrap().contains("/actions/runs/2"));
    write(&program, false);
    report(&mut program, "3").await;
    let unsupported = format!("{UNSUPPORTED}: not supported by OpenZFS");
    assert_eq!(github.state().open(), [unsupported.as_str(), "a stranger's"]);
}

#[tokio::test]
async fn the_label_is_created_before_the_first_issue() {
    let (github, mut program) = Github::with_program().await;
    write(&program, true);
    for run in ["1", "2"] {
        report(&mut program, run).await;
        let state = github.state();
        assert_eq!(state.labels, ["zfs-kmods"]);
        assert!(state.issues.iter().all(|issue| issue["labels"][0]["name"] == "zfs-kmods"));
        let created = state.log.iter().filter(|line| line.ends_with("/labels")).count();
        assert_eq!((created, state.issues.len()), (1, 2));
    }
}

#[tokio::test]
async fn old_issues_are_found_on_later_pages() {
    let (github, mut program) = Github::with_program().await;
    write(&program, true);
    report(&mut program, "1").await;
    for number in 0..150 {
        let labels = json!([{"name": "zfs-kmods"}]);
        github.state().add(&json!(format!("other {number}")), &json!("text of a person"), &labels);
    }
    // A pull request with the same text is not an issue.
    let body = github.state().issues[0]["body"].clone();
    github.state().add(&json!("pull"), &body, &json!([{"name": "zfs-kmods"}]));
    github.state().issues.last_mut().unwrap()["pull_request"] = json!({"url": "x"});
    report(&mut program, "2").await;
    let state = github.state();
    assert_eq!(state.issues.len(), 153);
    assert_eq!(state.open().len(), 153, "issues of others are not changed");
    assert!(state.issues[0]["body"].as_str().unwrap().contains("/actions/runs/2"));
}

#[tokio::test]
async fn a_rejected_change_of_issues_is_a_warning_in_the_summary() {
    for (code, message) in [
        (403, "Resource not accessible by integration"),
        (404, "Not Found"),
        (410, "Issues are disabled for this repo"),
    ] {
        let (github, mut program) = Github::with_program().await;
        github.state().refuses = Some((code, message));
        write(&program, false);
        report(&mut program, "1").await.with(0);
        let summary = summary(&program);
        assert!(summary.contains("[!WARNING]") && summary.contains(message), "{summary}");
        assert!(summary.contains("issues: write"), "{summary}");
        assert_eq!(github.state().log.len(), 1, "a refusal is final");
    }
}

#[tokio::test]
async fn github_is_contacted_only_with_the_flag_for_issues() {
    let (github, program) = Github::with_program().await;
    write(&program, true);
    let output = program.run(&[&REPORT[..], &["--format", "json"]].concat()).await.with(3);
    assert!(github.state().log.is_empty());
    assert_eq!(output.json()["targets"][1]["findings"][0]["kind"], "build");
    // The expression of a workflow can be false.
    let mut plain = Program::new();
    plain.set("ZFS_KMODS_ISSUES", "false");
    write(&plain, false);
    plain.run(&REPORT).await.with(0);
    plain.set("ZFS_KMODS_ISSUES", "true");
    plain.run(&REPORT).await.with(1);
    // There is no record, not even of the plan.
    program.run(&["report", "--records", "nowhere"]).await.with(3).says(&["a job was lost"]);
}
