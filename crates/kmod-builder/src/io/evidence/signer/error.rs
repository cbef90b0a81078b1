use std::path::PathBuf;

use crate::io::github::GithubError;
use crate::model::evidence::{KeyError, SigningKeyError};

/// Contains nothing secret.
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
    #[error("cannot read {what}")]
    Read { what: String, source: std::io::Error },
    #[error("cannot sign with the key in {place}")]
    PrivateKey {
        place: String,
        #[source]
        #[diagnostic_source]
        error: SigningKeyError,
    },
    #[error("cannot verify with the key in `{}`", file.display())]
    PublicKey {
        file: PathBuf,
        #[source]
        #[diagnostic_source]
        error: KeyError,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Key(#[from] SigningKeyError),
    #[error("this process may not request an identity token from GitHub Actions")]
    #[diagnostic(help("give the job `permissions: id-token: write`, or sign with `--key`"))]
    NoTokenSource,
    #[error("GitHub Actions did not issue an identity token")]
    #[diagnostic(help("give the job `permissions: id-token: write`, or sign with `--key`"))]
    TokenRequest(#[source] reqwest::Error),
    #[error("invalid identity token: {0}")]
    Token(String),
    #[error("cannot sign without a key")]
    #[diagnostic(help(
        "Sigstore's services may be down (status.sigstore.dev); run the command again later, published content is kept"
    ))]
    Sigstore(#[source] sigstore_sign::Error),
    #[error("cannot write the Sigstore bundle: {0}")]
    Bundle(String),
    #[error("invalid trusted root {place}: {reason}")]
    #[diagnostic(help(
        "`cosign trusted-root create` writes one; or use one line of `gh attestation trusted-root`"
    ))]
    TrustedRoot { place: String, reason: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Github(#[from] GithubError),
    #[error("cannot set up the HTTP client")]
    Client(#[from] reqwest::Error),
}
