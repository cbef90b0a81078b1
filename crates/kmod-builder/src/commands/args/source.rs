use clap::Args;
use kmod_compat::Arch;
use kmod_query::{Stream, Upstream};

use crate::io::resolve::{self, ResolveError, ResolvedSource};

/// Where the kernel is looked up: in a stream of Fedora CoreOS or in an image.
#[derive(Clone, Debug, Args)]
pub struct SourceArgs {
    /// Stream of Fedora CoreOS: stable, testing or next
    #[arg(long, value_name = "STREAM", default_value = "stable")]
    pub stream: Stream,

    /// Bootable image instead of a stream, by tag or digest
    #[arg(long, alias = "base", value_name = "IMAGE", conflicts_with = "stream")]
    pub source_image: Option<String>,

    /// Architecture: x86_64 or aarch64 [default: this machine's]
    #[arg(long)]
    pub arch: Option<Arch>,
}

impl SourceArgs {
    pub async fn resolve(&self, upstream: &Upstream) -> Result<ResolvedSource, ResolveError> {
        let arch = self.arch.unwrap_or_else(this_arch);
        match &self.source_image {
            Some(image) => resolve::image(upstream, image, arch).await,
            None => resolve::stream(upstream, self.stream, arch).await,
        }
    }
}

/// Architecture for which this program was compiled.
pub fn this_arch() -> Arch {
    std::env::consts::ARCH.parse().unwrap_or(Arch::X86_64)
}
