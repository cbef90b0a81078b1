use std::time::Duration;

use clap::{Args, ValueEnum};
use miette::Result;

use crate::commands::args::upstream::UpstreamArgs;
use crate::io::cleanup::{GithubBackend, LayoutBackend, RegistryBackend, RetentionBackend};
use crate::io::environment;
use crate::io::github::{Pace, Packages};
use crate::io::layout::Layout;
use crate::io::registry::{Access, RegistryWriter};
use crate::model::image::{ImageLocation, Repository};

/// How the store is reached.
#[derive(Debug, Args)]
pub(super) struct StoreAccessArgs {
    /// How manifests are listed and deleted in a registry
    #[arg(long, alias = "through", value_enum, default_value_t, hide_short_help = true)]
    delete_api: DeleteApi,

    /// Wait at least so many milliseconds between two deletions at GitHub, as GitHub asks
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000, hide_short_help = true)]
    delete_interval: u64,

    /// Wait at most so many seconds for one of GitHub's rate limits; then stop, to go on in a later run
    #[arg(long, value_name = "SECONDS", default_value_t = 600, hide_short_help = true)]
    longest_wait: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DeleteApi {
    /// GitHub's API for ghcr.io, the registry protocol for all others
    #[default]
    Auto,
    /// GitHub's API
    Github,
    /// The registry protocol
    Registry,
}

impl StoreAccessArgs {
    pub(super) async fn open(
        &self,
        store: &ImageLocation,
        upstream: &UpstreamArgs,
    ) -> Result<RetentionBackend> {
        let repository = match store {
            ImageLocation::Layout(directory) => {
                return Ok(RetentionBackend::Layout(LayoutBackend::new(Layout::open(directory)?)));
            }
            ImageLocation::Registry(repository) => repository,
        };
        let through_github = match self.delete_api {
            DeleteApi::Auto => repository.host() == "ghcr.io",
            DeleteApi::Github => true,
            DeleteApi::Registry => false,
        };
        if through_github {
            return self.github(repository, upstream).await;
        }
        let registry = registry(repository, Access::Delete).await?;
        Ok(RetentionBackend::Registry(RegistryBackend::new(registry)))
    }

    async fn github(&self, repository: &Repository, upstream: &UpstreamArgs) -> Result<RetentionBackend> {
        let pace = Pace {
            between_changes: Duration::from_millis(self.delete_interval),
            longest: Duration::from_secs(self.longest_wait),
            ..Pace::default()
        };
        let api = upstream.connect()?.endpoints.github_api;
        let packages = Packages::connect(&api, environment::github_token(), repository, pace).await?;
        // Deletes nothing, but restores manifests that GitHub can no longer restore.
        let registry = registry(repository, Access::Push).await?;
        Ok(RetentionBackend::Github(GithubBackend::new(packages, registry)))
    }
}

async fn registry(repository: &Repository, access: Access) -> Result<RegistryWriter> {
    Ok(RegistryWriter::open(&crate::io::registry::connect(), repository, access).await?)
}
