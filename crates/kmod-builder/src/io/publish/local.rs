//! Reads the image to publish from a directory.

use std::path::Path;

use miette::{IntoDiagnostic as _, Result, WrapErr as _, miette};

use crate::io::inputs;
use crate::io::layout::Layout;
use crate::model::Digest;
use crate::model::evidence::verify::ImageFacts;
use crate::model::image::TagOrDigest;
use crate::model::inputs::BuildInputs;
use crate::model::manifest::{Blob, ManifestWithBlobs, RawManifest};
use crate::model::oci::{self, Descriptor, Manifest};
use crate::model::verify::Inspection;

/// Fails unless the image's label has the digest of the inputs.
pub fn inputs(file: &Path, inspection: &Inspection) -> Result<BuildInputs> {
    let inputs = inputs::read(file).wrap_err("cannot read the image's inputs")?;
    let label = ImageFacts::of("", inspection)
        .inputs_label
        .map_err(|reason| miette!("cannot read the image's inputs label: {reason}"))?;
    if label.as_ref() == Some(&inputs.digest()) {
        return Ok(inputs);
    }
    Err(miette!(
        help = "name the inputs of this image with --inputs",
        "the image was not built from the inputs in `{}`",
        file.display()
    ))
}

/// Its blobs stay files of the directory.
pub fn image(layout: &Layout, digest: &Digest) -> Result<ManifestWithBlobs> {
    let (_, bytes) = layout
        .manifest(&TagOrDigest::Digest(digest.clone()))?
        .ok_or_else(|| miette!("the image {digest} is no longer in the directory"))?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).into_diagnostic().wrap_err("invalid image manifest")?;
    let blob = |descriptor: &Descriptor| {
        Blob::file(layout.path(&descriptor.digest), descriptor.digest.clone(), descriptor.size)
    };
    let blobs = std::iter::once(&manifest.config).chain(&manifest.layers).map(blob).collect();
    ManifestWithBlobs::new(RawManifest::new(bytes, oci::MANIFEST), blobs).into_diagnostic()
}
