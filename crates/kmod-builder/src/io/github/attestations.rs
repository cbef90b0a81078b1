use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{GithubClient, RateLimitPolicy};
use super::error::GithubError;

const HELP: &str = "give the job `permissions: attestations: write`; GitHub accepts only bundles that a workflow \
                    signed, and for private repositories only with a plan that has attestations";

/// GitHub's attestation store, which `gh attestation verify` queries first ("REST API endpoints for repository
/// attestations").
#[derive(Debug)]
pub struct GithubAttestations {
    client: GithubClient,
    url: String,
}

impl GithubAttestations {
    /// For `owner/name`, at this API base URL (`https://api.github.com`).
    pub fn new(
        base: &str,
        token: SecretString,
        repository: &str,
        policy: RateLimitPolicy,
    ) -> Result<Self, GithubError> {
        let client = GithubClient::new(base, Some(token), policy, HELP)?;
        let url = format!("{}/repos/{repository}/attestations", client.base());
        Ok(Self { client, url })
    }

    /// Uploads a bundle and returns GitHub's id for it. Repeating an upload only creates another id.
    pub async fn upload(&self, bundle: &[u8]) -> Result<u64, GithubError> {
        #[derive(Deserialize)]
        struct Created {
            id: u64,
        }
        let what = "upload the attestation";
        let bundle: Value = serde_json::from_slice(bundle)?;
        let body = json!({"bundle": bundle});
        let response = self.client.change(what, Method::POST, &self.url, Some(&body)).await?;
        Ok(self.client.json::<Created>(what, &response)?.id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wiremock::matchers::{body_json, header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    fn store(server: &MockServer) -> GithubAttestations {
        let mut policy = RateLimitPolicy { between_changes: Duration::ZERO, ..RateLimitPolicy::default() };
        policy.retry.first_delay = Duration::from_millis(1);
        GithubAttestations::new(&server.uri(), "token".into(), "owner/zfs-kmods", policy).unwrap()
    }

    async fn answering(status: u16, body: Value, times: usize) -> MockServer {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/repos/owner/zfs-kmods/attestations"))
            .and(header("authorization", "Bearer token"))
            .and(body_json(json!({"bundle": {"mediaType": "x"}})))
            .respond_with(ResponseTemplate::new(status).set_body_json(body))
            .expect(times as u64)
            .mount(&server)
            .await;
        server
    }

    #[tokio::test]
    async fn a_bundle_is_uploaded() {
        let server = answering(201, json!({"id": 7}), 1).await;
        assert_eq!(store(&server).upload(br#"{"mediaType":"x"}"#).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_rejection_is_final_and_an_overload_is_not() {
        let reason = json!({"message": "Resource not accessible by integration"});
        let server = answering(403, reason, 1).await;
        let error = store(&server).upload(br#"{"mediaType":"x"}"#).await.unwrap_err();
        assert!(error.to_string().contains("Resource not accessible"), "{error}");
        let server = answering(502, json!({}), RateLimitPolicy::default().retry.attempts).await;
        assert!(store(&server).upload(br#"{"mediaType":"x"}"#).await.is_err());
        assert!(matches!(store(&server).upload(b"x").await, Err(GithubError::InvalidBundle(_))));
    }
}
