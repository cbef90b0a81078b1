use std::path::PathBuf;

use clap::Args;

use crate::io::evidence::signer::{Signer, SignerError, SignerSources};

/// Who signs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Signing")]
pub struct SigningArgs {
    /// Sign with this private key: PKCS#8 PEM, or cosign's encrypted key with its password in COSIGN_PASSWORD;
    /// workflows pass the key's text in ZFS_KMODS_KEY_PEM
    #[arg(long, value_name = "FILE", env = "ZFS_KMODS_KEY")]
    key: Option<PathBuf>,

    /// Read the key's password from standard input instead
    #[arg(long, requires = "key")]
    key_password_stdin: bool,

    /// Sign nothing, for local work: the image cannot be told from a forged one
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

    /// Check existing signatures against this root of trust [default: Sigstore's, built in]
    #[arg(long, value_name = "FILE", env = "ZFS_KMODS_TRUSTED_ROOT", hide_short_help = true)]
    trusted_root: Option<PathBuf>,
}

impl SigningArgs {
    pub fn sources(&self) -> SignerSources {
        SignerSources {
            key: self.key.clone(),
            password_from_stdin: self.key_password_stdin,
            fulcio_url: self.fulcio_url.clone(),
            rekor_url: self.rekor_url.clone(),
            timestamp_url: self.timestamp_url.clone(),
            trusted_root: self.trusted_root.clone(),
        }
    }

    /// Signs nothing with `--no-sign`.
    pub async fn signer(&self) -> Result<Signer, SignerError> {
        if self.no_sign { Ok(Signer::unsigned()) } else { self.sources().signer().await }
    }

    pub const fn no_sign(&self) -> bool {
        self.no_sign
    }
}
