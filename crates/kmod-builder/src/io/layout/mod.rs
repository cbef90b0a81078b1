//! Images in a directory: an OCI image layout (OCI image specification, `image-layout.md`).
//!
//! Content of other tools (`skopeo inspect oci:DIR:TAG`) is kept. Files are written beside their final name, flushed
//! and renamed, so every named file is complete.

mod blob;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

pub use blob::BlobWriter;

use crate::model::Digest;
use crate::model::image::{Tag, TagOrDigest};
use crate::model::oci::{Descriptor, Index, Manifest, REF_NAME};

const MARKER: &str = "oci-layout";
const INDEX: &str = "index.json";
/// Lock file for index changes; `index.json` itself is replaced by each change.
const LOCK: &str = ".index.lock";

/// Bytes. Maximum size of a manifest, configuration or index, as in registries.
pub const MAX_DOCUMENT: u64 = 4 << 20;

#[derive(Clone, Debug)]
pub struct Layout {
    directory: PathBuf,
}

impl Layout {
    pub fn open(directory: &Path) -> Result<Self, LayoutError> {
        let layout = Self { directory: directory.to_owned() };
        let marker = directory.join(MARKER);
        let text = match read_document(&marker) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LayoutError::Missing { directory: directory.to_owned() });
            }
            Err(error) => return Err(LayoutError::io(&marker)(error)),
        };
        let version = serde_json::from_slice::<serde_json::Value>(&text)
            .ok()
            .and_then(|value| value.get("imageLayoutVersion")?.as_str().map(str::to_owned));
        match version {
            Some(version) if version.starts_with("1.") => Ok(layout),
            version => Err(LayoutError::Version { directory: directory.to_owned(), version }),
        }
    }

    /// Opens a layout, or creates an empty one; removes leftovers of killed writers.
    pub fn create(directory: &Path) -> Result<Self, LayoutError> {
        let layout = Self { directory: directory.to_owned() };
        let blobs = layout.blobs();
        fs::create_dir_all(&blobs).map_err(LayoutError::io(&blobs))?;
        blob::sweep(&layout.directory);
        let lock = layout.lock()?;
        let (index, marker) = (directory.join(INDEX), directory.join(MARKER));
        if !index.exists() {
            layout.write_index(&Index::empty())?;
        }
        // Last, because the marker states that the rest exists.
        if !marker.exists() {
            layout.write_whole(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        drop(lock);
        Self::open(directory)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Does not verify the digest; the caller hashes the bytes.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, LayoutError> {
        let path = self.path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.no_blob(digest),
            _ => LayoutError::io(&path)(error),
        })
    }

    /// Verifies the digest of a manifest or configuration.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, LayoutError> {
        let file = self.open_blob(digest)?;
        let path = self.path(digest);
        let bytes = read_capped(file).map_err(LayoutError::io(&path))?;
        let found = Digest::of(&bytes);
        if found == *digest {
            Ok(bytes)
        } else {
            Err(LayoutError::Changed { path, digest: digest.clone(), found })
        }
    }

    /// For a blob whose digest is known only at its end.
    pub fn writer(&self) -> Result<BlobWriter, LayoutError> {
        BlobWriter::new(&self.directory, self.blobs())
    }

    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, LayoutError> {
        let mut writer = self.writer()?;
        let failed = |error| LayoutError::io(&self.directory)(error);
        writer.write_all(bytes).map_err(failed)?;
        let (digest, size) = writer.finish()?;
        Ok(Descriptor::new(media_type, digest, size))
    }

    /// Tagged and untagged manifests.
    pub fn index(&self) -> Result<Index, LayoutError> {
        let path = self.directory.join(INDEX);
        let bytes = read_document(&path).map_err(LayoutError::io(&path))?;
        serde_json::from_slice(&bytes).map_err(|source| LayoutError::Index { path, source })
    }

    /// Sorted. Skips names that are not valid registry tags.
    pub fn tags(&self) -> Result<Vec<(Tag, Descriptor)>, LayoutError> {
        let mut tags: Vec<_> = self
            .index()?
            .manifests
            .into_iter()
            .filter_map(|entry| Some((entry.annotations.get(REF_NAME)?.parse().ok()?, entry)))
            .collect();
        tags.sort_by(|(one, _): &(Tag, _), (other, _)| one.cmp(other));
        Ok(tags)
    }

    /// `None` if it does not exist.
    pub fn manifest(&self, tag_or_digest: &TagOrDigest) -> Result<Option<(Digest, Vec<u8>)>, LayoutError> {
        let digest = match tag_or_digest {
            TagOrDigest::Digest(digest) if !self.has(digest) => return Ok(None),
            TagOrDigest::Digest(digest) => digest.clone(),
            TagOrDigest::Tag(tag) => match self.index()?.tagged(tag.as_str()) {
                Some(entry) => entry.digest.clone(),
                None => return Ok(None),
            },
        };
        let bytes = self.read_blob(&digest)?;
        Ok(Some((digest, bytes)))
    }

    /// Lists a stored manifest, optionally under a tag. Everything it needs must be stored already.
    pub fn list(&self, manifest: &Descriptor, tag: Option<&Tag>) -> Result<(), LayoutError> {
        self.change_index(|index| match tag {
            Some(tag) => index.tag(tag.as_str(), manifest.clone()),
            None => index.add(manifest.clone()),
        })
    }

    /// Holds the index lock during the change.
    pub fn change_index<T>(&self, change: impl FnOnce(&mut Index) -> T) -> Result<T, LayoutError> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let answer = change(&mut index);
        self.write_index(&index)?;
        Ok(answer)
    }

    /// Takes an image with all its blobs from another layout and lists it, optionally under a tag.
    ///
    /// Blobs are hard-linked, or copied and verified if the file system has no hard links.
    pub fn adopt(&self, from: &Self, manifest: &Descriptor, tag: Option<&Tag>) -> Result<(), LayoutError> {
        let bytes = from.read_blob(&manifest.digest)?;
        let image = from.parse(&manifest.digest, &bytes)?;
        let blobs = std::iter::once(&image.config).chain(&image.layers).chain([manifest]);
        for blob in blobs {
            self.adopt_blob(from, &blob.digest)?;
        }
        self.list(manifest, tag)
    }

    fn adopt_blob(&self, from: &Self, digest: &Digest) -> Result<(), LayoutError> {
        if self.has(digest) || fs::hard_link(from.path(digest), self.path(digest)).is_ok() {
            return Ok(());
        }
        let mut writer = self.writer()?;
        let mut file = from.open_blob(digest)?;
        io::copy(&mut file, &mut writer).map_err(LayoutError::io(&self.path(digest)))?;
        let (found, _) = writer.finish()?;
        if found == *digest {
            Ok(())
        } else {
            Err(LayoutError::Changed { path: from.path(digest), digest: digest.clone(), found })
        }
    }

    fn parse(&self, digest: &Digest, bytes: &[u8]) -> Result<Manifest, LayoutError> {
        serde_json::from_slice(bytes).map_err(|source| LayoutError::Index { path: self.path(digest), source })
    }

    fn no_blob(&self, digest: &Digest) -> LayoutError {
        LayoutError::NoBlob { directory: self.directory.clone(), digest: digest.clone() }
    }

    fn blobs(&self) -> PathBuf {
        self.directory.join("blobs").join("sha256")
    }

    /// The content is not verified.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    fn lock(&self) -> Result<File, LayoutError> {
        let path = self.directory.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(LayoutError::io(&path))?;
        file.lock().map_err(LayoutError::io(&path))?;
        Ok(file)
    }

    fn write_index(&self, index: &Index) -> Result<(), LayoutError> {
        let bytes = serde_json::to_vec(index).expect("text, numbers and maps with text keys can be written");
        self.write_whole(&self.directory.join(INDEX), &bytes)
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> Result<(), LayoutError> {
        blob::write_whole(&self.directory, path, bytes).map_err(LayoutError::io(path))
    }
}

fn read_document(path: &Path) -> io::Result<Vec<u8>> {
    read_capped(File::open(path)?)
}

fn read_capped(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_DOCUMENT >> 20)));
    }
    Ok(bytes)
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LayoutError {
    #[error("there is no image layout in {}", directory.display())]
    #[diagnostic(help(
        "`zfs-kmods build` makes one (`./images` unless told otherwise); `oci:` is followed by its directory"
    ))]
    Missing { directory: PathBuf },
    #[error("{} is an image layout of a version that this program cannot read ({version:?})", directory.display())]
    Version { directory: PathBuf, version: Option<String> },
    #[error("the image layout {} has no blob {digest}", directory.display())]
    #[diagnostic(help("the layout is incomplete: copy the image into it again"))]
    NoBlob { directory: PathBuf, digest: Digest },
    #[error("{} was changed after it was stored: its bytes now have the digest {found}", path.display())]
    #[diagnostic(help("delete the file and copy or build the image again"))]
    Changed { path: PathBuf, digest: Digest, found: Digest },
    #[error("{} is not a valid index or manifest", path.display())]
    Index { path: PathBuf, source: serde_json::Error },
    #[error("could not read or write {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl LayoutError {
    pub(in crate::io) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}

#[cfg(test)]
mod tests;
