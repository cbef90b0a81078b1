//! Configuration and manifest of an image. Equal inputs and layers give equal bytes.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::inputs::BuildInputs;
use super::oci::{self, Annotations, Config, Descriptor, Execution, History, Manifest, RootFs};
use super::packages::{LayerKind, PackageGroup};
use super::{Digest, Target};

/// Label: the URL of the publisher's repository, if it is known (OCI image specification, `annotations.md`). Up to
/// November 2026 it was the URL of OpenZFS's tarball.
pub const SOURCE: &str = "org.opencontainers.image.source";
/// Label: the digest of the build inputs.
pub const INPUTS: &str = "io.github.zfs-kmods.inputs";
/// Label: the digest of the inputs of the userland packages. Images with the same value can share that layer.
pub const USERLAND: &str = "io.github.zfs-kmods.userland";
pub const ZFS: &str = "io.github.zfs-kmods.zfs";
pub const KERNEL: &str = "io.github.zfs-kmods.kernel";
pub const ARCH: &str = "io.github.zfs-kmods.arch";
pub const FEDORA: &str = "io.github.zfs-kmods.fedora";
/// Annotation of a layer's descriptor: its [`LayerKind`].
pub const PART: &str = "io.github.zfs-kmods.part";
/// Annotation of a layer's descriptor: its groups, separated by commas, so that clients fetch only the layers they
/// need.
pub const GROUPS: &str = "io.github.zfs-kmods.groups";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub descriptor: Descriptor,
    /// Of the uncompressed tar archive (OCI image specification, `config.md`, "Layer DiffID").
    pub diff_id: Digest,
}

impl Layer {
    pub fn new(
        mut descriptor: Descriptor,
        diff_id: Digest,
        part: LayerKind,
        groups: &BTreeSet<PackageGroup>,
    ) -> Self {
        let groups: Vec<_> = groups.iter().map(|group| group.as_str()).collect();
        descriptor.annotations.insert(PART.to_owned(), part.to_string());
        descriptor.annotations.insert(GROUPS.to_owned(), groups.join(","));
        Self { descriptor, diff_id }
    }
}

/// `None` without the annotation.
pub fn groups(layer: &Descriptor) -> Option<BTreeSet<PackageGroup>> {
    let text = layer.annotations.get(GROUPS)?;
    text.split(',').filter(|word| !word.is_empty()).map(PackageGroup::named).collect()
}

pub fn target(labels: &Annotations) -> Option<Target> {
    Some(Target { zfs: labels.get(ZFS)?.parse().ok()?, kernel: labels.get(KERNEL)?.parse().ok()? })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composition {
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source date epoch {0} is not a number of seconds between 1970 and 9999")]
pub struct EpochError(pub i64);

fn created(source_date_epoch: i64) -> Result<Timestamp, EpochError> {
    Timestamp::from_second(source_date_epoch)
        .ok()
        .filter(|time| *time >= Timestamp::UNIX_EPOCH)
        .ok_or(EpochError(source_date_epoch))
}

/// Composes configuration and manifest from these layers.
///
/// The same values are labels, which are copied with the image, and annotations, which can be read without the
/// configuration.
pub fn compose(inputs: &BuildInputs, userland: &Layer, kmod: &Layer) -> Result<Composition, EpochError> {
    let created = created(inputs.source_date_epoch)?.to_string();
    let labels = labels(inputs, &created);
    let history = |part: LayerKind, of: &str| History {
        created: Some(created.clone()),
        created_by: Some(format!("zfs-kmods {}: {part} RPMs of {of}", inputs.tool)),
    };
    let config = Config {
        created: Some(created.clone()),
        architecture: inputs.arch.oci().to_owned(),
        os: "linux".to_owned(),
        config: Execution { labels: labels.clone() },
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: vec![userland.diff_id.clone(), kmod.diff_id.clone()],
        },
        history: vec![
            history(LayerKind::Userland, &format!("OpenZFS {}", inputs.zfs)),
            history(LayerKind::Kmod, &inputs.target().to_string()),
        ],
    };
    let config = to_json(&config);
    let layers = vec![userland.descriptor.clone(), kmod.descriptor.clone()];
    let manifest =
        Manifest { annotations: labels, ..Manifest::new(Descriptor::of(oci::CONFIG, &config), layers) };
    Ok(Composition { manifest: to_json(&manifest), config })
}

fn to_json(document: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("text, numbers and maps with text keys can be written")
}

fn labels(inputs: &BuildInputs, created: &str) -> Annotations {
    let Target { zfs, kernel } = inputs.target();
    [
        ("org.opencontainers.image.title", format!("OpenZFS {zfs} for {kernel}")),
        (
            "org.opencontainers.image.description",
            format!("RPMs of OpenZFS {zfs} with kernel modules for exactly {kernel}"),
        ),
        ("org.opencontainers.image.version", zfs.to_string()),
        ("org.opencontainers.image.created", created.to_owned()),
        // The Python binding has the Apache licence, the rest the CDDL.
        ("org.opencontainers.image.licenses", "CDDL-1.0 AND Apache-2.0".to_owned()),
        (INPUTS, inputs.digest().to_string()),
        (USERLAND, inputs.userland_digest().to_string()),
        (ZFS, zfs.to_string()),
        (KERNEL, kernel.to_string()),
        (ARCH, inputs.arch.to_string()),
        (FEDORA, inputs.fedora.to_string()),
    ]
    .into_iter()
    .chain(inputs.source_repository.clone().map(|url| (SOURCE, url)))
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inputs::tests::inputs;

    fn layer(part: LayerKind) -> Layer {
        let groups = [PackageGroup::Main, PackageGroup::Src].into();
        let descriptor = Descriptor::of(oci::LAYER_ZSTD, part.as_str().as_bytes());
        Layer::new(descriptor, Digest::of(b"tar"), part, &groups)
    }

    #[test]
    fn documents_say_what_the_image_is_and_never_differ() {
        let compose = || compose(&inputs(), &layer(LayerKind::Userland), &layer(LayerKind::Kmod)).unwrap();
        assert_eq!(compose(), compose());
        let manifest: Manifest = serde_json::from_slice(&compose().manifest).unwrap();
        let config: Config = serde_json::from_slice(&compose().config).unwrap();
        assert_eq!(manifest.config, Descriptor::of(oci::CONFIG, &compose().config));
        assert_eq!(manifest.annotations, config.config.labels);
        assert_eq!((config.architecture.as_str(), config.rootfs.diff_ids.len()), ("amd64", 2));
        assert_eq!(config.created.as_deref(), Some("2026-09-21T14:13:20Z"));
        assert_eq!(config.config.labels[KERNEL], "6.17.8-300.fc43.x86_64");
        assert_eq!(config.config.labels[INPUTS], inputs().digest().as_str());
        assert_eq!(groups(&manifest.layers[0]), Some([PackageGroup::Main, PackageGroup::Src].into()));
    }

    #[test]
    fn the_source_is_the_publishers_repository_or_absent() {
        let labels = |repository: Option<&str>| {
            let mut inputs = inputs();
            inputs.source_repository = repository.map(str::to_owned);
            let image = compose(&inputs, &layer(LayerKind::Userland), &layer(LayerKind::Kmod)).unwrap();
            serde_json::from_slice::<Config>(&image.config).unwrap().config.labels
        };
        let repository = "https://github.com/owner/zfs-kmods";
        assert_eq!(labels(Some(repository)).get(SOURCE).map(String::as_str), Some(repository));
        assert_eq!(labels(None).get(SOURCE), None);
        assert_eq!(labels(None)[INPUTS], labels(Some(repository))[INPUTS]);
    }

    #[test]
    fn a_layer_of_unknown_groups_says_nothing() {
        let mut descriptor = Descriptor::of(oci::LAYER_ZSTD, b"");
        assert_eq!(groups(&descriptor), None);
        descriptor.annotations.insert(GROUPS.into(), "main,more".into());
        assert_eq!(groups(&descriptor), None);
    }

    #[test]
    fn rejects_times_outside_the_calendar() {
        for epoch in [-1, i64::MAX, i64::MIN, 253_402_300_800] {
            let mut inputs = inputs();
            inputs.source_date_epoch = epoch;
            assert!(
                super::compose(&inputs, &layer(LayerKind::Userland), &layer(LayerKind::Kmod)).is_err(),
                "{epoch}"
            );
        }
    }
}
