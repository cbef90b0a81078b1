//! Checks of blobs, layers and labels.

use kmod_compat::FedoraVersion;

use super::{BlobFault, CheckSubject, Failures, Inspection};
use crate::model::compose::{self, ARCH, FEDORA, INPUTS, KERNEL, PART, USERLAND, ZFS};
use crate::model::oci::Annotations;
use crate::model::packages::LayerKind;
use crate::model::{Digest, Target};

pub(super) fn labelled_target(inspection: &Inspection) -> Option<Target> {
    let labels = match (&inspection.config, &inspection.manifest) {
        (Ok(config), _) => &config.config.labels,
        (Err(_), Ok(manifest)) => &manifest.annotations,
        (Err(_), Err(_)) => return None,
    };
    compose::target(labels)
}

/// Fails with a sentence that names the unreadable layer.
pub(super) fn all_readable(inspection: &Inspection) -> Result<(), String> {
    if inspection.manifest.is_err() || inspection.config.is_err() {
        return Err(
            "the layers were not read, because the manifest or the configuration cannot be read".to_owned()
        );
    }
    match inspection.layers.iter().position(Result::is_err) {
        None => Ok(()),
        Some(number) => Err(format!("layer {} could not be read", number + 1)),
    }
}

pub(super) fn blobs(subject: &CheckSubject<'_>) -> Vec<String> {
    let Inspection { manifest, config, layers, .. } = subject.inspection;
    let faults =
        config.as_ref().err().into_iter().chain(layers.iter().filter_map(|layer| layer.as_ref().err()));
    let changed = faults.filter_map(|fault| match fault {
        BlobFault::Changed(reason) => Some(reason.clone()),
        BlobFault::Content(_) | BlobFault::Entry(_) => None,
    });
    manifest.as_ref().err().cloned().into_iter().chain(changed).collect()
}

pub(super) fn layers(subject: &CheckSubject<'_>) -> Failures {
    let Inspection { manifest, config, layers, .. } = subject.inspection;
    let manifest = manifest.as_ref().map_err(|_| "the manifest cannot be read")?;
    let config = match config {
        Ok(config) => config,
        Err(BlobFault::Changed(_)) => return Err("the configuration was changed".to_owned()),
        Err(BlobFault::Content(reason) | BlobFault::Entry(reason)) => return Ok(vec![reason.clone()]),
    };
    let mut failures = Vec::new();
    let parts: Vec<_> =
        manifest.layers.iter().map(|layer| layer.annotations.get(PART).map(String::as_str)).collect();
    if parts != LayerKind::ALL.map(|part| Some(part.as_str())) {
        failures.push("the image does not have one layer of userland and one of kmod packages".to_owned());
    }
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        failures.push(format!(
            "the configuration lists {} layers, the manifest {}",
            config.rootfs.diff_ids.len(),
            manifest.layers.len()
        ));
    }
    failures.extend(layers.iter().filter_map(|layer| match layer {
        Err(BlobFault::Content(reason)) => Some(reason.clone()),
        _ => None,
    }));
    for (number, layer) in manifest.layers.iter().enumerate() {
        let found = subject.inspection.packages.iter().filter(|found| found.layer == number);
        let groups = found
            .filter_map(|found| found.content.as_ref().ok())
            .map(|(package, _)| package.group())
            .collect();
        if layers.get(number) == Some(&Ok(())) && compose::groups(layer).is_some_and(|said| said != groups) {
            failures.push(format!("layer {} does not hold the groups in its annotation", number + 1));
        }
    }
    Ok(failures)
}

pub(super) fn entries(subject: &CheckSubject<'_>) -> Failures {
    let failures: Vec<_> = subject
        .inspection
        .layers
        .iter()
        .filter_map(|layer| match layer {
            Err(BlobFault::Entry(reason)) => Some(reason.clone()),
            _ => None,
        })
        .collect();
    match all_readable(subject.inspection) {
        Err(why) if failures.is_empty() => Err(why),
        _ => Ok(failures),
    }
}

pub(super) fn labels(subject: &CheckSubject<'_>) -> Failures {
    let (Ok(manifest), Ok(config)) = (&subject.inspection.manifest, &subject.inspection.config) else {
        return Err("the manifest or the configuration cannot be read".to_owned());
    };
    let Target { zfs, kernel } = &subject.target;
    let labels = &config.config.labels;
    let mut failures = Vec::new();
    for (name, expected) in
        [(ZFS, zfs.to_string()), (KERNEL, kernel.to_string()), (ARCH, kernel.arch().to_string())]
    {
        match labels.get(name) {
            Some(value) if *value == expected => {}
            Some(value) => failures.push(format!("the label {name} is `{value}`, not `{expected}`")),
            None => failures.push(format!("the label {name} is missing")),
        }
    }
    for name in [INPUTS, USERLAND] {
        if !holds::<Digest>(labels, name) {
            failures.push(format!("the label {name} is not a digest"));
        }
    }
    if !holds::<FedoraVersion>(labels, FEDORA) {
        failures.push(format!("the label {FEDORA} is not a Fedora release"));
    }
    if config.architecture != kernel.arch().oci() || config.os != "linux" {
        failures.push(format!(
            "the image is for {}/{}, the kernel for linux/{}",
            config.os,
            config.architecture,
            kernel.arch().oci()
        ));
    }
    if *labels != manifest.annotations {
        failures.push("the manifest's annotations are not the configuration's labels".to_owned());
    }
    Ok(failures)
}

fn holds<T: std::str::FromStr>(labels: &Annotations, name: &str) -> bool {
    labels.get(name).is_some_and(|value| value.parse::<T>().is_ok())
}
