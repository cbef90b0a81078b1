//! Lists and extracts an image's RPMs from its store; fetches only the layers that are needed.

mod error;
mod install;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::blocking::{self, CancelFlag};
use super::layer::{Hashing, LayerEntry, LayerReader};
use super::rpm;
use super::store::{ImageStore, Stored};
use crate::model::Digest;
use crate::model::compose;
use crate::model::image::{DigestRef, ImageRef};
use crate::model::image_diff::RpmMetadata;
use crate::model::oci::{Annotations, Config, Descriptor, Manifest};
use crate::model::packages::{Package, PackageGroup};

pub use error::ImageRpmsError;
pub use install::{ExtractState, ExtractedRpm};

/// An image whose manifest and configuration are consistent; its layers are not verified yet.
pub struct ImageRpms<'a> {
    images: &'a ImageStore,
    image: DigestRef,
    labels: Annotations,
    /// Layers with their uncompressed digests.
    layers: Vec<(Descriptor, Digest)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRpm {
    pub path: String,
    pub group: PackageGroup,
    pub package: Package,
}

impl<'a> ImageRpms<'a> {
    pub async fn open(images: &'a ImageStore, name: &ImageRef) -> Result<Self, ImageRpmsError> {
        let invalid = |reason| ImageRpmsError::Invalid { image: name.clone(), reason };
        let Stored { digest, bytes, .. } = images.find(name).await?;
        let manifest = Manifest::parse(&bytes).map_err(|error| invalid(error.to_string()))?;
        let config: Config = serde_json::from_slice(&images.document(&manifest.config).await?)
            .map_err(|error| invalid(format!("invalid configuration: {error}")))?;
        let diff_ids = config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let (layers, listed) = (manifest.layers.len(), diff_ids.len());
            return Err(invalid(format!("it has {layers} layers, but its configuration lists {listed}")));
        }
        let layers = manifest.layers.into_iter().zip(diff_ids).collect();
        let (image, labels) = (DigestRef { store: name.store.clone(), digest }, config.config.labels);
        Ok(Self { images, image, labels, layers })
    }

    pub const fn image(&self) -> &DigestRef {
        &self.image
    }

    pub const fn labels(&self) -> &Annotations {
        &self.labels
    }

    /// Sorted by group and name. Reads every layer once; holds only headers in memory.
    pub async fn list(&self) -> Result<Vec<ListedRpm>, ImageRpmsError> {
        let list = |_: &CancelFlag, entry: &mut LayerEntry<'_>| {
            let (path, group) = (entry.path.to_owned(), entry.group);
            match rpm::parse(&mut *entry.reader) {
                Ok(package) => Ok(Some(ListedRpm { path, group, package })),
                Err(error) => Err(ImageRpmsError::Rpm { path, error }),
            }
        };
        let mut listed = self.read(self.layers.iter(), list).await?;
        listed.sort_by(|one, other| (one.group, &one.path).cmp(&(other.group, &other.path)));
        Ok(listed)
    }

    /// Metadata of the RPMs at these paths, without reading the layers in `passed_over`.
    pub async fn rpm_metadata(
        &self,
        paths: &BTreeSet<String>,
        passed_over: &BTreeSet<Digest>,
    ) -> Result<BTreeMap<String, RpmMetadata>, ImageRpmsError> {
        let paths = paths.clone();
        let needed = self.layers.iter().filter(|(layer, _)| !passed_over.contains(&layer.digest));
        let read = move |_: &CancelFlag, entry: &mut LayerEntry<'_>| {
            if !paths.contains(entry.path) {
                return Ok(None);
            }
            let path = entry.path.to_owned();
            match rpm::rpm_metadata(&mut *entry.reader) {
                Ok(rpm_metadata) => Ok(Some((path, rpm_metadata))),
                Err(error) => Err(ImageRpmsError::Rpm { path, error }),
            }
        };
        Ok(self.read(needed, read).await?.into_iter().collect())
    }

    /// Writes the RPMs of some groups into a directory, laid out as in the image.
    ///
    /// All files are first written beside the target and verified, then renamed. Identical existing files stay; a
    /// different one is an error before any rename, unless it is to be replaced.
    pub async fn extract(
        &self,
        groups: &BTreeSet<PackageGroup>,
        target: &Path,
        replace: bool,
    ) -> Result<Vec<ExtractedRpm>, ImageRpmsError> {
        let staging = install::staging(target)?;
        let directory = staging.path().to_owned();
        let wanted = groups.clone();
        let needed = self.layers.iter().filter(|(layer, _)| {
            // A layer that does not state its groups may hold any of them.
            compose::groups(layer).is_none_or(|there| !there.is_disjoint(groups))
        });
        let write = move |cancel: &CancelFlag, entry: &mut LayerEntry<'_>| {
            if wanted.contains(&entry.group) { write(cancel, entry, &directory).map(Some) } else { Ok(None) }
        };
        let written = self.read(needed, write).await?;
        let target = target.to_owned();
        blocking::run(move |_| install::install(written, staging.path(), &target, replace)).await
    }

    /// Reads layers in order and collects the results of `on_file`.
    async fn read<T: Send + 'static>(
        &self,
        layers: impl Iterator<Item = &(Descriptor, Digest)>,
        on_file: impl FnMut(&CancelFlag, &mut LayerEntry<'_>) -> Result<Option<T>, ImageRpmsError>
        + Send
        + 'static,
    ) -> Result<Vec<T>, ImageRpmsError> {
        let mut collected = Vec::new();
        let mut state = (LayerReader::new(), on_file);
        for (descriptor, diff_id) in layers {
            let blob = self.images.blob(descriptor).await?;
            let (descriptor, diff_id) = (descriptor.clone(), diff_id.clone());
            let (outcome, returned) = blocking::run(move |cancel| {
                let (reader, on_file) = &mut state;
                let mut found = Vec::new();
                let outcome =
                    reader.read::<ImageRpmsError>(cancel.watch(blob), &descriptor, &diff_id, |mut entry| {
                        found.extend(on_file(cancel, &mut entry)?);
                        Ok(())
                    });
                (outcome.map(|()| found), state)
            })
            .await;
            state = returned;
            collected.extend(outcome?);
        }
        Ok(collected)
    }
}

#[derive(Debug)]
struct StagedRpm {
    path: String,
    group: PackageGroup,
    size: u64,
    digest: Digest,
}

fn write(
    cancel: &CancelFlag,
    entry: &mut LayerEntry<'_>,
    staging: &Path,
) -> Result<StagedRpm, ImageRpmsError> {
    let path = staging.join(entry.path);
    let mut copy = || -> io::Result<(Digest, u64)> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = Hashing::new(File::create_new(&path)?);
        io::copy(entry.reader, &mut cancel.watch(&mut file))?;
        let (file, digest, size) = file.finish();
        file.sync_all()?;
        Ok((digest, size))
    };
    let (path, group) = (entry.path.to_owned(), entry.group);
    match copy() {
        Ok((digest, size)) => Ok(StagedRpm { path, group, size, digest }),
        Err(error) => Err(ImageRpmsError::Io { path: PathBuf::from(path), source: error }),
    }
}
