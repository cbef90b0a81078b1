//! `zfs-kmods.toml`, the configuration of a publisher. `docs/configuration.md` describes its members.

mod members;
mod parse;
mod sources;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use kmod_compat::toml_document::TomlDocumentError;
use kmod_compat::{AddRowError, Arch, CompatMatrix, DeclaredRelease, MatrixError, MatrixRows, ZfsLine};
use kmod_query::Stream;

use super::boot_test::BootTestLimits;
use super::cleanup::RetentionLimits;
use super::image::ImageLocation;
use super::reconcile::{Source, SourceOrigin};
use super::tags::{Channel, ChannelName};

/// What `zfs-kmods.toml` says. Without a file, each member is empty, and the defaults of the commands are used.
#[derive(Clone, Debug, Default)]
pub struct PublisherConfig {
    /// In a registry.
    pub repository: Option<ImageLocation>,
    sources: Vec<Source>,
    /// The first one is the default line.
    pub lines: Vec<ZfsLine>,
    pub arches: Vec<Arch>,
    pub trust: TrustConfig,
    pub retention: RetentionLimits,
    pub boot_test: BootTestLimits,
    rows: MatrixRows,
    /// Files with keys that count beside those that are built in.
    pub openzfs_keys: Vec<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustConfig {
    /// Files in PEM.
    pub public_keys: Vec<PathBuf>,
    pub identities: Vec<IdentityConfig>,
}

/// A workflow on GitHub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityConfig {
    /// `owner/name`.
    pub repository: String,
    pub workflow: Option<String>,
    pub reference: Option<String>,
}

impl TrustConfig {
    pub const fn is_empty(&self) -> bool {
        self.public_keys.is_empty() && self.identities.is_empty()
    }
}

impl PublisherConfig {
    /// In the current directory.
    pub const FILE: &'static str = "zfs-kmods.toml";

    /// `name` is what diagnostics call the text, usually its path. File names stay as they are written.
    pub fn parse(name: &str, text: &str) -> Result<Self, TomlDocumentError> {
        parse::parse(name, text)
    }

    /// With the names of files relative to this directory.
    #[must_use]
    pub fn relative_to(mut self, directory: &Path) -> Self {
        for file in self.trust.public_keys.iter_mut().chain(&mut self.openzfs_keys) {
            *file = directory.join(&*file);
        }
        self
    }

    /// The matrix that is built in, with the rows and the default line of the configuration.
    pub fn matrix(&self) -> Result<CompatMatrix, MatrixError> {
        let mut matrix = CompatMatrix::embedded()?;
        matrix.merge(&self.rows);
        if let Some(line) = self.lines.first() {
            matrix.follow(*line);
        }
        Ok(matrix)
    }

    /// The text with a row for the release, at its place by version; everything else stays as it is.
    pub fn add_row(name: &str, text: &str, release: &DeclaredRelease) -> Result<String, AddRowError> {
        let row = release.row();
        let changed = MatrixRows::add_row(text, &row)?;
        let read = Self::parse(name, &changed)?;
        if read.rows.releases().any(|known| *known == row) { Ok(changed) } else { Err(AddRowError::Inline) }
    }

    /// Without configured ones, the streams that have a channel.
    pub fn sources(&self) -> Vec<Source> {
        if self.sources.is_empty() {
            return Stream::with_channel().map(Source::from).collect();
        }
        self.sources.clone()
    }

    /// The streams, with the channels that the configuration gives them.
    pub fn sources_of(&self, streams: &[Stream]) -> Result<Vec<Source>, ForeignChannel> {
        let of = |stream: &Stream| {
            let origin = SourceOrigin::Stream(*stream);
            if let Some(source) = self.sources.iter().find(|source| source.origin == origin) {
                return Ok(source.clone());
            }
            let source = Source::from(*stream);
            match self.sources.iter().find(|known| known.channel.is_some() && known.channel == source.channel)
            {
                Some(owner) => Err(ForeignChannel { stream: *stream, owner: owner.origin.clone() }),
                None => Ok(source),
            }
        };
        streams.iter().map(of).collect()
    }

    /// Fails for the channel of an image that is no source of the configuration.
    pub fn check_channel(&self, channel: &Channel) -> Result<(), UnknownChannel> {
        let is_known = !matches!(channel, Channel::Named(_))
            || self.sources.iter().any(|source| source.channel.as_ref() == Some(channel));
        if is_known { Ok(()) } else { Err(UnknownChannel(channel.clone())) }
    }

    pub fn channel_names(&self) -> Vec<ChannelName> {
        let names = self.sources.iter().filter_map(|source| match &source.channel {
            Some(Channel::Named(name)) => Some(name.clone()),
            _ => None,
        });
        names.collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("the channel `{0}` belongs to no source")]
#[diagnostic(help(
    "correct its name, or add a `[[source]]` with `channel = \"{0}\"` to zfs-kmods.toml; without one, the channels are \
     stable, testing, next, and beta- with the name of a branch"
))]
pub struct UnknownChannel(Channel);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("the channel of the stream `{stream}` belongs to {owner}")]
#[diagnostic(help("add the stream to the sources in zfs-kmods.toml, with a channel of its own"))]
pub struct ForeignChannel {
    stream: Stream,
    owner: SourceOrigin,
}
