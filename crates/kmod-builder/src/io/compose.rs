//! Composes an image in a layout from two directories of RPMs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic as _, Result, WrapErr as _, miette};

use super::blocking;
use super::layer::{self, LayerFile};
use super::layout::Layout;
use super::rpm;
use crate::model::compose::{self, Composition, EpochError, Layer};
use crate::model::image::{DigestRef, ImageLocation};
use crate::model::inputs::BuildInputs;
use crate::model::oci::{self, Descriptor};
use crate::model::packages::LayerKind;
use crate::model::{Compression, Digest};

/// A stored image, not yet verified or tagged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposedImage {
    manifest: Descriptor,
    directory: PathBuf,
}

impl ComposedImage {
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
) -> Result<ComposedImage> {
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
) -> Result<Layer> {
    let epoch = inputs.source_date_epoch;
    let epoch = u64::try_from(epoch).map_err(|_| EpochError(epoch)).into_diagnostic()?;
    let (directory, layout) = (directory.to_owned(), layout.clone());
    blocking::run(move |cancel| {
        let mut files = BTreeMap::new();
        let mut groups = BTreeSet::new();
        for (file, size) in rpms(&directory)? {
            let package = rpm::read(&file)?;
            let shown = file.display().to_string();
            if package.part() != part {
                return Err(miette!("{shown} is not one of the {part} packages"));
            }
            groups.insert(package.group());
            if files.insert(package.path(), LayerFile { file, size }).is_some() {
                return Err(miette!("{shown} is a second file of the package {}", package.nevra()));
            }
        }
        if files.is_empty() {
            return Err(miette!(
                help =
                    "the build ended without an error and without an RPM; see rpmbuild's output in its log",
                "there are no {part} packages in {}",
                directory.display()
            ));
        }
        let writer = cancel.watch(layout.writer()?);
        let (writer, diff_id) = layer::write(&files, epoch, compression, writer)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot write a layer from {}", directory.display()))?;
        let (digest, size) = writer.into_inner().finish()?;
        let descriptor = Descriptor::new(compression.media_type(), digest, size);
        Ok(Layer::new(descriptor, diff_id, part, &groups))
    })
    .await
}

/// Stores configuration and manifest of an image with these layers, which need not be in the layout.
pub fn image(inputs: &BuildInputs, userland: &Layer, kmod: &Layer, layout: &Layout) -> Result<ComposedImage> {
    let Composition { config, manifest } = compose::compose(inputs, userland, kmod).into_diagnostic()?;
    layout.put(oci::CONFIG, &config)?;
    let manifest = layout.put(oci::MANIFEST, &manifest)?;
    let directory = layout.directory().to_owned();
    Ok(ComposedImage { manifest, directory })
}

fn rpms(directory: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let read = || -> std::io::Result<Vec<_>> {
        fs::read_dir(directory)?
            .map(|entry| {
                let entry = entry?;
                // Does not follow links, because build output is untrusted.
                Ok((entry.path(), entry.metadata()?))
            })
            .collect()
    };
    let entries =
        read().into_diagnostic().wrap_err_with(|| format!("cannot read {}", directory.display()))?;
    let mut files = Vec::new();
    for (path, metadata) in entries {
        if metadata.is_dir() {
            continue;
        }
        if !metadata.is_file() || path.extension().is_none_or(|extension| extension != "rpm") {
            return Err(miette!("{} is not an RPM; an image holds only RPMs", path.display()));
        }
        files.push((path, metadata.len()));
    }
    Ok(files)
}
