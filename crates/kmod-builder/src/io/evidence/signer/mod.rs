//! Signs with a private key, a GitHub Actions workflow identity, or both.

mod error;
mod key;
mod keyless;
mod sources;
mod token;

pub use error::SignerError;
pub use key::{parse_key, read_key, read_password, read_public_key};
pub use keyless::{Keyless, SigstoreServices};
pub use sources::SignerSources;
pub use token::TokenSource;

use sigstore_trust_root::{SigstoreInstance, TrustedRoot};

use crate::model::evidence::provenance::{BuildPlatform, SourceCommit};
use crate::model::evidence::simple_signing::SimpleSignature;
use crate::model::evidence::verify::{CertificateIdentity, TrustPolicy};
use crate::model::evidence::{EvidenceKind, PublicKey, SigningKey, Statement, StatementSubject};

pub const UNSIGNED: &str = "NOT SIGNED (--no-sign): this image cannot be told from a forged one, and hosts that require \
     signatures will reject it";

/// With a key and an identity, both sign every statement, so that the evidence is complete for each.
#[derive(Debug, Default)]
pub struct Signer {
    key: Option<SigningKey>,
    keyless: Option<Keyless>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerKind {
    Key,
    Keyless,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStatement {
    pub kind: EvidenceKind,
    pub signer_kind: SignerKind,
    /// Sigstore bundle in JSON.
    pub bundle: Vec<u8>,
}

impl Signer {
    /// Logs [`UNSIGNED`] as a warning.
    pub fn unsigned() -> Self {
        tracing::warn!("{UNSIGNED}");
        Self::default()
    }

    pub fn new(key: Option<SigningKey>, keyless: Option<Keyless>) -> Self {
        Self { key, keyless }
    }

    pub const fn signs(&self) -> bool {
        self.key.is_some() || self.keyless.is_some()
    }

    pub fn signer_kinds(&self) -> Vec<SignerKind> {
        let key = self.key.as_ref().map(|_| SignerKind::Key);
        key.into_iter().chain(self.keyless.as_ref().map(|_| SignerKind::Keyless)).collect()
    }

    pub fn public_key(&self) -> Option<&PublicKey> {
        self.key.as_ref().map(SigningKey::public)
    }

    /// The build platform for the provenance: the workflow token's claims, else the local commit.
    ///
    /// Requests a token even if only the key signs.
    pub async fn build_platform(
        &self,
        tokens: Option<&TokenSource>,
        source: Option<SourceCommit>,
    ) -> Result<BuildPlatform, SignerError> {
        let claims = match (&self.keyless, tokens) {
            (Some(keyless), _) => keyless.claims().await?,
            (None, Some(tokens)) => tokens.fetch().await?.claims,
            (None, None) => return Ok(BuildPlatform::Local { source }),
        };
        Ok(BuildPlatform::Actions(Box::new(claims)))
    }

    /// Accepts this signer's earlier signatures, so that a second run does not sign again.
    pub async fn trust(
        &self,
        signer_kind: SignerKind,
        root: TrustedRoot,
    ) -> Result<Option<TrustPolicy>, SignerError> {
        match signer_kind {
            SignerKind::Key => Ok(self.public_key().cloned().map(TrustPolicy::key)),
            SignerKind::Keyless => match &self.keyless {
                None => Ok(None),
                Some(keyless) => {
                    let identity = CertificateIdentity::of_run(&keyless.claims().await?, root)
                        .map_err(|error| SignerError::Token(error.to_string()))?;
                    Ok(Some(TrustPolicy::identity(identity)))
                }
            },
        }
    }

    /// `None` without that signer.
    pub async fn sign(
        &self,
        signer_kind: SignerKind,
        statement: &Statement,
    ) -> Result<Option<SignedStatement>, SignerError> {
        let bundle = match (signer_kind, &self.key, &self.keyless) {
            (SignerKind::Key, Some(key), _) => key.sign(statement)?,
            (SignerKind::Keyless, _, Some(keyless)) => keyless.sign(statement).await?,
            _ => return Ok(None),
        };
        tracing::debug!(kind = %statement.kind(), ?signer_kind, "signed");
        Ok(Some(SignedStatement { kind: statement.kind(), signer_kind, bundle }))
    }

    /// `None` without a key.
    pub fn sign_simple(&self, subject: &StatementSubject) -> Result<Option<SimpleSignature>, SignerError> {
        Ok(self.key.as_ref().map(|key| key.sign_simple(subject)).transpose()?)
    }
}

/// The trusted root in the file, else the built-in one of Sigstore's public services.
///
/// `cosign trusted-root create` and `gh attestation trusted-root` write newer ones.
pub async fn trusted_root(file: Option<&std::path::Path>) -> Result<TrustedRoot, SignerError> {
    let fail = |place: String, error: &dyn std::error::Error| {
        let reason = error.to_string();
        SignerError::TrustedRoot { place, reason }
    };
    let Some(file) = file else {
        let root = SigstoreInstance::PublicGood.embedded_trusted_root();
        return root.map_err(|error| fail("of this program".to_owned(), &error));
    };
    let place = || format!("`{}`", file.display());
    let text = tokio::fs::read_to_string(file).await.map_err(|error| fail(place(), &error))?;
    TrustedRoot::from_json(&text).map_err(|error| fail(place(), &error))
}

#[cfg(test)]
mod tests;
