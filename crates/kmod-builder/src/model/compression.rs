use std::fmt;

use serde::{Deserialize, Serialize};

use super::oci;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Smaller and faster to unpack; understood by podman, bootc and Docker since 2021
    #[default]
    Zstd,
    /// Understood by everything
    Gzip,
}

impl Compression {
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Zstd => oci::LAYER_ZSTD,
            Self::Gzip => oci::LAYER_GZIP,
        }
    }

    /// `None` for unsupported media types.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        [Self::Zstd, Self::Gzip].into_iter().find(|compression| compression.media_type() == media_type)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        })
    }
}
