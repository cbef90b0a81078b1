use std::path::PathBuf;

use clap::Args;

use crate::io::evidence::signer::{Signer, SignerError, SignerSources};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Signing")]
pub struct SigningArgs {
    #[command(flatten)]
    sources: SignerSources,

    /// Check existing signatures against this root of trust [default: Sigstore's, built in]
    #[arg(long, value_name = "FILE", env = "ZFS_KMODS_TRUSTED_ROOT", hide_short_help = true)]
    trusted_root: Option<PathBuf>,

    /// Sign nothing, for local work: the image cannot be told from a forged one
    #[arg(long, conflicts_with = "key")]
    pub no_sign: bool,
}

impl SigningArgs {
    pub fn sources(&self) -> SignerSources {
        let mut sources = self.sources.clone();
        sources.trusted_root.clone_from(&self.trusted_root);
        sources
    }

    pub async fn signer(&self) -> Result<Signer, SignerError> {
        if self.no_sign { Ok(Signer::unsigned()) } else { self.sources().signer().await }
    }
}
