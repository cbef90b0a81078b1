use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{GithubBackend, LayoutBackend, RegistryBackend, RetentionBackend, RetentionError};
use crate::io::environment;
use crate::io::github::{Packages, RateLimitPolicy};
use crate::io::layout::Layout;
use crate::io::registry::{self, Access, RegistryWriter};
use crate::model::image::{ImageLocation, Repository};

/// How the store is reached.
#[derive(Debug, Args)]
pub struct StoreAccess {
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

impl StoreAccess {
    pub async fn open(
        &self,
        store: &ImageLocation,
        github_api: &str,
    ) -> Result<RetentionBackend, RetentionError> {
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
            return self.github(repository, github_api).await;
        }
        let registry = RegistryWriter::open(&registry::connect(), repository, Access::Delete).await?;
        Ok(RetentionBackend::Registry(RegistryBackend::new(registry)))
    }

    async fn github(&self, repository: &Repository, api: &str) -> Result<RetentionBackend, RetentionError> {
        let between_changes = Duration::from_millis(self.delete_interval);
        let mut policy = RateLimitPolicy { between_changes, ..RateLimitPolicy::default() };
        policy.retry.longest_delay = Duration::from_secs(self.longest_wait);
        let packages = Packages::connect(api, environment::github_token(), repository, policy).await?;
        // Deletes nothing, but restores manifests that GitHub can no longer restore.
        let registry = RegistryWriter::open(&registry::connect(), repository, Access::Push).await?;
        Ok(RetentionBackend::Github(GithubBackend::new(packages, registry)))
    }
}
