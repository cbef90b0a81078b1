//! `workflow run` and `workflow status`.

use serde_json::json;

use super::Program;
use super::github::{Dispatch, Github, run};

#[tokio::test]
async fn a_run_is_started_and_watched_to_its_end() {
    for (conclusion, status) in [("success", 0), ("failure", 1), ("cancelled", 1)] {
        let github = Github::start().await;
        github.state().runs = vec![run(99, "workflow_dispatch", "completed", Some("success"))];
        github.state().states =
            vec![("queued", None), ("in_progress", None), ("completed", Some(conclusion))];
        let program = Program::at(&github.address());
        let arguments = [
            "workflow",
            "run",
            "--input",
            "streams=testing",
            "--input",
            "force=true",
            "--watch",
            "--interval",
            "10",
        ];
        let command_output = program.run(&arguments).await;
        assert_eq!(command_output.status, Some(status), "{command_output:?}");
        assert!(
            command_output.stdout.contains(conclusion) && command_output.stdout.contains("/actions/runs/101"),
            "{}",
            command_output.stdout
        );
        let asked = json!({"ref": "main", "inputs": {"streams": "testing", "force": "true"},
            "return_run_details": true});
        assert_eq!(github.state().dispatched, [asked], "started once");
        assert!(command_output.stderr.contains("in_progress"), "{}", command_output.stderr);
    }
}

#[tokio::test]
async fn a_run_whose_id_is_not_returned_is_found_in_the_list() {
    for (dispatch, requests) in [(Dispatch::ReturnsNothing, 1), (Dispatch::Strict, 2)] {
        let github = Github::start().await;
        github.state().dispatch = dispatch;
        github.state().runs = vec![run(99, "workflow_dispatch", "completed", Some("success"))];
        let program = Program::at(&github.address());
        let command_output = program.run(&["workflow", "run", "--interval", "10"]).await;
        assert_eq!(command_output.status, Some(0), "{command_output:?}");
        assert!(command_output.stdout.contains("/actions/runs/101"), "{}", command_output.stdout);
        assert_eq!(github.state().dispatched.len(), requests);
        assert_eq!(github.state().runs.len(), 2, "started once");
    }
}

#[tokio::test]
async fn recent_runs_are_listed() {
    let github = Github::start().await;
    github.state().runs =
        vec![run(102, "schedule", "in_progress", None), run(101, "push", "completed", Some("failure"))];
    let program = Program::at(&github.address());
    let command_output = program.run(&["workflow", "status"]).await;
    assert_eq!(command_output.status, Some(0), "{command_output:?}");
    for words in ["3    in_progress  schedule", "2    failure      push", "0 min 00 s", "/actions/runs/102"] {
        assert!(command_output.stdout.contains(words), "{words}: {}", command_output.stdout);
    }
    // Waiting for the newest, which fails.
    github.state().states = vec![("completed", Some("failure"))];
    let command_output = program.run(&["workflow", "status", "--watch", "--interval", "10"]).await;
    assert_eq!(command_output.status, Some(1), "{command_output:?}");
}

#[tokio::test]
async fn what_github_refuses_is_told_with_what_to_do() {
    let github = Github::start().await;
    let program = Program::at(&github.address());
    let command_output = program.run(&["workflow", "run", "--workflow", "nowhere.yml"]).await;
    assert_eq!(command_output.status, Some(1));
    assert!(command_output.stderr.contains("actions: write"), "{}", command_output.stderr);
    let command_output = program.run(&["workflow", "run", "--input", "streams"]).await;
    assert_eq!(command_output.status, Some(2));
}
