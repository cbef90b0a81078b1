//! GitHub's attestation store, which `gh attestation verify` queries first.
//!
//! GitHub's documentation: "REST API endpoints for repository attestations".

use std::time::Duration;

use backon::Retryable as _;
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::signer::retry_policy;

#[derive(Clone, Debug)]
pub struct GithubAttestations {
    client: reqwest::Client,
    url: String,
    token: SecretString,
    first_wait: Duration,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum UploadError {
    #[error("the bundle is no JSON")]
    NoBundle(#[source] serde_json::Error),
    #[error("GitHub's attestations cannot be reached")]
    Connection(#[source] reqwest::Error),
    #[error("GitHub does not take the attestation ({status}): {message}")]
    #[diagnostic(help(
        "the job needs `permissions: attestations: write`; only bundles that a workflow signed are taken, and private repositories need a plan that has attestations"
    ))]
    Refused {
        status: StatusCode,
        /// From the response body.
        message: String,
    },
}

impl GithubAttestations {
    /// For `owner/name`, at this API base URL (`https://api.github.com`).
    pub fn new(client: reqwest::Client, api: &str, repository: &str, token: SecretString) -> Self {
        let url = format!("{}/repos/{repository}/attestations", api.trim_end_matches('/'));
        Self { client, url, token, first_wait: Duration::from_secs(1) }
    }

    /// Uploads a bundle and returns GitHub's id for it. Repeating an upload only creates another id.
    ///
    /// Retries three times, after 1, 2 and 4 seconds, if GitHub is unreachable or overloaded.
    pub async fn upload(&self, bundle: &[u8]) -> Result<u64, UploadError> {
        let bundle: Value = serde_json::from_slice(bundle).map_err(UploadError::NoBundle)?;
        let body = json!({"bundle": bundle});
        let passing = |error: &UploadError| match error {
            UploadError::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            UploadError::Connection(_) => true,
            UploadError::NoBundle(_) => false,
        };
        (|| self.request(&body)).retry(retry_policy(self.first_wait)).when(passing).await
    }

    async fn request(&self, body: &Value) -> Result<u64, UploadError> {
        #[derive(serde::Deserialize)]
        struct Created {
            id: u64,
        }
        let answer = self
            .client
            .post(&self.url)
            .bearer_auth(self.token.expose_secret())
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28")
            .json(body)
            .send()
            .await
            .map_err(UploadError::Connection)?;
        let status = answer.status();
        if status.is_success() {
            let created: Created = answer.json().await.map_err(UploadError::Connection)?;
            return Ok(created.id);
        }
        let answer: Value = answer.json().await.unwrap_or_default();
        let message = answer["message"].as_str().unwrap_or("no reason is given").to_owned();
        Err(UploadError::Refused { status, message })
    }
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{body_json, header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    fn store(server: &MockServer) -> GithubAttestations {
        let new =
            GithubAttestations::new(reqwest::Client::new(), &server.uri(), "owner/zfs-kmods", "token".into());
        GithubAttestations { first_wait: Duration::from_millis(1), ..new }
    }

    async fn answering(status: u16, body: Value, times: u64) -> MockServer {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/repos/owner/zfs-kmods/attestations"))
            .and(header("authorization", "Bearer token"))
            .and(body_json(json!({"bundle": {"mediaType": "x"}})))
            .respond_with(ResponseTemplate::new(status).set_body_json(body))
            .expect(times)
            .mount(&server)
            .await;
        server
    }

    #[tokio::test]
    async fn a_bundle_is_handed_over() {
        let server = answering(201, json!({"id": 7}), 1).await;
        assert_eq!(store(&server).upload(br#"{"mediaType":"x"}"#).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_refusal_is_final_and_an_overload_is_not() {
        let reason = json!({"message": "Resource not accessible by integration"});
        let server = answering(403, reason, 1).await;
        let error = store(&server).upload(br#"{"mediaType":"x"}"#).await.unwrap_err();
        assert!(error.to_string().contains("Resource not accessible"), "{error}");
        let server = answering(502, json!({}), 4).await;
        assert!(store(&server).upload(br#"{"mediaType":"x"}"#).await.is_err());
        assert!(matches!(store(&server).upload(b"x").await, Err(UploadError::NoBundle(_))));
    }
}
