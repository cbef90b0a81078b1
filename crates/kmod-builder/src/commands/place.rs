//! Where the kernel is looked up: in a stream of Fedora CoreOS or in an image.

use clap::Args;
use kmod_compat::Arch;
use kmod_query::{Stream, Upstream};

use super::gather::{self, Found, GatherError};

/// Where to look for the kernel.
#[derive(Clone, Debug, Args)]
pub struct PlaceArgs {
    /// Stream of Fedora CoreOS: stable, testing or next
    #[arg(long, value_name = "STREAM", default_value = "stable")]
    pub stream: Stream,

    /// Bootable image instead of a stream, by tag or digest
    #[arg(long, value_name = "IMAGE", conflicts_with = "stream")]
    pub base: Option<String>,

    /// Architecture: x86_64 or aarch64 [default: this machine's]
    #[arg(long)]
    pub arch: Option<Arch>,
}

impl PlaceArgs {
    /// Asks upstream.
    pub async fn find(&self, upstream: &Upstream) -> Result<Found, GatherError> {
        let arch = self.arch.unwrap_or_else(this_arch);
        match &self.base {
            Some(base) => gather::image(upstream, base, arch).await,
            None => gather::stream(upstream, self.stream, arch).await,
        }
    }
}

/// The architecture of the machine that the program was compiled for.
pub fn this_arch() -> Arch {
    std::env::consts::ARCH.parse().unwrap_or(Arch::X86_64)
}
