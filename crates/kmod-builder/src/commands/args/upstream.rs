use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use kmod_compat::ReleaseKeys;
use kmod_query::{Endpoints, Http, HttpOptions, RetryPolicy, Upstream};
use miette::Result;

use crate::io::compat_files::{self, CompatFileError};
use crate::io::registry::CredentialSources;
use crate::io::{environment, progress};
use crate::model::builder_policy::{AllowedBuilders, BuilderPolicy};
use crate::model::config::PublisherConfig;
use crate::model::inputs::InputsPolicy;
use crate::model::rpm_signature::KernelPackagePolicy;

/// Addresses of the servers that are asked. The defaults are the public ones.
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

    /// OpenPGP keys of OpenZFS's release managers; `{fingerprint}` stands for that of the key
    #[arg(
        long,
        env = "ZFS_KMODS_OPENZFS_KEY_URL",
        value_name = "URL",
        global = true,
        hide_short_help = true
    )]
    openzfs_key_url: Option<String>,

    /// Keys whose signatures of OpenZFS releases count [default: compat/openzfs-keys.toml, built in,
    /// and those of the configuration]
    #[arg(long, env = "ZFS_KMODS_OPENZFS_KEYS", value_name = "FILE", global = true, hide_short_help = true)]
    openzfs_keys: Option<OsString>,

    /// Keys whose signatures of Fedora's kernel packages count [default: compat/fedora-keys.toml, built in]
    #[arg(long, env = "ZFS_KMODS_FEDORA_KEYS", value_name = "FILE", global = true, hide_short_help = true)]
    fedora_keys: Option<PathBuf>,

    /// Accept kernel packages that Fedora did not sign; `promote` refuses images built with one, unless it has this flag
    #[arg(long, env = "ZFS_KMODS_ALLOW_UNSIGNED_HEADERS", global = true, hide_short_help = true)]
    pub allow_unsigned_headers: bool,

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

    /// Image or repository in which inputs may be built, beside Fedora's and --builder-image; may be repeated
    #[arg(
        long,
        env = "ZFS_KMODS_ALLOW_BUILDER",
        value_name = "IMAGE",
        global = true,
        hide_short_help = true
    )]
    allow_builder: Vec<AllowedBuilders>,

    /// Keep downloads, answers, compiled objects and logs here [default: zfs-kmods in the user's cache directory]
    #[arg(long, env = "ZFS_KMODS_CACHE", value_name = "DIR", global = true, hide_short_help = true)]
    cache: Option<PathBuf>,
}

impl UpstreamArgs {
    pub fn connect(&self) -> Result<Upstream> {
        let options = HttpOptions { cache: Some(self.cache()?.join("answers")), ..HttpOptions::default() };
        let credentials = CredentialSources::from_variables(environment::os_variable);
        let token = environment::github_token();
        let endpoints = self.endpoints().with_keys(&self.kernel_packages()?.keys);
        Ok(Upstream::new(Http::new(options)?, endpoints, token, credentials, RetryPolicy::default())?)
    }

    /// Persists between runs; everything in it can be fetched or built again.
    pub fn cache(&self) -> Result<PathBuf> {
        self.cache.clone().or_else(environment::cache_directory).ok_or_else(|| {
            miette::miette!(
                help = "set --cache, or HOME",
                "there is no directory for the cache: neither XDG_CACHE_HOME nor HOME is set"
            )
        })
    }

    pub fn openzfs_keys(&self, config: &PublisherConfig) -> Result<ReleaseKeys, CompatFileError> {
        match self.openzfs_keys.as_deref().filter(|file| !file.is_empty()) {
            Some(file) => compat_files::read_keys(Path::new(file)),
            None => compat_files::built_in_keys_and(&config.openzfs_keys),
        }
    }

    pub fn kernel_packages(&self) -> Result<KernelPackagePolicy, CompatFileError> {
        let keys = self.fedora_keys.as_deref().filter(|file| !file.as_os_str().is_empty());
        let keys = compat_files::read_fedora_keys(keys)?;
        Ok(KernelPackagePolicy { keys, allow_unsigned: self.allow_unsigned_headers })
    }

    pub fn builder_policy(&self) -> BuilderPolicy {
        let named = self.allow_builder.iter().flat_map(|list| list.0.clone());
        BuilderPolicy::new(&self.endpoints().builder_image, named)
    }

    pub fn inputs_policy(&self, config: &PublisherConfig) -> Result<InputsPolicy> {
        Ok(InputsPolicy {
            matrix: config.matrix()?,
            builders: self.builder_policy(),
            packages: self.kernel_packages()?,
            release_keys: self.openzfs_keys(config)?,
        })
    }

    pub fn github_api(&self) -> String {
        self.endpoints().github_api
    }

    fn endpoints(&self) -> Endpoints {
        let mut endpoints = Endpoints::default();
        for (address, given) in [
            (&mut endpoints.coreos, &self.coreos_url),
            (&mut endpoints.coreos_image, &self.coreos_image),
            (&mut endpoints.github_api, &self.github_api_url),
            (&mut endpoints.openzfs_key, &self.openzfs_key_url),
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

pub fn report_usage(upstream: &Upstream) {
    let stats = upstream.http.stats();
    let (requests, kib) = (stats.requests, stats.bytes.div_ceil(1024));
    progress::print_notice(&format!("asked upstream: {requests} requests, {kib} KiB"));
}
