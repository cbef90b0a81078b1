//! Who signs, and whom a reader trusts: flags that several verbs share.

use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic as _, Result};
use secrecy::SecretString;
use sigstore_trust_root::TrustedRoot;

use crate::io::evidence::github_attestations::GithubAttestations;
use crate::io::evidence::signer::{self, Keyless, Signer, SigstoreServices, TokenSource};
use crate::model::evidence::SigningKey;
use crate::model::evidence::verify::{CertificateIdentity, TrustPolicy};

/// Who signs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Signing")]
pub struct SigningArgs {
    /// Sign with this private key: PKCS#8 PEM, or cosign's encrypted key with its password in COSIGN_PASSWORD; a
    /// workflow gives the key's text in ZFS_KMODS_KEY_PEM
    #[arg(long, value_name = "FILE", env = "ZFS_KMODS_KEY")]
    key: Option<PathBuf>,

    /// Read the key's password from standard input instead
    #[arg(long, requires = "key")]
    key_password_stdin: bool,

    /// Sign nothing, for local work: nobody will be able to tell the image from a forged one
    #[arg(long, conflicts_with = "key")]
    no_sign: bool,

    /// Sigstore's certificate authority, for signing without a key in GitHub Actions
    #[arg(long, value_name = "URL", env = "ZFS_KMODS_FULCIO_URL", hide_short_help = true)]
    fulcio_url: Option<String>,

    /// Sigstore's transparency log
    #[arg(long, value_name = "URL", env = "ZFS_KMODS_REKOR_URL", hide_short_help = true)]
    rekor_url: Option<String>,

    /// Sigstore's timestamp authority
    #[arg(long, value_name = "URL", env = "ZFS_KMODS_TIMESTAMP_URL", hide_short_help = true)]
    timestamp_url: Option<String>,

    /// Check what is signed already against this root of trust [default: Sigstore's, as built in]
    #[arg(long, value_name = "FILE", env = "ZFS_KMODS_TRUSTED_ROOT", hide_short_help = true)]
    trusted_root: Option<PathBuf>,
}

impl SigningArgs {
    /// Against which identities are checked.
    pub async fn trusted_root(&self) -> Result<TrustedRoot> {
        Ok(signer::trusted_root(self.trusted_root.as_deref()).await?)
    }

    /// The signer that was asked for: a key, the workflow that this runs in, both, or in so many words nobody.
    pub async fn signer(&self) -> Result<Signer> {
        if self.no_sign {
            return Ok(Signer::unsigned());
        }
        self.anybody().await?.ok_or_else(|| {
            miette::miette!(
                help = "give --key FILE, run in GitHub Actions with `id-token: write`, or say --no-sign for local work",
                "nobody signs: there is no key, and no identity of a workflow"
            )
        })
    }

    /// Whoever can sign here: a key, the workflow that this runs in, or both; `None` where nobody can.
    pub async fn anybody(&self) -> Result<Option<Signer>> {
        let signer = Signer::new(self.key().await?, self.keyless()?);
        Ok(signer.signs().then_some(signer))
    }

    /// Whether somebody asked for nothing to be signed.
    pub const fn declined(&self) -> bool {
        self.no_sign
    }

    /// Where the workflow's identity comes from, if this runs in one that may ask for it.
    pub fn tokens(&self) -> Option<TokenSource> {
        let variable = |name| std::env::var(name).ok();
        let bearer = variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN").map(SecretString::from);
        TokenSource::new(client().ok()?, variable("ACTIONS_ID_TOKEN_REQUEST_URL"), bearer).ok()
    }

    /// GitHub's attestations of the repository in which the workflow runs.
    pub async fn github_attestations(&self) -> Result<GithubAttestations> {
        let (Some(tokens), Ok(token)) = (self.tokens(), std::env::var("GITHUB_TOKEN")) else {
            return Err(miette::miette!(
                help = "give the job `id-token: write` and `attestations: write`, and the step GITHUB_TOKEN",
                "only a workflow of GitHub Actions can upload attestations to GitHub"
            ));
        };
        let claims = tokens.fetch().await?.claims;
        let api = std::env::var("GITHUB_API_URL").unwrap_or_else(|_| "https://api.github.com".to_owned());
        Ok(GithubAttestations::new(client()?, &api, &claims.repository, SecretString::from(token)))
    }

    async fn key(&self) -> Result<Option<SigningKey>> {
        // A secret that is not set is a variable that is empty.
        let text = std::env::var("ZFS_KMODS_KEY_PEM").ok().filter(|text| !text.trim().is_empty());
        if self.key.is_none() && text.is_none() {
            return Ok(None);
        }
        let password = if self.key_password_stdin {
            Some(signer::read_password(tokio::io::stdin()).await?)
        } else {
            let password = std::env::var("COSIGN_PASSWORD").ok().filter(|password| !password.is_empty());
            password.map(SecretString::from)
        };
        match (&self.key, text) {
            (Some(file), _) => Ok(Some(signer::read_key(file, password).await?)),
            (None, Some(text)) => Ok(Some(signer::parse_key(SecretString::from(text), password).await?)),
            (None, None) => Ok(None),
        }
    }

    fn keyless(&self) -> Result<Option<Keyless>> {
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

/// Whom a reader trusts.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Trust")]
pub struct TrustArgs {
    /// Trust what the owner of this public key signed (PEM)
    #[arg(long = "public-key", alias = "key", value_name = "FILE", conflicts_with = "identity_repo")]
    public_key: Option<PathBuf>,

    /// Trust what a workflow of this repository on GitHub signed: owner/name
    #[arg(long, value_name = "OWNER/NAME")]
    identity_repo: Option<String>,

    /// Only this workflow of it: publish.yml
    #[arg(long, value_name = "FILE", requires = "identity_repo")]
    identity_workflow: Option<String>,

    /// Only when it ran on this ref: refs/heads/main
    #[arg(long, value_name = "REF", requires = "identity_repo")]
    identity_ref: Option<String>,

    /// Check identities against this root of trust, offline [default: Sigstore's, as built in]
    #[arg(long, value_name = "FILE", env = "ZFS_KMODS_TRUSTED_ROOT", hide_short_help = true)]
    trusted_root: Option<PathBuf>,
}

impl TrustArgs {
    /// The signer that evidence must be from; anyone if no signer is named.
    pub async fn policy_or_unverified(&self) -> Result<TrustPolicy> {
        Ok(self.policy().await?.unwrap_or(TrustPolicy::Unverified))
    }

    /// The signer that evidence must be from; `None` if no signer is named.
    pub async fn policy(&self) -> Result<Option<TrustPolicy>> {
        if let Some(file) = &self.public_key {
            return Ok(Some(TrustPolicy::Key(signer::read_public_key(file).await?)));
        }
        let Some(repository) = &self.identity_repo else { return Ok(None) };
        let root = signer::trusted_root(self.trusted_root.as_deref()).await?;
        let mut identity = CertificateIdentity::github(repository, root).into_diagnostic()?;
        if let Some(workflow) = &self.identity_workflow {
            identity = identity.workflow(workflow);
        }
        if let Some(reference) = &self.identity_ref {
            identity = identity.reference(reference);
        }
        Ok(Some(TrustPolicy::Identity(Box::new(identity))))
    }
}

fn client() -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(std::time::Duration::from_secs(10))
        .timeout(std::time::Duration::from_mins(1))
        .user_agent(concat!("zfs-kmods/", env!("CARGO_PKG_VERSION")))
        .build()
        .into_diagnostic()
}
