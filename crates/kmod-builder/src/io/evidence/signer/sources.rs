use std::path::PathBuf;

use secrecy::SecretString;
use sigstore_trust_root::TrustedRoot;

use super::{
    KeyFileError, Keyless, KeylessError, Signer, SigstoreServices, TokenError, TokenSource, TrustedRootError,
    parse_key, read_key, read_password, trusted_root,
};
use crate::io::environment;
use crate::io::evidence::github_attestations::GithubAttestations;
use crate::model::evidence::{SigningKey, SigningKeyError};

#[derive(Clone, Debug, Default)]
pub struct SignerSources {
    /// Private key file; without it, `ZFS_KMODS_KEY_PEM` may hold the key's text.
    pub key: Option<PathBuf>,
    /// Reads the key's password from standard input instead of `COSIGN_PASSWORD`.
    pub password_from_stdin: bool,
    /// Default: Sigstore's public service.
    pub fulcio_url: Option<String>,
    /// Default: Sigstore's public service.
    pub rekor_url: Option<String>,
    /// Default: Sigstore's public service.
    pub timestamp_url: Option<String>,
    /// Default: the built-in trusted root.
    pub trusted_root: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SignerError {
    #[error("no signer: there is no private key and no workflow identity")]
    #[diagnostic(help(
        "give --key FILE, run in GitHub Actions with `id-token: write`, or give --no-sign for local work"
    ))]
    NoSigner,
    #[error("only a GitHub Actions workflow can upload attestations to GitHub")]
    #[diagnostic(help(
        "give the job `id-token: write` and `attestations: write`, and the step GITHUB_TOKEN"
    ))]
    NotInActions,
    #[error(transparent)]
    #[diagnostic(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error("cannot sign with the key in ZFS_KMODS_KEY_PEM")]
    Key(
        #[from]
        #[diagnostic_source]
        SigningKeyError,
    ),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Keyless(#[from] KeylessError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    TrustedRoot(#[from] TrustedRootError),
    #[error("cannot set up the HTTP client")]
    Client(#[from] reqwest::Error),
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
        Ok(trusted_root(self.trusted_root.as_deref()).await?)
    }

    /// `None` if the job may not request identity tokens.
    pub fn tokens(&self) -> Option<TokenSource> {
        let bearer = variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN").map(SecretString::from);
        TokenSource::new(client().ok()?, variable("ACTIONS_ID_TOKEN_REQUEST_URL"), bearer).ok()
    }

    /// The attestation store of the repository whose workflow runs.
    pub async fn github_attestations(&self) -> Result<GithubAttestations, SignerError> {
        let (Some(tokens), Some(token)) = (self.tokens(), variable("GITHUB_TOKEN")) else {
            return Err(SignerError::NotInActions);
        };
        let claims = tokens.fetch().await?.claims;
        let api = variable("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".to_owned());
        Ok(GithubAttestations::new(client()?, &api, &claims.repository, SecretString::from(token)))
    }

    async fn key(&self) -> Result<Option<SigningKey>, SignerError> {
        // GitHub Actions passes an unset secret as an empty variable.
        let text = variable("ZFS_KMODS_KEY_PEM").filter(|text| !text.trim().is_empty());
        if self.key.is_none() && text.is_none() {
            return Ok(None);
        }
        let password = if self.password_from_stdin {
            Some(read_password(tokio::io::stdin()).await?)
        } else {
            variable("COSIGN_PASSWORD").filter(|password| !password.is_empty()).map(SecretString::from)
        };
        match (&self.key, text) {
            (Some(file), _) => Ok(Some(read_key(file, password).await?)),
            (None, Some(text)) => Ok(Some(parse_key(SecretString::from(text), password).await?)),
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

fn variable(name: &str) -> Option<String> {
    environment::variable(name)
}

fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .connect_timeout(std::time::Duration::from_secs(10))
        .timeout(std::time::Duration::from_mins(1))
        .user_agent(concat!("zfs-kmods/", env!("CARGO_PKG_VERSION")))
        .build()
}
