//! Composes an image in a layout from two directories of RPMs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::blocking;
use super::layer::{self, LayerFile};
use super::layout::{Layout, LayoutError};
use super::rpm::{self, RpmFileError};
use crate::model::compose::{self, Composition, EpochError, Layer, USERLAND};
use crate::model::image::{DigestRef, ImageLocation};
use crate::model::inputs::BuildInputs;
use crate::model::oci::{self, Config, Descriptor, Manifest};
use crate::model::packages::LayerKind;
use crate::model::{Compression, Digest, Target};

/// A stored image, not yet verified or tagged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposedImage {
    target: Target,
    manifest: Descriptor,
    directory: PathBuf,
}

impl ComposedImage {
    pub const fn target(&self) -> &Target {
        &self.target
    }

    pub const fn manifest(&self) -> &Descriptor {
        &self.manifest
    }

    pub const fn digest(&self) -> &Digest {
        &self.manifest.digest
    }

    pub fn pinned(&self) -> DigestRef {
        DigestRef {
            store: ImageLocation::Layout(self.directory.clone()),
            digest: self.manifest.digest.clone(),
        }
    }
}

/// Composes and stores an image of these RPMs without listing it in the index.
///
/// The directories hold RPMs under rpmbuild's names; other files are an error, subdirectories are skipped. The same
/// inputs and RPMs give the same digest.
pub async fn compose(
    inputs: &BuildInputs,
    userland: &Path,
    kmod: &Path,
    compression: Compression,
    layout: &Layout,
) -> Result<ComposedImage, ComposeError> {
    let (userland, kmod) = futures_util::future::try_join(
        layer(inputs, LayerKind::Userland, userland, compression, layout),
        layer(inputs, LayerKind::Kmod, kmod, compression, layout),
    )
    .await?;
    image(inputs, &userland, &kmod, layout)
}

pub async fn layer(
    inputs: &BuildInputs,
    part: LayerKind,
    directory: &Path,
    compression: Compression,
    layout: &Layout,
) -> Result<Layer, ComposeError> {
    let epoch =
        u64::try_from(inputs.source_date_epoch).map_err(|_| EpochError::new(inputs.source_date_epoch))?;
    let (directory, layout) = (directory.to_owned(), layout.clone());
    blocking::run(move |stop| {
        let mut files = BTreeMap::new();
        let mut groups = BTreeSet::new();
        for (file, size) in rpms(&directory)? {
            let package = rpm::read(&file)?;
            if package.part() != part {
                return Err(ComposeError::WrongLayer { file, part });
            }
            groups.insert(package.group());
            if files.insert(package.path(), LayerFile { file: file.clone(), size }).is_some() {
                return Err(ComposeError::Twice { file, name: package.nevra() });
            }
        }
        if files.is_empty() {
            return Err(ComposeError::Empty { directory, part });
        }
        let writer = stop.watch(layout.writer()?);
        let (writer, diff_id) = layer::write(&files, epoch, compression, writer)
            .map_err(|error| ComposeError::Io { path: directory, error })?;
        let (digest, size) = writer.into_inner().finish()?;
        let descriptor = Descriptor::new(compression.media_type(), digest, size);
        Ok(Layer::new(descriptor, diff_id, part, &groups))
    })
    .await
}

/// Stores configuration and manifest of an image with these layers, which need not be in the layout.
pub fn image(
    inputs: &BuildInputs,
    userland: &Layer,
    kmod: &Layer,
    layout: &Layout,
) -> Result<ComposedImage, ComposeError> {
    let Composition { config, manifest } = compose::compose(inputs, userland, kmod)?;
    layout.put(oci::CONFIG, &config)?;
    let manifest = layout.put(oci::MANIFEST, &manifest)?;
    let directory = layout.directory().to_owned();
    Ok(ComposedImage { target: inputs.target(), manifest, directory })
}

/// The userland layer of another image in the layout with the same inputs.
///
/// Unreadable images are skipped: at worst, the layer is written again.
pub fn find_userland(layout: &Layout, userland_digest: &Digest) -> Result<Option<Layer>, LayoutError> {
    let images = layout.index()?.manifests;
    Ok(images.iter().find_map(|image| userland_of(layout, &image.digest, userland_digest)))
}

fn userland_of(layout: &Layout, image: &Digest, userland_digest: &Digest) -> Option<Layer> {
    let manifest = Manifest::parse(&layout.read_blob(image).ok()?).ok()?;
    if manifest.annotations.get(USERLAND)? != userland_digest.as_str() {
        return None;
    }
    let config: Config = serde_json::from_slice(&layout.read_blob(&manifest.config.digest).ok()?).ok()?;
    let number = manifest.layers.iter().position(|layer| compose::is_part(layer, LayerKind::Userland))?;
    let (descriptor, diff_id) =
        (manifest.layers.get(number)?.clone(), config.rootfs.diff_ids.get(number)?.clone());
    layout.has(&descriptor.digest).then_some(Layer { descriptor, diff_id })
}

fn rpms(directory: &Path) -> Result<Vec<(PathBuf, u64)>, ComposeError> {
    let fail = |error| ComposeError::Io { path: directory.to_owned(), error };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        // Does not follow links, because build output is untrusted.
        let metadata = entry.metadata().map_err(fail)?;
        let path = entry.path();
        if metadata.is_dir() {
            continue;
        }
        if !metadata.is_file() || path.extension().is_none_or(|extension| extension != "rpm") {
            return Err(ComposeError::NoRpm { file: path });
        }
        files.push((path, metadata.len()));
    }
    Ok(files)
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ComposeError {
    #[error("{} is not an RPM, and nothing else belongs into an image", file.display())]
    NoRpm { file: PathBuf },
    #[error(transparent)]
    Rpm(#[from] RpmFileError),
    #[error("{} is not one of the {part} packages", file.display())]
    WrongLayer { file: PathBuf, part: LayerKind },
    #[error("{} is a second file of the package {name}", file.display())]
    Twice { file: PathBuf, name: String },
    #[error("there are no {part} packages in {}", directory.display())]
    #[diagnostic(help(
        "the build ended without an error and without an RPM; its log says what rpmbuild did"
    ))]
    Empty { directory: PathBuf, part: LayerKind },
    #[error(transparent)]
    Epoch(#[from] EpochError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layout(#[from] LayoutError),
    #[error("cannot write a layer from {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        error: std::io::Error,
    },
}
