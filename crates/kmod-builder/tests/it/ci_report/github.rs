//! A fake of GitHub's issues, workflows and runs, with faults on demand.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use wiremock::matchers::{any, header};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::command_output::Program;

const REPOSITORY: &str = "/repos/owner/zfs-kmods";

pub(super) struct Github {
    server: MockServer,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(super) struct State {
    /// By number, from 1.
    pub(super) issues: Vec<Value>,
    pub(super) comments: Vec<(usize, String)>,
    pub(super) runs: Vec<Value>,
    pub(super) dispatched: Vec<Value>,
    /// Method and path of each request.
    pub(super) log: Vec<String>,
    pub(super) labels: Vec<String>,
    /// The token may not create labels, and GitHub drops unknown ones without a word.
    pub(super) refuses_labels: bool,
    /// The form of the answer to a dispatch.
    pub(super) dispatch: Dispatch,
    /// The response to every request for issues.
    pub(super) refuses: Option<(u16, &'static str)>,
    /// Lists are sent after this delay, with the state at the time of the request.
    pub(super) list_delay: Duration,
    /// Status and conclusion of a started run, one for each request.
    pub(super) states: Vec<(&'static str, Option<&'static str>)>,
    looked: usize,
}

#[derive(Clone, Copy, Default)]
pub(super) enum Dispatch {
    #[default]
    ReturnsRun,
    /// GitHub before 2026-02.
    ReturnsNothing,
    /// A server that rejects members that it does not know.
    Strict,
}

struct Answers(Arc<Mutex<State>>);

impl Github {
    pub(super) async fn start() -> Self {
        let server = MockServer::start().await;
        let state = Arc::new(Mutex::new(State::default()));
        Mock::given(any())
            .and(header("authorization", "Bearer token"))
            .respond_with(Answers(Arc::clone(&state)))
            .mount(&server)
            .await;
        Self { server, state }
    }

    /// With a program that uses it.
    pub(super) async fn with_program() -> (Self, Program) {
        let github = Self::start().await;
        let program = Program::at(&github.server.uri());
        (github, program)
    }

    pub(super) fn address(&self) -> String {
        self.server.uri()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        let method = request.method.as_str();
        let path = request.url.path().to_owned();
        state.log.push(format!("{method} {path}"));
        let Some(rest) = path.strip_prefix(REPOSITORY) else { return status(404, "Not Found") };
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let parts: Vec<_> = rest.trim_start_matches('/').split('/').collect();
        if let (Some((code, message)), ["issues", ..]) = (state.refuses, parts.as_slice()) {
            return status(code, message);
        }
        match (method, parts.as_slice()) {
            ("GET", ["issues"]) => state.list(request),
            ("POST", ["issues"]) => {
                let known = body["labels"].as_array().unwrap().iter();
                let known = known.filter(|name| state.labels.iter().any(|label| *name == label));
                let labels: Vec<_> = known.map(|name| json!({"name": name})).collect();
                state.add(&body["title"], &body["body"], &json!(labels));
                state.issues.last_mut().unwrap()["user"] =
                    json!({"login": "github-actions[bot]", "type": "Bot"});
                answer(201, state.issues.last().unwrap())
            }
            ("POST", ["labels"]) if state.refuses_labels => {
                status(403, "Resource not accessible by integration")
            }
            ("POST", ["labels"]) => {
                let name = body["name"].as_str().unwrap().to_owned();
                if state.labels.contains(&name) {
                    return status(422, "Validation Failed");
                }
                state.labels.push(name);
                answer(201, &body)
            }
            ("PATCH", ["issues", number]) => {
                let index = number.parse::<usize>().unwrap() - 1;
                for name in ["title", "body", "state", "state_reason"] {
                    if !body[name].is_null() {
                        state.issues[index][name] = body[name].clone();
                    }
                }
                answer(200, &state.issues[index])
            }
            ("POST", ["issues", number, "comments"]) => {
                state.comments.push((number.parse().unwrap(), body["body"].as_str().unwrap().to_owned()));
                answer(201, &json!({}))
            }
            ("POST", ["actions", "workflows", "publish.yml", "dispatches"]) => {
                let asked = body.get("return_run_details").is_some();
                state.dispatched.push(body);
                if asked && matches!(state.dispatch, Dispatch::Strict) {
                    return status(422, "\"return_run_details\" is not a permitted key.");
                }
                let id = 100 + state.runs.len() as u64;
                let run = run(id, "workflow_dispatch", "queued", None);
                let details = json!({"workflow_run_id": id, "html_url": run["html_url"]});
                state.runs.insert(0, run);
                match state.dispatch {
                    Dispatch::ReturnsRun => answer(200, &details),
                    _ => ResponseTemplate::new(204),
                }
            }
            ("GET", ["actions", "workflows", "publish.yml", "runs"]) => {
                answer(200, &json!({"total_count": state.runs.len(), "workflow_runs": state.runs}))
            }
            ("GET", ["actions", "runs", id]) => {
                let at = state.looked.min(state.states.len() - 1);
                state.looked += 1;
                let (word, conclusion) = state.states[at];
                answer(200, &run(id.parse().unwrap(), "workflow_dispatch", word, conclusion))
            }
            _ => status(404, "Not Found"),
        }
    }
}

impl State {
    pub(super) fn add(&mut self, title: &Value, body: &Value, labels: &Value) {
        let number = self.issues.len() + 1;
        let issue =
            json!({"number": number, "state": "open", "title": title, "body": body, "labels": labels});
        self.issues.push(issue);
    }

    /// The titles of the open issues.
    pub(super) fn open(&self) -> Vec<&str> {
        let open = self.issues.iter().filter(|issue| issue["state"] == "open");
        open.filter_map(|issue| issue["title"].as_str()).collect()
    }

    fn list(&self, request: &Request) -> ResponseTemplate {
        let parameter = |name: &str| {
            request.url.query_pairs().find(|(of, _)| of == name).map(|(_, value)| value.into_owned())
        };
        let label = parameter("labels");
        let has = |issue: &Value, label: &String| {
            issue["labels"].as_array().unwrap().iter().any(|own| own["name"] == *label)
        };
        let state = parameter("state").unwrap();
        let size: usize = parameter("per_page").unwrap().parse().unwrap();
        let page: usize = parameter("page").unwrap().parse().unwrap();
        let all: Vec<_> = self
            .issues
            .iter()
            .rev()
            .filter(|issue| label.as_ref().is_none_or(|label| has(issue, label)))
            .filter(|issue| state == "all" || issue["state"] == *state)
            .collect();
        let part: Vec<_> = all.iter().skip((page - 1) * size).take(size).collect();
        let mut answer = ResponseTemplate::new(200).set_body_json(part).set_delay(self.list_delay);
        if page * size < all.len() {
            let next = format!("<http://x/issues?per_page={size}&page={}>; rel=\"next\"", page + 1);
            answer = answer.insert_header("link", next.as_str());
        }
        answer
    }
}

/// The members of a run that the program reads.
pub(super) fn run(id: u64, event: &str, word: &str, conclusion: Option<&str>) -> Value {
    json!({
        "id": id, "run_number": id - 99, "event": event, "status": word, "conclusion": conclusion,
        "head_branch": "main", "created_at": jiff::Timestamp::now(), "run_started_at": jiff::Timestamp::now(),
        "updated_at": jiff::Timestamp::now(), "html_url": format!("https://github.com/owner/zfs-kmods/actions/runs/{id}"),
    })
}

fn status(code: u16, message: &str) -> ResponseTemplate {
    answer(code, &json!({"message": message}))
}

fn answer(code: u16, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(code).set_body_json(body)
}
