use std::collections::BTreeMap;

use miette::Result;

use super::image_rpms::ImageRpms;
use super::inspect;
use super::store::ImageStore;
use crate::model::image::{DigestRef, ImageRef, TagOrDigest};
use crate::model::image_diff::{ImageDiff, RpmMetadata};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    Packages,
    Files,
}

/// Images with equal digests are read once.
pub async fn compare(first: &DigestRef, second: &DigestRef, depth: Depth) -> Result<ImageDiff> {
    let (one, other) = (name(first), name(second));
    let other_images = ImageStore::open(&other.store).await?;
    let found = inspect::inspect(&other_images, &other).await?;
    if first.digest == second.digest {
        return Ok(ImageDiff::of(&found, &found)?);
    }
    let images = ImageStore::open(&one.store).await?;
    let comparison = ImageDiff::of(&inspect::inspect(&images, &one).await?, &found)?;
    if depth == Depth::Packages || comparison.differing().is_empty() {
        return Ok(comparison);
    }
    let first = rpm_metadata(&images, &one, &comparison).await?;
    let second = rpm_metadata(&other_images, &other, &comparison).await?;
    Ok(comparison.explain(&first, &second))
}

async fn rpm_metadata(
    images: &ImageStore,
    name: &ImageRef,
    comparison: &ImageDiff,
) -> Result<BTreeMap<String, RpmMetadata>> {
    let contents = ImageRpms::open(images, name).await?;
    Ok(contents.rpm_metadata(&comparison.differing(), &comparison.shared_layers()).await?)
}

fn name(image: &DigestRef) -> ImageRef {
    ImageRef { store: image.store.clone(), tag_or_digest: Some(TagOrDigest::Digest(image.digest.clone())) }
}
