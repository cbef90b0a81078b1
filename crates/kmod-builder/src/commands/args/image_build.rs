use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::Args;
use miette::Result;

use super::isolation::IsolationArgs;
use super::upstream::UpstreamArgs;
use crate::io::image_build::ImageBuildOptions;
use crate::io::podman::Reuse;
use crate::model::builder_policy::InputsOrigin;
use crate::model::inputs::InputsPolicy;

/// How to build. None of it is an input: whatever is chosen here, the image is the same.
#[derive(Clone, Debug, Args)]
pub struct ImageBuildArgs {
    /// Leave podman's containers behind, to look into a failed build
    #[arg(long)]
    keep_containers: bool,

    /// Compile without the cache of compiled objects
    #[arg(long)]
    no_compiler_cache: bool,

    /// How many jobs compile at the same time [default: as many as there are processors]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroU16>,

    /// Build below this directory and leave nothing there [default: the cache directory]
    #[arg(long, value_name = "DIR")]
    work_directory: Option<PathBuf>,

    /// Build from the inputs of a published image although its provenance is not verified: its publisher then chooses the
    /// source code that is compiled on this machine
    #[arg(long)]
    pub trust_inputs: bool,

    #[command(flatten)]
    isolation: IsolationArgs,
}

impl ImageBuildArgs {
    pub fn options(
        &self,
        reuse: Reuse,
        upstream: &UpstreamArgs,
        policy: InputsPolicy,
        origin: InputsOrigin,
    ) -> Result<ImageBuildOptions> {
        let cache = upstream.cache()?;
        Ok(ImageBuildOptions {
            keep_containers: self.keep_containers,
            compiler_cache: !self.no_compiler_cache,
            jobs: self.jobs,
            work_directory: self.work_directory.clone().unwrap_or_else(|| cache.join("builds")),
            reuse,
            cache,
            isolation: self.isolation.isolation(),
            origin,
            policy,
            repository: None,
        })
    }
}
