//! Reads the image to publish from a directory.

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

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LocalImageError {
    #[error("cannot read the image's inputs")]
    #[diagnostic(help("name their file with --inputs"))]
    Inputs(
        #[from]
        #[diagnostic_source]
        InputsError,
    ),
    #[error("cannot read the image's inputs label: {0}")]
    Label(String),
    #[error("`{}` holds other inputs than those that the image was built from", file.display())]
    #[diagnostic(help("name the inputs of this image with --inputs"))]
    OtherInputs {
        /// The inputs file, not the image.
        file: PathBuf,
    },
    #[error("the image {0} is no longer in the directory")]
    Gone(Digest),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layout(#[from] LayoutError),
    #[error("invalid image manifest")]
    Manifest(#[from] serde_json::Error),
    #[error(transparent)]
    Incomplete(#[from] IncompleteManifest),
}

/// Fails unless the image's label has the digest of the inputs.
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

/// Its blobs stay files of the directory.
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
