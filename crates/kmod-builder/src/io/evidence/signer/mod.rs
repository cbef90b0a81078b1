//! Who signs: the owner of a key, a workflow of GitHub Actions without any key, both, or nobody.

mod key;
mod keyless;
mod token;

pub use key::{KeyFileError, parse_key, read_key, read_password, read_public_key};
pub(super) use keyless::retry_policy;
pub use keyless::{Keyless, KeylessError, SigstoreServices};
pub use token::{TokenError, TokenSource};

use sigstore_trust_root::{SigstoreInstance, TrustedRoot};

use crate::model::evidence::provenance::{BuildPlatform, SourceCommit};
use crate::model::evidence::simple_signing::SimpleSignature;
use crate::model::evidence::verify::{CertificateIdentity, TrustPolicy};
use crate::model::evidence::{
    EvidenceKind, PublicKey, SigningKey, SigningKeyError, Statement, StatementSubject,
};

/// What is said, loudly, when nothing is signed.
pub const UNSIGNED: &str = "NOTHING IS SIGNED (--no-sign): nobody will be able to tell this image from a forged one, \
     and hosts whose policy asks for signatures will refuse it";

/// Who signs. With both a key and an identity, each signs every statement: whichever of the two somebody trusts, the
/// evidence is complete.
#[derive(Debug, Default)]
pub struct Signer {
    key: Option<SigningKey>,
    keyless: Option<Keyless>,
}

/// One who signs, for asking what of theirs is stored already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerKind {
    /// The owner of the key.
    Key,
    /// The workflow.
    Keyless,
}

/// A bundle that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStatement {
    /// What it is about.
    pub kind: EvidenceKind,
    /// Who signed it.
    pub signer_kind: SignerKind,
    /// The Sigstore bundle, as JSON.
    pub bundle: Vec<u8>,
}

/// Signing failed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SignError {
    /// With the key.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Key(#[from] SigningKeyError),
    /// Without one.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Keyless(#[from] KeylessError),
}

impl Signer {
    /// Nobody: for local work. Writes [`UNSIGNED`] to the log, as a warning.
    pub fn unsigned() -> Self {
        tracing::warn!("{UNSIGNED}");
        Self::default()
    }

    /// The owner of a key, a workflow, or both. With neither, nothing is signed, and nothing is said about it:
    /// whether that is wanted is for the caller to find out.
    pub fn new(key: Option<SigningKey>, keyless: Option<Keyless>) -> Self {
        Self { key, keyless }
    }

    /// Whether anything is signed at all.
    pub const fn signs(&self) -> bool {
        self.key.is_some() || self.keyless.is_some()
    }

    /// Who signs.
    pub fn signer_kinds(&self) -> Vec<SignerKind> {
        let key = self.key.as_ref().map(|_| SignerKind::Key);
        key.into_iter().chain(self.keyless.as_ref().map(|_| SignerKind::Keyless)).collect()
    }

    /// The public half of the key, if there is one.
    pub fn public_key(&self) -> Option<&PublicKey> {
        self.key.as_ref().map(SigningKey::public)
    }

    /// Where the build runs, for the provenance: what the workflow's token says, or the commit given.
    ///
    /// A token is asked for even if only the key signs, as long as `tokens` can be had: the provenance should say what
    /// it can.
    pub async fn build_platform(
        &self,
        tokens: Option<&TokenSource>,
        source: Option<SourceCommit>,
    ) -> Result<BuildPlatform, SignError> {
        let claims = match (&self.keyless, tokens) {
            (Some(keyless), _) => keyless.claims().await?,
            (None, Some(tokens)) => tokens.fetch().await.map_err(KeylessError::from)?.claims,
            (None, None) => return Ok(BuildPlatform::Local { source }),
        };
        Ok(BuildPlatform::Actions(Box::new(claims)))
    }

    /// How to recognise what a party signed before, so that a second run signs nothing twice.
    pub async fn trust(
        &self,
        signer_kind: SignerKind,
        root: TrustedRoot,
    ) -> Result<Option<TrustPolicy>, SignError> {
        match signer_kind {
            SignerKind::Key => Ok(self.public_key().cloned().map(TrustPolicy::Key)),
            SignerKind::Keyless => match &self.keyless {
                None => Ok(None),
                Some(keyless) => {
                    let claims = keyless.claims().await?;
                    let (workflow, _) =
                        claims.job_workflow_ref.rsplit_once('@').unwrap_or((&claims.job_workflow_ref, ""));
                    let identity = CertificateIdentity::github(&claims.repository, root)
                        .map_err(|error| KeylessError::CertificateIdentity(error.to_string()))?
                        .server(&claims.server(), &claims.iss)
                        .workflow(workflow);
                    Ok(Some(TrustPolicy::Identity(Box::new(identity))))
                }
            },
        }
    }

    /// Signs a statement as one of the parties; `None` if that party does not sign here.
    pub async fn sign(
        &self,
        signer_kind: SignerKind,
        statement: &Statement,
    ) -> Result<Option<SignedStatement>, SignError> {
        let bundle = match (signer_kind, &self.key, &self.keyless) {
            (SignerKind::Key, Some(key), _) => key.sign(statement)?,
            (SignerKind::Keyless, _, Some(keyless)) => keyless.sign(statement).await?,
            _ => return Ok(None),
        };
        tracing::debug!(kind = %statement.kind(), ?signer_kind, "signed");
        Ok(Some(SignedStatement { kind: statement.kind(), signer_kind, bundle }))
    }

    /// Signs in the older way, which needs a key; `None` without one.
    pub fn sign_simple(&self, subject: &StatementSubject) -> Result<Option<SimpleSignature>, SignError> {
        Ok(self.key.as_ref().map(|key| key.sign_simple(subject)).transpose()?)
    }
}

/// Whom to believe what a certificate says of a workflow: the file given, or else what came with this program, the
/// keys of Sigstore's public services as they were when it was built.
///
/// A newer one is written by `cosign trusted-root create` or `gh attestation trusted-root`.
pub async fn trusted_root(file: Option<&std::path::Path>) -> Result<TrustedRoot, TrustedRootError> {
    let Some(file) = file else {
        return SigstoreInstance::PublicGood.embedded_trusted_root().map_err(TrustedRootError::Embedded);
    };
    let in_file = |reason: String| TrustedRootError::File { file: file.to_owned(), reason };
    let text = tokio::fs::read_to_string(file).await.map_err(|error| in_file(error.to_string()))?;
    TrustedRoot::from_json(&text).map_err(|error| in_file(error.to_string()))
}

/// There is no trusted root.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TrustedRootError {
    /// The file cannot be used.
    #[error("`{}` is no trusted root: {reason}", file.display())]
    #[diagnostic(help(
        "`cosign trusted-root create` writes one; of the lines that `gh attestation trusted-root` prints, take one"
    ))]
    File {
        /// Which.
        file: std::path::PathBuf,
        /// Why.
        reason: String,
    },
    /// The one that came with this program cannot be read.
    #[error("the trusted root that came with this program cannot be read")]
    Embedded(#[source] sigstore_trust_root::Error),
}

#[cfg(test)]
mod tests;
