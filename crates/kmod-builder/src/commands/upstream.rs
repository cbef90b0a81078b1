//! Where upstream is asked: flags with environment fallbacks, the same for every verb.

use std::path::PathBuf;

use clap::Args;
use kmod_query::{Endpoints, Http, HttpOptions, QueryError, RetryPolicy, Upstream};
use secrecy::SecretString;

use crate::io::progress;
use crate::io::registry::CredentialSources;

/// Addresses of the neighbours that are asked. The defaults are the public ones.
///
/// `GITHUB_TOKEN` in the environment is sent to GitHub's API, which answers only 60 requests an hour without one.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Upstream addresses (a mirror's, the lab's)")]
pub struct UpstreamArgs {
    /// Fedora CoreOS build metadata
    #[arg(long, env = "ZFS_KMODS_COREOS_URL", value_name = "URL", global = true, hide_short_help = true)]
    coreos_url: Option<String>,

    /// Image repository of Fedora CoreOS
    #[arg(long, env = "ZFS_KMODS_COREOS_IMAGE", value_name = "NAME", global = true, hide_short_help = true)]
    coreos_image: Option<String>,

    /// GitHub's REST API
    #[arg(long, env = "GITHUB_API_URL", value_name = "URL", global = true, hide_short_help = true)]
    github_api_url: Option<String>,

    /// Fedora's package tree
    #[arg(long, env = "ZFS_KMODS_FEDORA_URL", value_name = "URL", global = true, hide_short_help = true)]
    fedora_url: Option<String>,

    /// Archive of Fedora's updates
    #[arg(
        long,
        env = "ZFS_KMODS_UPDATES_ARCHIVE_URL",
        value_name = "URL",
        global = true,
        hide_short_help = true
    )]
    updates_archive_url: Option<String>,

    /// Repository of the packages that Fedora CoreOS is made of
    #[arg(
        long,
        env = "ZFS_KMODS_COREOS_POOL_URL",
        value_name = "URL",
        global = true,
        hide_short_help = true
    )]
    coreos_pool_url: Option<String>,

    /// Package store of Fedora's build system
    #[arg(long, env = "ZFS_KMODS_KOJI_URL", value_name = "URL", global = true, hide_short_help = true)]
    koji_url: Option<String>,

    /// Image in which is built; `{fedora}` stands for the release number
    #[arg(long, env = "ZFS_KMODS_BUILDER_IMAGE", value_name = "NAME", global = true, hide_short_help = true)]
    builder_image: Option<String>,

    /// Keep downloads, answers, compiled objects and logs here [default: zfs-kmods in the user's cache directory]
    #[arg(long, env = "ZFS_KMODS_CACHE", value_name = "DIR", global = true, hide_short_help = true)]
    cache: Option<PathBuf>,
}

impl UpstreamArgs {
    /// The neighbours at these addresses.
    pub fn connect(&self) -> Result<Upstream, QueryError> {
        let options = HttpOptions { cache: Some(self.cache().join("answers")), ..HttpOptions::default() };
        let credentials = CredentialSources::from_variables(|name| std::env::var_os(name));
        Upstream::new(
            Http::new(options)?,
            self.endpoints(),
            github_token(),
            credentials,
            RetryPolicy::default(),
        )
    }

    /// The directory that outlives a run: everything in it can be had again.
    pub fn cache(&self) -> PathBuf {
        let directory =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        self.cache.clone().unwrap_or_else(|| {
            // XDG Base Directory Specification; without a home there is still a directory for temporary files.
            directory("XDG_CACHE_HOME")
                .or_else(|| directory("HOME").map(|home| home.join(".cache")))
                .unwrap_or_else(std::env::temp_dir)
                .join("zfs-kmods")
        })
    }

    /// GitHub's REST API.
    pub fn github_api(&self) -> String {
        self.endpoints().github_api
    }

    fn endpoints(&self) -> Endpoints {
        let mut endpoints = Endpoints::default();
        for (address, given) in [
            (&mut endpoints.coreos, &self.coreos_url),
            (&mut endpoints.coreos_image, &self.coreos_image),
            (&mut endpoints.github_api, &self.github_api_url),
            (&mut endpoints.fedora, &self.fedora_url),
            (&mut endpoints.updates_archive, &self.updates_archive_url),
            (&mut endpoints.coreos_pool, &self.coreos_pool_url),
            (&mut endpoints.koji, &self.koji_url),
            (&mut endpoints.builder_image, &self.builder_image),
        ] {
            if let Some(given) = given.as_ref().filter(|given| !given.is_empty()) {
                address.clone_from(given);
            }
        }
        endpoints
    }
}

/// Says what asking cost.
pub fn report_usage(upstream: &Upstream) {
    let usage = upstream.http.stats();
    progress::note(&format!(
        "asked upstream: {} requests, {} KiB",
        usage.requests,
        usage.bytes.div_ceil(1024)
    ));
}

/// From the environment only: what stands on a command line is seen by everyone on the machine.
pub(super) fn github_token() -> Option<SecretString> {
    std::env::var("GITHUB_TOKEN").ok().filter(|token| !token.is_empty()).map(SecretString::from)
}
