use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// The claims of a GitHub Actions OIDC token: the source of the provenance, because a job can change its environment
/// but not the token.
///
/// Named as in the token (GitHub's documentation, "OpenID Connect reference"); other claims are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer: `https://token.actions.githubusercontent.com`.
    pub iss: String,
    /// The git ref: `refs/heads/main`.
    #[serde(rename = "ref")]
    pub reference: String,
    pub sha: String,
    /// `owner/name`.
    pub repository: String,
    /// `schedule`, `push`.
    pub event_name: String,
    /// The workflow with the job, which may be a reusable one of another repository.
    pub job_workflow_ref: String,
    /// The triggered workflow: `owner/name/.github/workflows/build.yaml@refs/heads/main`.
    pub workflow_ref: String,
    /// Survives renaming.
    pub repository_id: String,
    pub repository_owner_id: String,
    /// `github-hosted` or `self-hosted`.
    pub runner_environment: String,
    pub run_id: String,
    pub run_attempt: String,
}

impl Claims {
    /// Reads the claims of a token **without verifying its signature**, which Fulcio does. The error is a sentence.
    pub fn from_token(token: &str) -> Result<Self, String> {
        let parts: Vec<_> = token.split('.').collect();
        let json = if let [_, payload, _] = parts[..] { URL_SAFE_NO_PAD.decode(payload).ok() } else { None };
        let json = json.ok_or("the identity token is no JSON Web Token")?;
        serde_json::from_slice(&json)
            .map_err(|error| format!("the identity token is not one of GitHub Actions: {error}"))
    }

    /// `https://github.com`, the host of a GitHub Enterprise Server (tokens issued by
    /// `https://HOST/_services/token`), or `https://TENANT.ghe.com` (by `https://token.actions.TENANT.ghe.com`).
    pub fn server(&self) -> String {
        let tenant =
            self.iss.strip_prefix("https://token.actions.").filter(|host| host.ends_with(".ghe.com"));
        match (self.iss.strip_suffix("/_services/token"), tenant) {
            (Some(server), _) => server.to_owned(),
            (None, Some(tenant)) => format!("https://{tenant}"),
            (None, None) => "https://github.com".to_owned(),
        }
    }

    /// The file of the triggered workflow: `.github/workflows/build.yaml`.
    pub fn workflow_path(&self) -> &str {
        let path = self.workflow_ref.strip_prefix(&self.repository).unwrap_or(&self.workflow_ref);
        let path = path.strip_prefix('/').unwrap_or(path);
        path.split_once('@').map_or(path, |(path, _)| path)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::model::evidence) fn claims() -> Claims {
        Claims {
            iss: "https://token.actions.githubusercontent.com".into(),
            reference: "refs/heads/main".into(),
            sha: "0123456789012345678901234567890123456789".into(),
            repository: "owner/zfs-kmods".into(),
            event_name: "schedule".into(),
            job_workflow_ref: "owner/zfs-kmods/.github/workflows/build.yaml@refs/heads/main".into(),
            workflow_ref: "owner/zfs-kmods/.github/workflows/build.yaml@refs/heads/main".into(),
            repository_id: "1".into(),
            repository_owner_id: "2".into(),
            runner_environment: "github-hosted".into(),
            run_id: "3".into(),
            run_attempt: "1".into(),
        }
    }

    #[test]
    fn claims_are_read_from_a_token() {
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims()).unwrap());
        let read = Claims::from_token(&format!("e30.{payload}.x")).unwrap();
        assert_eq!(read, claims());
        assert_eq!(read.server(), "https://github.com");
        assert_eq!(read.workflow_path(), ".github/workflows/build.yaml");
        for (issuer, server) in [
            ("https://github.example.org/_services/token", "https://github.example.org"),
            ("https://token.actions.acme.ghe.com", "https://acme.ghe.com"),
        ] {
            assert_eq!(Claims { iss: issuer.into(), ..claims() }.server(), server);
        }
        for bad in ["", "a.b", "e30.e30.x", &format!("e30.{payload}.x.y"), &format!("e30.{payload}!.x")] {
            assert!(Claims::from_token(bad).is_err(), "{bad}");
        }
    }
}
