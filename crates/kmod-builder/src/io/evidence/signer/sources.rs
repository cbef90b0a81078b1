use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use sigstore_trust_root::TrustedRoot;

use super::error::SignerError;
use super::{
    Keyless, Signer, SigstoreServices, TokenSource, parse_key, read_key, read_password, trusted_root,
};
use crate::io::environment::{secret, variable};
use crate::io::github::{GithubAttestations, RateLimitPolicy};
use crate::model::evidence::SigningKey;

/// Flags. Each address has Sigstore's public service as its default.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Signing")]
pub struct SignerSources {
    /// Sign with this private key: PKCS#8 PEM, or cosign's encrypted key with its password in COSIGN_PASSWORD;
    /// workflows pass the key's text in ZFS_KMODS_KEY_PEM
    #[arg(long, value_name = "FILE", env = "ZFS_KMODS_KEY")]
    key: Option<PathBuf>,

    /// Read the key's password from standard input instead
    #[arg(long, requires = "key")]
    key_password_stdin: bool,

    /// Sigstore's certificate authority, for signing without a key in GitHub Actions
    #[arg(long, value_name = "URL", env = "ZFS_KMODS_FULCIO_URL", hide_short_help = true)]
    fulcio_url: Option<String>,

    /// Sigstore's transparency log
    #[arg(long, value_name = "URL", env = "ZFS_KMODS_REKOR_URL", hide_short_help = true)]
    rekor_url: Option<String>,

    /// Sigstore's timestamp authority
    #[arg(long, value_name = "URL", env = "ZFS_KMODS_TIMESTAMP_URL", hide_short_help = true)]
    timestamp_url: Option<String>,

    /// For existing signatures; `None`: Sigstore's, built in.
    #[arg(skip)]
    pub trusted_root: Option<PathBuf>,
}

impl SignerSources {
    pub async fn signer(&self) -> Result<Signer, SignerError> {
        self.available_signer().await?.ok_or(SignerError::NoSigner)
    }

    /// `None` with neither a key nor an identity.
    pub async fn available_signer(&self) -> Result<Option<Signer>, SignerError> {
        let signer = Signer::new(self.key().await?, self.keyless()?);
        Ok(signer.signs().then_some(signer))
    }

    pub async fn trusted_root(&self) -> Result<TrustedRoot, SignerError> {
        trusted_root(self.trusted_root.as_deref()).await
    }

    /// `None` if the job may not request identity tokens.
    pub fn tokens(&self) -> Option<TokenSource> {
        let bearer = variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN").map(SecretString::from);
        TokenSource::new(client().ok()?, variable("ACTIONS_ID_TOKEN_REQUEST_URL"), bearer).ok()
    }

    pub async fn github_attestations(&self) -> Result<GithubAttestations, SignerError> {
        let (Some(tokens), Some(token)) = (self.tokens(), variable("GITHUB_TOKEN")) else {
            return Err(SignerError::NotInActions);
        };
        let claims = tokens.fetch().await?.claims;
        let api = variable("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".to_owned());
        let policy = RateLimitPolicy::default();
        Ok(GithubAttestations::new(&api, SecretString::from(token), &claims.repository, policy)?)
    }

    async fn key(&self) -> Result<Option<SigningKey>, SignerError> {
        const VARIABLE: &str = "ZFS_KMODS_KEY_PEM";
        let text = secret(VARIABLE);
        if self.key.is_none() && text.is_none() {
            return Ok(None);
        }
        let password = if self.key_password_stdin {
            Some(read_password(tokio::io::stdin()).await?)
        } else {
            variable("COSIGN_PASSWORD").map(SecretString::from)
        };
        match (&self.key, text) {
            (Some(file), _) => read_key(file, password).await.map(Some),
            (None, Some(text)) => parse_key(text, password, VARIABLE.to_owned()).await.map(Some),
            (None, None) => Ok(None),
        }
    }

    fn keyless(&self) -> Result<Option<Keyless>, SignerError> {
        let Some(tokens) = self.tokens() else { return Ok(None) };
        let public = SigstoreServices::public()?;
        let services = SigstoreServices {
            fulcio: self.fulcio_url.clone().unwrap_or(public.fulcio),
            rekor: self.rekor_url.clone().unwrap_or(public.rekor),
            timestamp: self.timestamp_url.clone().or(public.timestamp),
        };
        Ok(Some(Keyless::new(client()?, tokens, &services)))
    }
}

fn client() -> Result<reqwest::Client, reqwest::Error> {
    kmod_query::client_builder(Duration::from_secs(10)).timeout(Duration::from_mins(1)).build()
}
