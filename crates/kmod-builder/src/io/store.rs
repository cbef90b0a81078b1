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
        let help = format!("existing tags: {}", listed(&self.tags().await?));
        Err(StoreError::NotSelected { message: format!("there is no image {name}"), help })
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
        let (message, help) = match self {
            Self::Registry(_) => (
                format!("{name} names a repository, not an image"),
                format!("name the image: {name}:TAG or {name}@DIGEST; there is no default tag"),
            ),
            Self::Layout(layout) => {
                let tags: Vec<_> = layout.tags()?.into_iter().map(|(tag, _)| tag).collect();
                match &tags[..] {
                    [tag] => return Ok(TagOrDigest::Tag(tag.clone())),
                    [] => (format!("{name} has no image"), "`zfs-kmods build` builds one".to_owned()),
                    _ => (
                        format!("{name} has several images"),
                        format!("name one: {name}:TAG, where TAG is one of {}", listed(&tags)),
                    ),
                }
            }
        };
        Err(StoreError::NotSelected { message, help })
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

/// For a help text; more tags would hide the message.
fn listed(tags: &[Tag]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<_> = tags.iter().rev().take(SHOWN).map(Tag::as_str).collect();
    match tags.len() {
        0 => "none".to_owned(),
        count if count > SHOWN => format!("{} and {} more", shown.join(", "), count - SHOWN),
        _ => shown.join(", "),
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StoreError {
    /// The name does not select one image.
    #[error("{message}")]
    #[diagnostic(help("{help}"))]
    NotSelected { message: String, help: String },
    #[error("{store} has no blob {digest}")]
    #[diagnostic(help("the image is incomplete: publish it again"))]
    NoBlob { store: String, digest: Digest },
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
