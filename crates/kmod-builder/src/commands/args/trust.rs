use std::path::PathBuf;

use clap::Args;
use miette::{IntoDiagnostic as _, Result};

use crate::io::evidence::signer;
use crate::model::evidence::verify::{CertificateIdentity, TrustPolicy};

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

    /// Only this workflow: publish.yml
    #[arg(long, value_name = "FILE", requires = "identity_repo")]
    identity_workflow: Option<String>,

    /// Only runs on this ref: refs/heads/main
    #[arg(long, value_name = "REF", requires = "identity_repo")]
    identity_ref: Option<String>,

    /// Check identities against this root of trust, offline [default: Sigstore's, built in]
    #[arg(long, value_name = "FILE", env = "ZFS_KMODS_TRUSTED_ROOT", hide_short_help = true)]
    trusted_root: Option<PathBuf>,
}

impl TrustArgs {
    /// Without trust flags, signatures are not verified.
    pub async fn policy_or_unverified(&self) -> Result<TrustPolicy> {
        Ok(self.policy().await?.unwrap_or(TrustPolicy::Unverified))
    }

    /// `None` without trust flags.
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
