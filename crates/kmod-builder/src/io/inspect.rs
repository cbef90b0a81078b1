//! Reads an image for contract verification.

use std::collections::BTreeSet;
use std::io::Read;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::blocking;
use super::layer::{DUPLICATE, LayerError, LayerReader};
use super::layout::LayoutError;
use super::rpm;
use super::store::{ImageStore, StoreError, Stored};
use crate::model::compose;
use crate::model::image::{DigestRef, ImageRef, TagOrDigest};
use crate::model::oci::{Config, Descriptor, Manifest};
use crate::model::verify::{BlobFault, ImageRpm, Inspection};
use crate::model::{Digest, Target};

/// Ours have two.
const MAX_LAYERS: usize = 32;
const CONCURRENT: usize = 2;

/// Reads a whole image without evaluating it.
///
/// Defects of the image are findings; only a failure of the store is an error. Two layers are streamed at a time, each
/// is fetched once, and none is held in memory.
pub async fn inspect(images: &ImageStore, name: &ImageRef) -> Result<Inspection, StoreError> {
    let pinned = |digest| DigestRef { store: name.store.clone(), digest };
    let unread = |image, tag, reason| Inspection {
        image,
        tag,
        manifest: Err(reason),
        config: Err(BlobFault::Content("the manifest cannot be read".to_owned())),
        layers: Vec::new(),
        packages: Vec::new(),
    };
    let Stored { digest, bytes, tag } = match images.find(name).await {
        Ok(stored) => stored,
        Err(StoreError::Layout(LayoutError::Changed { digest, found, .. })) => {
            let reason = format!("the manifest {digest} was changed: its bytes now have the digest {found}");
            return Ok(unread(pinned(digest), None, reason));
        }
        Err(error) => return Err(error),
    };
    let manifest = match Manifest::parse(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => return Ok(unread(pinned(digest), tag, error.to_string())),
    };
    if manifest.layers.len() > MAX_LAYERS {
        let reason = format!("it lists {} layers, and at most {MAX_LAYERS} are read", manifest.layers.len());
        return Ok(unread(pinned(digest), tag, reason));
    }
    let config = config(images, &manifest.config).await?;
    // Without the configuration, layers have no expected digests.
    let diff_ids = config.as_ref().map_or(&[][..], |config| &config.rootfs.diff_ids);
    let read = manifest.layers.iter().zip(diff_ids).enumerate();
    let read = read.map(|(number, (descriptor, diff_id))| layer(images, number, descriptor, diff_id));
    let (mut layers, mut packages, mut paths) = (Vec::new(), Vec::<ImageRpm>::new(), BTreeSet::new());
    for (outcome, found) in stream::iter(read).buffered(CONCURRENT).try_collect::<Vec<_>>().await? {
        let hidden = found
            .iter()
            .find(|found| paths.contains(&found.path))
            .map(|found| LayerError::Entry { name: found.path.clone(), reason: DUPLICATE.to_owned() });
        paths.extend(found.iter().map(|found| found.path.clone()));
        packages.extend(found);
        layers.push(hidden.map_or(outcome, |error| Err(BlobFault::Entry(error.to_string()))));
    }
    for _ in layers.len()..manifest.layers.len() {
        layers.push(Err(BlobFault::Content("the configuration does not list every layer".to_owned())));
    }
    Ok(Inspection { image: pinned(digest), tag, manifest: Ok(manifest), config, layers, packages })
}

/// The target that the image's labels state; no layer is read. The inner error says why they name no target.
pub async fn labelled_target(
    images: &ImageStore,
    digest: &Digest,
) -> Result<Result<Target, String>, StoreError> {
    let Some(stored) = images.manifest(&TagOrDigest::Digest(digest.clone())).await? else {
        return Ok(Err("its manifest is not there".to_owned()));
    };
    let manifest = match Manifest::parse(&stored.bytes) {
        Ok(manifest) => manifest,
        Err(error) => return Ok(Err(error.to_string())),
    };
    Ok(match config(images, &manifest.config).await? {
        Err(fault) => Err(fault.reason().to_owned()),
        Ok(config) => {
            compose::target(&config.config.labels).ok_or_else(|| "its labels name no target".to_owned())
        }
    })
}

/// The layer's fault, if any, and the packages read before it.
async fn layer(
    images: &ImageStore,
    number: usize,
    descriptor: &Descriptor,
    diff_id: &Digest,
) -> Result<(Result<(), BlobFault>, Vec<ImageRpm>), StoreError> {
    let blob = match images.blob(descriptor).await {
        Ok(blob) => blob,
        Err(error) => return Ok((Err(missing(error)?), Vec::new())),
    };
    let (descriptor, diff_id) = (descriptor.clone(), diff_id.clone());
    let (outcome, packages) = blocking::run(move |cancel| {
        let mut packages = Vec::new();
        let outcome = read(cancel.watch(blob), &descriptor, &diff_id, number, &mut packages);
        (outcome, packages)
    })
    .await;
    let fault = match outcome {
        Ok(()) => return Ok((Ok(()), packages)),
        Err(error @ LayerError::Read { .. }) => return Err(error.into()),
        Err(error @ LayerError::Changed { .. }) => BlobFault::Changed(error.to_string()),
        Err(error @ LayerError::Entry { .. }) => BlobFault::Entry(error.to_string()),
        Err(error) => BlobFault::Content(error.to_string()),
    };
    Ok((Err(fault), packages))
}

fn read(
    blob: impl Read,
    descriptor: &Descriptor,
    diff_id: &Digest,
    layer: usize,
    packages: &mut Vec<ImageRpm>,
) -> Result<(), LayerError> {
    LayerReader::new().read(blob, descriptor, diff_id, |entry| {
        let content = rpm::inspect(&mut *entry.reader).map_err(|error| error.to_string());
        packages.push(ImageRpm { path: entry.path.to_owned(), layer, content });
        Ok(())
    })
}

async fn config(
    images: &ImageStore,
    descriptor: &Descriptor,
) -> Result<Result<Config, BlobFault>, StoreError> {
    let bytes = match images.document(descriptor).await {
        Ok(bytes) => bytes,
        Err(StoreError::Layout(LayoutError::Changed { digest, found, .. })) => {
            let reason = format!(
                "the configuration {digest} was changed after the image was made: its bytes now have the digest {found}"
            );
            return Ok(Err(BlobFault::Changed(reason)));
        }
        Err(error) => return Ok(Err(missing(error)?)),
    };
    if bytes.len() as u64 != descriptor.size {
        let reason = format!(
            "the configuration has {} bytes, not {} as the manifest says",
            bytes.len(),
            descriptor.size
        );
        return Ok(Err(BlobFault::Content(reason)));
    }
    let config = serde_json::from_slice(&bytes);
    Ok(config.map_err(|error| BlobFault::Content(format!("the configuration cannot be read: {error}"))))
}

/// Turns a missing blob into a finding; other errors stay errors.
fn missing(error: StoreError) -> Result<BlobFault, StoreError> {
    match &error {
        StoreError::NoBlob { .. } | StoreError::Layout(LayoutError::NoBlob { .. }) => {
            Ok(BlobFault::Changed(error.to_string()))
        }
        _ => Err(error),
    }
}
