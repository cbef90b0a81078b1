//! CoreOS images with the labels of the real ones and an RPM database that contains the kernel packages.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use xshell::{Shell, cmd};

use crate::error::Result;
use crate::lab::cache::{CacheKey, LabCache};
use crate::lab::make::kernel::Kernels;
use crate::lab::oci::{self, Image, LabLayout};
use crate::tools;

#[derive(Clone, Debug)]
pub(crate) struct LabRelease {
    pub(crate) stream: &'static str,
    pub(crate) version: String,
    /// Version and release of the kernel, without the architecture.
    pub(crate) kernel: String,
    /// Manifest digests: x86_64, aarch64.
    pub(crate) digests: [String; 2],
}

pub(crate) struct CoreOs {
    pub(crate) layout: PathBuf,
    pub(crate) releases: Vec<LabRelease>,
}

/// The kernel of `next`, newer than any OpenZFS release supports. It has no packages.
pub(crate) const UNSUPPORTED: &str = "7.3.1-300.fc45";
/// Before Fedora 43 a label contained the kernel.
const LABELLED: &str = "42.20250914.3.0";
const ARCHITECTURES: [(&str, &str); 2] = [("amd64", "x86_64"), ("arm64", "aarch64")];

pub(crate) fn images(cache: &LabCache, fedora: &Path, kernels: &Kernels) -> Result<CoreOs> {
    let plain = |release: &str| release.strip_suffix(".x86_64").unwrap_or(release).to_owned();
    let streams = [
        ("stable", "43.20261102.3.0", plain(&kernels.current)),
        ("testing", "43.20261116.2.0", plain(&kernels.newer)),
        ("next", "45.20261116.1.0", UNSUPPORTED.to_owned()),
    ];
    let key = CacheKey::new()
        .with(format!("{streams:?} {LABELLED}"))
        .with_entry(fedora)
        .with_entry(&kernels.directory)
        .with(oci::FORMAT);
    let layout = cache.entry("coreos", key, |directory| {
        tools::need(&[("rpm", "rpm")])?;
        let layout = LabLayout::create(directory)?;
        let base = layout.adopt(fedora)?;
        let mut digests = Vec::new();
        for (stream, version, kernel) in &streams {
            let mut layers = Vec::new();
            if kernel != UNSUPPORTED {
                layers.clone_from(&base);
                let database = package_database(cache, kernels, &format!("{kernel}.x86_64"))?;
                layers.push(layout.add_layer(database.path())?);
            }
            let labels = labels(stream, version);
            let images = ARCHITECTURES.map(|(architecture, _)| Image {
                architecture,
                layers: if architecture == "amd64" { &layers } else { &[] },
                labels: labels.clone(),
            });
            digests.push(layout.add(stream, &images)?);
            layout.add(version, &images)?;
        }
        let labels = json!({
            "fedora-coreos.stream": "stable", "version": LABELLED, "ostree.bootable": "true",
            "ostree.linux": kernels.current,
        });
        layout.add(LABELLED, &[Image { architecture: "amd64", layers: &base, labels }])?;
        Ok(fs::write(directory.join("digests.json"), json!(digests).to_string())?)
    })?;
    let digests: Vec<[String; 2]> = serde_json::from_slice(&fs::read(layout.join("digests.json"))?)?;
    let releases = streams
        .into_iter()
        .zip(digests)
        .map(|((stream, version, kernel), digests)| LabRelease {
            stream,
            version: version.to_owned(),
            kernel,
            digests,
        })
        .collect();
    Ok(CoreOs { layout, releases })
}

/// The labels since Fedora 43. None contains the kernel.
fn labels(stream: &str, version: &str) -> Value {
    json!({
        "com.coreos.osname": "fedora-coreos",
        "com.coreos.stream": stream,
        "containers.bootc": "1",
        "org.opencontainers.image.description": format!("Stand-in of the lab for Fedora CoreOS {stream}"),
        "org.opencontainers.image.title": format!("Fedora CoreOS {stream}"),
        "org.opencontainers.image.version": version,
        "ostree.bootable": "1",
    })
}

/// The files of an RPM database that lists the kernel packages as installed.
fn package_database(cache: &LabCache, kernels: &Kernels, release: &str) -> Result<tempfile::TempDir> {
    let root = cache.scratch()?;
    let options = ["--dbpath", "/var/lib/rpm", "--justdb", "--nodeps", "--noscripts", "--nosignature"];
    let packages = ["kernel-core", "kernel-modules-core"].map(|package| kernels.rpm(package, release));
    let (shell, directory) = (Shell::new()?, root.path());
    let install = cmd!(shell, "rpm --root {directory} {options...} --install {packages...}");
    tools::run_logged("installing a kernel in name only", &install.into(), &cache.log("coreos"))?;
    Ok(root)
}
