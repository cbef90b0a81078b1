//! Reads images from layouts and registries.

use std::fs::File;
use std::io::Read;

use tokio_util::io::SyncIoBridge;

use super::layer::LayerError;
use super::layout::{Layout, LayoutError, MAX_DOCUMENT};
use super::registry::{self, Access, Registry, RegistryError};
use crate::model::Digest;
use crate::model::image::{ImageLocation, ImageRef, Tag, TagOrDigest};
use crate::model::oci::Descriptor;

#[derive(Clone, Debug)]
pub enum ImageStore {
    Layout(Layout),
    Registry(Registry),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Verified.
    pub digest: Digest,
    pub bytes: Vec<u8>,
    /// The tag by which it was selected.
    pub tag: Option<Tag>,
}

impl ImageStore {
    pub async fn open(store: &ImageLocation) -> Result<Self, StoreError> {
        match store {
            ImageLocation::Layout(directory) => Ok(Self::Layout(Layout::open(directory)?)),
            ImageLocation::Registry(repository) => {
                Ok(Self::Registry(registry::connect().open(repository, Access::Pull).await?))
            }
        }
    }

    /// A name without tag and digest means the only image of a directory.
    pub async fn find(&self, name: &ImageRef) -> Result<Stored, StoreError> {
        let tag_or_digest = match &name.tag_or_digest {
            Some(tag_or_digest) => tag_or_digest.clone(),
            None => self.only(name)?,
        };
        if let Some(stored) = self.manifest(&tag_or_digest).await? {
            return Ok(stored);
        }
        let tags = self.tags().await?.iter().map(Tag::to_string).collect();
        Err(StoreError::NoImage { name: name.clone(), tags: Tags(tags) })
    }

    /// `None` if it does not exist.
    pub async fn manifest(&self, tag_or_digest: &TagOrDigest) -> Result<Option<Stored>, StoreError> {
        let tag = match tag_or_digest {
            TagOrDigest::Tag(tag) => Some(tag.clone()),
            TagOrDigest::Digest(_) => None,
        };
        let found = match self {
            Self::Layout(layout) => layout.manifest(tag_or_digest)?,
            Self::Registry(registry) => registry
                .manifest(tag_or_digest)
                .await?
                .map(|manifest| (manifest.digest, manifest.bytes.to_vec())),
        };
        Ok(found.map(|(digest, bytes)| Stored { digest, bytes, tag }))
    }

    /// Reads a small blob, such as a configuration, and verifies its digest.
    pub async fn document(&self, blob: &Descriptor) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::Layout(layout) => Ok(layout.read_blob(&blob.digest)?),
            Self::Registry(registry) => match registry.small_blob(&blob.digest, MAX_DOCUMENT).await? {
                Some(bytes) => Ok(bytes.to_vec()),
                None => Err(StoreError::NoBlob { store: self.to_string(), digest: blob.digest.clone() }),
            },
        }
    }

    /// Opens a blob for reading on a blocking thread. The caller verifies the bytes.
    pub async fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, StoreError> {
        match self {
            Self::Layout(layout) => {
                let file: File = layout.open_blob(&blob.digest)?;
                Ok(Box::new(file))
            }
            Self::Registry(registry) => match registry.blob(&blob.digest).await? {
                Some(reader) => Ok(Box::new(SyncIoBridge::new(reader))),
                None => Err(StoreError::NoBlob { store: self.to_string(), digest: blob.digest.clone() }),
            },
        }
    }

    /// Sorted.
    pub async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        let mut tags = match self {
            Self::Layout(layout) => layout.tags()?.into_iter().map(|(tag, _)| tag).collect(),
            Self::Registry(registry) => registry.tags().await?,
        };
        tags.sort();
        Ok(tags)
    }

    fn only(&self, name: &ImageRef) -> Result<TagOrDigest, StoreError> {
        let Self::Layout(layout) = self else { return Err(StoreError::NotSelected(name.clone())) };
        let mut tags = layout.tags()?;
        match (tags.pop(), tags.is_empty()) {
            (Some((tag, _)), true) => Ok(TagOrDigest::Tag(tag)),
            (None, _) => Err(StoreError::Empty(name.clone())),
            (Some((last, _)), false) => {
                let tags = tags.into_iter().map(|(tag, _)| tag).chain([last]);
                Err(StoreError::Several {
                    name: name.clone(),
                    tags: Tags(tags.map(|tag| tag.to_string()).collect()),
                })
            }
        }
    }
}

impl std::fmt::Display for ImageStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Layout(layout) => ImageLocation::Layout(layout.directory().to_owned()).fmt(f),
            Self::Registry(registry) => ImageLocation::Registry(registry.repository().clone()).fmt(f),
        }
    }
}

/// Formatted for a help text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags(Vec<String>);

/// More tags would hide the message.
const SHOWN: usize = 10;

impl std::fmt::Display for Tags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: Vec<_> = self.0.iter().rev().take(SHOWN).map(String::as_str).collect();
        match (self.0.len(), self.0.len().checked_sub(SHOWN)) {
            (0, _) => f.write_str("none"),
            (_, None | Some(0)) => f.write_str(&shown.join(", ")),
            (_, Some(more)) => write!(f, "{} and {more} more", shown.join(", ")),
        }
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StoreError {
    #[error("there is no image {name}")]
    #[diagnostic(help("the tags there: {tags}"))]
    NoImage {
        name: ImageRef,
        /// Listed in the help text.
        tags: Tags,
    },
    #[error("{name} has several images")]
    #[diagnostic(help("say which one: {name}:TAG, where TAG is one of {tags}"))]
    Several {
        name: ImageRef,
        /// Listed in the help text.
        tags: Tags,
    },
    #[error("{0} has no image")]
    #[diagnostic(help("`zfs-kmods build` builds one"))]
    Empty(ImageRef),
    #[error("{0} names a repository, not an image")]
    #[diagnostic(help("say which image: {0}:TAG or {0}@DIGEST; `latest` is never guessed"))]
    NotSelected(ImageRef),
    #[error("{store} has no blob {digest}")]
    #[diagnostic(help("the image is incomplete: publish it again"))]
    NoBlob {
        /// In the form in which the user names it.
        store: String,
        digest: Digest,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] RegistryError),
}
