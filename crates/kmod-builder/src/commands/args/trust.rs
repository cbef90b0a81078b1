use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic as _, Result};

use crate::commands::UsageError;
use crate::io::evidence::signer;
use crate::model::config::{IdentityConfig, PublisherConfig};
use crate::model::evidence::verify::{CertificateIdentity, TrustPolicy, TrustedSigner};
use crate::model::image::ImageLocation;

/// Which signer is trusted.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Trust")]
pub struct TrustArgs {
    /// Trust signatures of this public key (PEM)
    #[arg(long, value_name = "FILE", conflicts_with = "identity_repo")]
    public_key: Option<PathBuf>,

    /// Trust signatures of workflows of this GitHub repository: owner/name
    #[arg(long, value_name = "OWNER/NAME")]
    identity_repo: Option<String>,

    /// Only jobs of this workflow file: target.yml
    #[arg(long, value_name = "FILE", requires = "identity_repo")]
    identity_workflow: Option<String>,

    /// Runs on this ref, such as refs/heads/BRANCH for the images of a branch [default: refs/heads/main]
    #[arg(long, value_name = "REF", requires = "identity_repo")]
    identity_ref: Option<String>,

    /// Check identities against this root of trust, offline [default: Sigstore's, built in]
    #[arg(long, value_name = "FILE", env = "ZFS_KMODS_TRUSTED_ROOT", hide_short_help = true)]
    trusted_root: Option<PathBuf>,
}

impl TrustArgs {
    /// Fails if neither the flags nor the configuration name a trusted signer.
    pub async fn required_policy(&self, config: &PublisherConfig) -> Result<TrustPolicy> {
        let help = "give <--public-key <FILE>|--identity-repo <OWNER/NAME>>, or `[trust]` in zfs-kmods.toml";
        let policy = self.policy(config).await?;
        policy.ok_or_else(|| UsageError::new("no trusted signer is named", help).into())
    }

    /// Without trust flags and configured signers, signatures are not verified.
    pub async fn policy_or_unverified(&self, config: &PublisherConfig) -> Result<TrustPolicy> {
        Ok(self.policy(config).await?.unwrap_or(TrustPolicy::Unverified))
    }

    /// Images in a directory have no evidence: only flags count for them.
    pub async fn policy_for(
        &self,
        store: &ImageLocation,
        config: &PublisherConfig,
    ) -> Result<Option<TrustPolicy>> {
        match store {
            ImageLocation::Registry(_) => self.policy(config).await,
            ImageLocation::Layout(_) => self.policy(&PublisherConfig::default()).await,
        }
    }

    /// `None` without trust flags and configured signers.
    pub async fn policy(&self, config: &PublisherConfig) -> Result<Option<TrustPolicy>> {
        if let Some(file) = &self.public_key {
            return Ok(Some(TrustPolicy::key(signer::read_public_key(file).await?)));
        }
        if let Some(repository) = &self.identity_repo {
            let identity = IdentityConfig {
                repository: repository.clone(),
                workflow: self.identity_workflow.clone(),
                reference: self.identity_ref.clone(),
            };
            return Ok(Some(TrustPolicy::identity(self.identity(&identity).await?)));
        }
        if config.trust.is_empty() {
            return Ok(None);
        }
        let mut signers = Vec::new();
        for file in &config.trust.public_keys {
            signers.push(TrustedSigner::Key(signer::read_public_key(file).await?));
        }
        for identity in &config.trust.identities {
            signers.push(TrustedSigner::Identity(Box::new(self.identity(identity).await?)));
        }
        Ok(Some(TrustPolicy::Signers(signers)))
    }

    async fn identity(&self, config: &IdentityConfig) -> Result<CertificateIdentity> {
        let root = signer::trusted_root(self.trusted_root.as_deref()).await?;
        let mut identity = CertificateIdentity::github(&config.repository, root).into_diagnostic()?;
        if let Some(workflow) = &config.workflow {
            identity = identity.workflow(workflow);
        }
        if let Some(reference) = &config.reference {
            identity = identity.reference(reference);
        }
        Ok(identity)
    }
}
