use clap::Args;
use kmod_compat::Arch;
use kmod_query::{Stream, Upstream};

use crate::io::resolve::{self, ResolveError, ResolvedSource};
use crate::model::config::PublisherConfig;
use crate::model::reconcile::SourceOrigin;

/// Where the kernel is looked up: in a stream of Fedora CoreOS or in an image.
#[derive(Clone, Debug, Args)]
pub struct SourceArgs {
    /// Stream of Fedora CoreOS: stable, testing or next [default: the first source of the configuration, else stable]
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<Stream>,

    /// Bootable image instead of a stream, by tag or digest
    #[arg(long, alias = "base", value_name = "IMAGE", conflicts_with = "stream")]
    pub source_image: Option<String>,

    /// Architecture: x86_64 or aarch64 [default: this machine's]
    #[arg(long)]
    pub arch: Option<Arch>,
}

impl SourceArgs {
    pub async fn resolve(
        &self,
        upstream: &Upstream,
        config: &PublisherConfig,
    ) -> Result<ResolvedSource, ResolveError> {
        let arch = self.arch.unwrap_or_else(this_arch);
        match self.origin(config) {
            SourceOrigin::Image(image) => resolve::image(upstream, &image, arch).await,
            SourceOrigin::Stream(stream) => resolve::stream(upstream, stream, arch).await,
        }
    }

    fn origin(&self, config: &PublisherConfig) -> SourceOrigin {
        match (&self.source_image, self.stream) {
            (Some(image), _) => SourceOrigin::Image(image.clone()),
            (None, Some(stream)) => SourceOrigin::Stream(stream),
            (None, None) => {
                let first = config.sources().into_iter().next();
                first.map_or(SourceOrigin::Stream(Stream::Stable), |source| source.origin)
            }
        }
    }
}

/// Architecture for which this program was compiled.
pub fn this_arch() -> Arch {
    std::env::consts::ARCH.parse().unwrap_or(Arch::X86_64)
}
