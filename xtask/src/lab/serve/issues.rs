//! GitHub's REST API for issues: list, create, update, comment; and for labels: create.

use std::{fs, path::Path, sync::Mutex};

use serde_json::{Value, json};

use crate::error::{Context as _, Result};

const ISSUES: &str = "/github/repos/owner/zfs-kmods/issues";
const LABELS: &str = "/github/repos/owner/zfs-kmods/labels";
/// The file with all issues.
pub(crate) const FILE: &str = "issues.json";

/// Held while a request changes the file.
pub(crate) struct IssueStore {
    file: Mutex<std::path::PathBuf>,
}

impl IssueStore {
    pub(crate) fn new(run: &Path) -> Self {
        Self { file: Mutex::new(run.join(FILE)) }
    }

    /// Status and body. None if the request is not for issues.
    pub(crate) fn answer(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: &[u8],
        has_token: bool,
    ) -> Option<(u16, Value)> {
        let rest = path.strip_prefix(ISSUES).or_else(|| path.strip_prefix(LABELS))?;
        if !has_token {
            return Some((401, json!({"message": "Requires authentication"})));
        }
        if path == LABELS {
            return Some((201, serde_json::from_slice(body).unwrap_or_default()));
        }
        Some(
            self.changed(method, rest.trim_start_matches('/'), query, body)
                .unwrap_or_else(|failure| (422, json!({"message": format!("Validation Failed: {failure}")}))),
        )
    }

    fn changed(&self, method: &str, rest: &str, query: &str, body: &[u8]) -> Result<(u16, Value)> {
        let file = self.file.lock().map_err(|_| "the issues are gone")?;
        let mut all = read(&file)?;
        let given: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(body)? };
        let answer = match (method, rest.split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", [""]) => return Ok((200, listed(&all, query))),
            ("POST", [""]) => {
                let issue = json!({
                    "number": all.len() + 1,
                    "state": "open",
                    "title": given["title"].as_str().context("no title")?,
                    "body": given["body"],
                    "labels": given["labels"].as_array().into_iter().flatten()
                        .map(|name| json!({"name": name})).collect::<Vec<_>>(),
                    "comments_made": [],
                });
                all.push(issue.clone());
                (201, issue)
            }
            (method, [number, tail @ ..]) => {
                let number: usize = number.parse()?;
                let Some(issue) = number.checked_sub(1).and_then(|index| all.get_mut(index)) else {
                    return Ok((404, json!({"message": "Not Found"})));
                };
                match (method, tail) {
                    ("PATCH", []) => {
                        for name in ["title", "body", "state", "state_reason"] {
                            if !given[name].is_null() {
                                issue[name] = given[name].clone();
                            }
                        }
                        (200, issue.clone())
                    }
                    ("POST", ["comments"]) => {
                        let comments = issue["comments_made"].as_array_mut().context("no comments")?;
                        comments.push(given["body"].clone());
                        (201, json!({"body": given["body"]}))
                    }
                    _ => return Ok((404, json!({"message": "Not Found"}))),
                }
            }
            _ => return Ok((404, json!({"message": "Not Found"}))),
        };
        fs::write(&*file, serde_json::to_string_pretty(&all)?)?;
        Ok(answer)
    }
}

/// Every issue. Empty without a file.
pub(crate) fn read(file: &Path) -> Result<Vec<Value>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&fs::read(file)?).context(file.display())
}

/// Newest first, in one page: the lab never has 100 issues.
fn listed(all: &[Value], query: &str) -> Value {
    let of = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let state = of("state").unwrap_or("open");
    let labelled = |issue: &&Value| {
        let labels = issue["labels"].as_array();
        of("labels").is_none_or(|label| labels.into_iter().flatten().any(|own| own["name"] == label))
    };
    let wanted = |issue: &&Value| state == "all" || issue["state"] == state;
    json!(all.iter().rev().filter(labelled).filter(wanted).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issues_stay_what_they_were_made() {
        let directory = tempfile::tempdir().expect("a directory");
        let issues = IssueStore::new(directory.path());
        let ask = |method: &str, rest: &str, query: &str, body: Value| {
            let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
            issues.answer(method, &format!("{ISSUES}{rest}"), query, &body, true).expect("an answer")
        };
        assert_eq!(ask("POST", "", "", json!({"title": "a", "body": "b", "labels": ["x"]})).0, 201);
        assert_eq!(issues.answer("POST", LABELS, "", b"{}", true).expect("an answer").0, 201);
        assert_eq!(ask("POST", "/1/comments", "", json!({"body": "c"})).0, 201);
        assert_eq!(ask("PATCH", "/1", "", json!({"state": "closed"})).1["title"], "a");
        assert_eq!(ask("GET", "", "labels=x&state=all", Value::Null).1[0]["state"], "closed");
        assert_eq!(ask("GET", "", "labels=x", Value::Null).1, json!([]));
        assert_eq!(ask("GET", "", "labels=y&state=all", Value::Null).1, json!([]));
        assert_eq!(ask("PATCH", "/2", "", json!({"state": "closed"})).0, 404);
        assert_eq!(ask("POST", "", "", json!({})).0, 422);
        assert_eq!(issues.answer("GET", ISSUES, "", b"", false).expect("an answer").0, 401);
        assert!(issues.answer("GET", "/github/repos/openzfs/zfs/issues", "", b"", true).is_none());
    }
}
