//! `workflow run` and `workflow status`.

use serde_json::json;

use super::github::{Dispatch, Github, run};

#[tokio::test]
async fn a_run_is_started_and_watched_to_its_end() {
    for (conclusion, status) in [("success", 0), ("failure", 1), ("cancelled", 1)] {
        let (github, program) = Github::with_program().await;
        github.state().runs = vec![run(99, "workflow_dispatch", "completed", Some("success"))];
        github.state().states =
            vec![("queued", None), ("in_progress", None), ("completed", Some(conclusion))];
        let inputs = ["--input", "streams=testing", "--input", "force=true"];
        let arguments = [&["workflow", "run"], &inputs[..], &["--watch", "--interval", "10"]].concat();
        let output = program.run(&arguments).await.with(status).says(&[conclusion, "/actions/runs/101"]);
        let asked = json!({"ref": "main", "inputs": {"streams": "testing", "force": "true"},
            "return_run_details": true});
        assert_eq!(github.state().dispatched, [asked], "started once");
        output.explains(&["in_progress"]);
    }
}

#[tokio::test]
async fn a_run_whose_id_is_not_returned_is_found_in_the_list() {
    for (dispatch, requests) in [(Dispatch::ReturnsNothing, 1), (Dispatch::Strict, 2)] {
        let (github, program) = Github::with_program().await;
        github.state().dispatch = dispatch;
        github.state().runs = vec![run(99, "workflow_dispatch", "completed", Some("success"))];
        program.run(&["workflow", "run", "--interval", "10"]).await.with(0).says(&["/actions/runs/101"]);
        assert_eq!(github.state().dispatched.len(), requests);
        assert_eq!(github.state().runs.len(), 2, "started once");
    }
}

#[tokio::test]
async fn recent_runs_are_listed() {
    let (github, program) = Github::with_program().await;
    github.state().runs =
        vec![run(102, "schedule", "in_progress", None), run(101, "push", "completed", Some("failure"))];
    program.run(&["workflow", "status"]).await.with(0).says(&[
        "3    in_progress  schedule",
        "2    failure      push",
        "0 min 00 s",
        "/actions/runs/102",
    ]);
    // Waits for the newest run, which fails.
    github.state().states = vec![("completed", Some("failure"))];
    program.run(&["workflow", "status", "--watch", "--interval", "10"]).await.with(1);
}

#[tokio::test]
async fn a_rejection_by_github_is_reported_with_help() {
    let (_github, program) = Github::with_program().await;
    let output = program.run(&["workflow", "run", "--workflow", "nowhere.yml"]).await.with(1);
    output.explains(&["actions: write"]);
    program.run(&["workflow", "run", "--input", "streams"]).await.with(2);
}
