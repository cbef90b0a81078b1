use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::io::config::{self, ConfigFileError};
use crate::model::config::PublisherConfig;

#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// Configuration of the publisher; flags win over it [default: zfs-kmods.toml, if it exists]
    #[arg(long, env = "ZFS_KMODS_CONFIG", hide_env_values = true, value_name = "FILE", global = true)]
    config: Option<OsString>,
}

impl ConfigArgs {
    /// Also returns where it was found.
    pub fn read(&self) -> Result<(PublisherConfig, Option<PathBuf>), ConfigFileError> {
        config::read(self.config.as_deref().filter(|file| !file.is_empty()).map(Path::new))
    }
}
