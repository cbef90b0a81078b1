use clap::Args;

use crate::io::evidence::signer::{Signer, SignerError, SignerSources};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Signing")]
pub struct SigningArgs {
    #[command(flatten)]
    pub sources: SignerSources,

    /// Sign nothing, for local work: the image cannot be told from a forged one
    #[arg(long, conflicts_with = "key")]
    pub no_sign: bool,
}

impl SigningArgs {
    pub async fn signer(&self) -> Result<Signer, SignerError> {
        if self.no_sign { Ok(Signer::unsigned()) } else { self.sources.signer().await }
    }
}
