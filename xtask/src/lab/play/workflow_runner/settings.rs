//! The settings of the repository at GitHub: secrets, and the
//! [environments](https://docs.github.com/actions/reference/workflows-and-actions/deployments-and-environments) of jobs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::error::Result;

#[derive(Clone, Default)]
pub(crate) struct RepositorySettings {
    /// For every job of a workflow that is not called.
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) environments: BTreeMap<String, JobEnvironment>,
}

/// For the jobs that name it.
#[derive(Clone, Default)]
pub(crate) struct JobEnvironment {
    /// The branches that may use it; `None` if all may.
    pub(crate) branches: Option<Vec<String>>,
    pub(crate) secrets: BTreeMap<String, String>,
}

impl RepositorySettings {
    pub(super) fn secrets(&self) -> Value {
        json!(self.secrets)
    }

    /// The secrets of a job that names the environment, if the ref may use it. `visible` has those of the workflow.
    ///
    /// GitHub creates an environment that does not exist, with neither rules nor secrets.
    pub(super) fn secrets_in(
        &self,
        environment: &str,
        reference: &str,
        visible: &Value,
        is_called: bool,
    ) -> Result<Option<Value>> {
        let Some(environment) = self.environments.get(environment) else { return Ok(Some(visible.clone())) };
        if let Some(branches) = &environment.branches {
            if let Some(pattern) = branches.iter().find(|branch| branch.contains(['*', '?', '['])) {
                return Err(format!("the pattern `{pattern}` of an environment is not supported").into());
            }
            let branch = reference.strip_prefix("refs/heads/");
            if !branches.iter().any(|allowed| Some(allowed.as_str()) == branch) {
                return Ok(None);
            }
        }
        let mut secrets = visible.as_object().cloned().unwrap_or_default();
        for (name, value) in &environment.secrets {
            // A called workflow has only the secrets that its caller names (actions/runner#1490).
            if !is_called || secrets.contains_key(name) {
                secrets.insert(name.clone(), json!(value));
            }
        }
        Ok(Some(Value::Object(secrets)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(branches: Option<&[&str]>) -> RepositorySettings {
        let branches = branches.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let secrets = BTreeMap::from([("KEY".to_owned(), "of the environment".to_owned())]);
        let environments = BTreeMap::from([("signing".to_owned(), JobEnvironment { branches, secrets })]);
        RepositorySettings { secrets: BTreeMap::new(), environments }
    }

    #[test]
    fn only_a_job_of_an_allowed_branch_gets_the_secrets_of_an_environment() {
        let limited = settings(Some(&["main"]));
        let secrets =
            |reference: &str| limited.secrets_in("signing", reference, &json!({}), false).expect("settings");
        assert_eq!(secrets("refs/heads/main"), Some(json!({"KEY": "of the environment"})));
        for other in ["refs/heads/fix", "refs/heads/main/x", "refs/tags/main", "refs/pull/1/merge"] {
            assert_eq!(secrets(other), None, "{other}");
        }
        assert!(settings(None).secrets_in("signing", "refs/tags/v1", &json!({}), false).unwrap().is_some());
        assert!(settings(Some(&["*"])).secrets_in("signing", "x", &json!({}), false).is_err());
    }

    #[test]
    fn a_called_workflow_gets_the_secrets_of_an_environment_that_its_caller_names() {
        let limited = settings(Some(&["main"]));
        let secrets =
            |visible: Value| limited.secrets_in("signing", "refs/heads/main", &visible, true).unwrap();
        assert_eq!(secrets(json!({})), Some(json!({})));
        assert_eq!(secrets(json!({"KEY": ""})), Some(json!({"KEY": "of the environment"})));
    }

    #[test]
    fn an_environment_that_does_not_exist_has_no_secrets() {
        let visible = json!({"OTHER": "x"});
        let secrets = settings(None).secrets_in("other", "refs/heads/x", &visible, false).unwrap();
        assert_eq!(secrets, Some(visible));
    }
}
