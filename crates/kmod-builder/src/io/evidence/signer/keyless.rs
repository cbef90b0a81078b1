use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use jiff::{Timestamp, ToSpan as _};
use sigstore_sign::{Error as SigstoreError, SigningContext, SigningServices, SigstoreInstance};
use tokio::sync::Mutex;

use super::error::SignerError;
use super::token::{ActionsToken, TokenSource};
use crate::model::evidence::{Claims, Statement};

/// Keyless signing: an ephemeral key, a certificate for the workflow's identity (Fulcio), a transparency log entry
/// (Rekor) and a timestamp.
///
/// This publishes repository, workflow, commit and run permanently.
#[derive(Debug)]
pub struct Keyless {
    tokens: TokenSource,
    context: SigningContext,
    /// Reused for several statements.
    token: Mutex<Option<ActionsToken>>,
    first_wait: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigstoreServices {
    pub fulcio: String,
    /// Rekor v1.
    pub rekor: String,
    /// Timestamp authority; without it, no timestamps are requested.
    pub timestamp: Option<String>,
}

impl SigstoreServices {
    /// Sigstore's public services, as known at build time.
    pub fn public() -> Result<Self, SignerError> {
        let services =
            SigningServices::from_embedded(SigstoreInstance::PublicGood).map_err(SignerError::Sigstore)?;
        Ok(Self {
            fulcio: services.fulcio_url().to_owned(),
            rekor: services.rekor_url().to_owned(),
            timestamp: services.tsa_url().map(str::to_owned),
        })
    }
}

impl Keyless {
    pub fn new(client: reqwest::Client, tokens: TokenSource, services: &SigstoreServices) -> Self {
        let mut signing = SigningServices::new(&services.fulcio, &services.rekor);
        if let Some(url) = &services.timestamp {
            signing = signing.with_tsa_url(url);
        }
        Self {
            tokens,
            context: SigningContext::new(signing).with_http_client(client),
            token: Mutex::new(None),
            first_wait: Duration::from_secs(1),
        }
    }

    pub async fn claims(&self) -> Result<Claims, SignerError> {
        let mut token = self.token.lock().await;
        Ok(self.fresh(&mut token).await?.claims.clone())
    }

    /// Signs a statement and returns the Sigstore bundle as JSON.
    ///
    /// Retries three times, after 1, 2 and 4 seconds, if a service is unreachable or overloaded. Each attempt uses a
    /// new key and certificate; log entries of failed attempts remain and are harmless.
    pub async fn sign(&self, statement: &Statement) -> Result<Vec<u8>, SignerError> {
        let identity = {
            let mut token = self.token.lock().await;
            self.fresh(&mut token).await?.identity.clone()
        };
        let signer = self.context.signer(identity);
        let bundle = (|| signer.sign_raw_statement(statement.json()))
            .retry(retry_policy(self.first_wait))
            .when(is_passing)
            .notify(|error, wait| tracing::info!(%error, "signing failed, next try in {wait:?}"))
            .await
            .map_err(SignerError::Sigstore)?;
        let json = bundle.to_json().map_err(|error| SignerError::Bundle(error.to_string()))?;
        Ok(json.into_bytes())
    }

    /// Tokens last for minutes; one that expires soon is replaced.
    async fn fresh<'a>(&self, token: &'a mut Option<ActionsToken>) -> Result<&'a ActionsToken, SignerError> {
        let soon = Timestamp::now() + 1.minute();
        match token.take().filter(|token| token.identity.expiration() > soon) {
            Some(old) => Ok(token.insert(old)),
            None => Ok(token.insert(self.tokens.fetch().await?)),
        }
    }
}

pub(super) fn retry_policy(first: Duration) -> ExponentialBuilder {
    ExponentialBuilder::new().with_min_delay(first).with_factor(2.0).with_max_times(3)
}

fn is_passing(error: &SigstoreError) -> bool {
    use sigstore_sign::{fulcio, rekor, tsa};
    let overloaded = |status: u16| status >= 500 || status == 429;
    match error {
        SigstoreError::Fulcio(fulcio::Error::Http(_))
        | SigstoreError::Rekor(rekor::Error::Http(_))
        | SigstoreError::Tsa(tsa::Error::Http(_)) => true,
        SigstoreError::Fulcio(fulcio::Error::Status { status, .. })
        | SigstoreError::Rekor(rekor::Error::Status { status, .. }) => overloaded(*status),
        _ => false,
    }
}
