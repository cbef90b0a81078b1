use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sigstore_sign::oidc::IdentityToken;

use super::error::SignerError;
use crate::model::evidence::Claims;

/// Fulcio accepts only this audience.
const AUDIENCE: &str = "sigstore";

#[derive(Clone, Debug)]
pub struct TokenSource {
    client: reqwest::Client,
    url: String,
    bearer: SecretString,
}

#[derive(Debug)]
pub struct ActionsToken {
    pub(super) identity: IdentityToken,
    pub claims: Claims,
}

impl TokenSource {
    /// Values of `ACTIONS_ID_TOKEN_REQUEST_URL` and `ACTIONS_ID_TOKEN_REQUEST_TOKEN`; empty counts as unset.
    pub fn new(
        client: reqwest::Client,
        url: Option<String>,
        bearer: Option<SecretString>,
    ) -> Result<Self, SignerError> {
        match (url, bearer) {
            (Some(url), Some(bearer)) if !url.is_empty() && !bearer.expose_secret().is_empty() => {
                Ok(Self { client, url, bearer })
            }
            _ => Err(SignerError::NoTokenSource),
        }
    }

    /// Retries three times, after 1, 2 and 4 seconds, unless the request is rejected.
    pub async fn fetch(&self) -> Result<ActionsToken, SignerError> {
        use backon::Retryable as _;
        let passing = |error: &reqwest::Error| {
            error.status().is_none_or(|status| status.is_server_error() || status.as_u16() == 429)
        };
        let token = (|| self.request())
            .retry(super::keyless::retry_policy(Duration::from_secs(1)))
            .when(passing)
            .await
            // The URL may hold secrets.
            .map_err(|error| SignerError::TokenRequest(error.without_url()))?;
        let token = token.expose_secret();
        Ok(ActionsToken {
            claims: Claims::from_token(token).map_err(SignerError::Token)?,
            identity: IdentityToken::from_jwt(token)
                .map_err(|error| SignerError::Token(error.to_string()))?,
        })
    }

    async fn request(&self) -> Result<SecretString, reqwest::Error> {
        #[derive(serde::Deserialize)]
        struct TokenResponse {
            value: String,
        }
        let answer: TokenResponse = self
            .client
            .get(&self.url)
            .query(&[("audience", AUDIENCE)])
            .bearer_auth(self.bearer.expose_secret())
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        Ok(SecretString::from(answer.value))
    }
}
