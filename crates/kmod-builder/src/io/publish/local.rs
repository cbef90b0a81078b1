//! The image to publish, as a directory holds it.

use std::path::{Path, PathBuf};

use crate::io::inputs::{self, InputsError};
use crate::io::layout::{Layout, LayoutError};
use crate::model::Digest;
use crate::model::evidence::verify::ImageFacts;
use crate::model::image::TagOrDigest;
use crate::model::inputs::BuildInputs;
use crate::model::manifest::{Blob, IncompleteManifest, ManifestWithBlobs, RawManifest};
use crate::model::oci::{self, Descriptor, Manifest};
use crate::model::verify::Inspection;

/// The image or its inputs cannot be read from the directory.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LocalImageError {
    /// The inputs cannot be read.
    #[error("cannot read the image's inputs")]
    #[diagnostic(help("name their file with --inputs"))]
    Inputs(
        #[from]
        #[diagnostic_source]
        InputsError,
    ),
    /// The image's label cannot be read.
    #[error("cannot read the image's inputs label: {0}")]
    Label(String),
    /// The provenance would be wrong.
    #[error("`{}` holds other inputs than those that the image was built from", file.display())]
    #[diagnostic(help("name the inputs of this image with --inputs"))]
    OtherInputs {
        /// The file.
        file: PathBuf,
    },
    /// The image was deleted.
    #[error("the image {0} is no longer in the directory")]
    Gone(Digest),
    /// The directory cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layout(#[from] LayoutError),
    /// The manifest is invalid.
    #[error("invalid image manifest")]
    Manifest(#[from] serde_json::Error),
    /// The manifest does not match its blobs.
    #[error(transparent)]
    Incomplete(#[from] IncompleteManifest),
}

/// Reads the inputs of an image. Fails unless the image's label has their digest.
#[expect(clippy::result_large_err, reason = "read once a run")]
pub fn inputs(file: &Path, inspection: &Inspection) -> Result<BuildInputs, LocalImageError> {
    let inputs = inputs::read(file)?;
    let label = ImageFacts::of("", inspection).inputs_label.map_err(LocalImageError::Label)?;
    if label.as_ref() == Some(&inputs.digest()) {
        Ok(inputs)
    } else {
        Err(LocalImageError::OtherInputs { file: file.to_owned() })
    }
}

/// The image, with its blobs as files of the directory.
#[expect(clippy::result_large_err, reason = "read once a run")]
pub fn image(layout: &Layout, digest: &Digest) -> Result<ManifestWithBlobs, LocalImageError> {
    let (_, bytes) = layout
        .manifest(&TagOrDigest::Digest(digest.clone()))?
        .ok_or_else(|| LocalImageError::Gone(digest.clone()))?;
    let manifest: Manifest = serde_json::from_slice(&bytes)?;
    let blob = |descriptor: &Descriptor| {
        Blob::file(layout.path(&descriptor.digest), descriptor.digest.clone(), descriptor.size)
    };
    let blobs = std::iter::once(&manifest.config).chain(&manifest.layers).map(blob).collect();
    Ok(ManifestWithBlobs::new(RawManifest::new(bytes, oci::MANIFEST), blobs)?)
}
