//! The stream metadata of Fedora CoreOS and the release metadata of GitHub, as files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::Result;
use crate::lab::cache;
use crate::lab::environment::{self, REGISTRY};
use crate::lab::make::coreos::{CoreOs, LabRelease};
use crate::lab::make::openzfs;
use crate::lab::serve::github;

const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];
/// Earlier releases of a stream. Real lists grow with every release.
const OLDER: u32 = 60;
/// The first Fedora whose CoreOS releases have images.
const FIRST_WITH_IMAGES: u32 = 42;

/// Writes everything that the HTTP server serves to `www`.
pub(crate) fn publish(www: &Path, coreos: &CoreOs, repository: &Path, tarball: &Path) -> Result {
    let _ = fs::remove_dir_all(www);
    fs::create_dir_all(www)?;
    symlink(repository, www.join("fedora"))?;
    let download = www.join(format!("openzfs/releases/download/zfs-{}", openzfs::VERSION));
    fs::create_dir_all(&download)?;
    symlink(tarball, download.join(openzfs::file_name()))?;
    github::publish(&www.join("github"), fs::metadata(tarball)?.len(), &openzfs::meta(tarball)?)?;
    for release in &coreos.releases {
        stream(&www.join("coreos/prod/streams").join(release.stream), release)?;
    }
    Ok(())
}

/// Serves the tarball and the signed checksum of a release of OpenZFS.
pub(crate) fn add_openzfs(run: &Path, version: &str, tarball: &Path, signed_checksum: &str) -> Result {
    let download = run.join(format!("www/openzfs/releases/download/zfs-{version}"));
    let _ = fs::remove_dir_all(&download);
    fs::create_dir_all(&download)?;
    symlink(tarball, download.join(format!("zfs-{version}.tar.gz")))?;
    Ok(fs::write(download.join(format!("zfs-{version}.sha256.asc")), signed_checksum)?)
}

/// Makes a release the newest one of its stream.
pub(crate) fn ship(run: &Path, release: &LabRelease) -> Result {
    stream(&run.join("www/coreos/prod/streams").join(release.stream), release)
}

fn stream(directory: &Path, release: &LabRelease) -> Result {
    let mut releases: Vec<Value> = (0..OLDER).map(|index| older(release.stream, index)).collect();
    releases.push(entry(release.stream, &release.version, &release.digests));
    let list = json!({
        "note": "For use only by Fedora CoreOS internal tooling.  All other applications should obtain release info from stream metadata endpoints.",
        "releases": releases,
        "metadata": { "last-modified": "2026-11-18T14:00:00Z" },
        "stream": release.stream,
    });
    write(directory.join("releases.json"), &list)?;
    let builds = directory.join("builds");
    for index in 0..OLDER {
        let (fedora, version) = older_version(release.stream, index);
        for architecture in ARCHITECTURES.iter().filter(|_| fedora >= FIRST_WITH_IMAGES) {
            let meta = json!({
                "ostree.linux": format!("6.{}.{}-100.fc{fedora}.{architecture}", 6 + index / 12, 1 + index % 12),
                "version": version,
            });
            write(builds.join(&version).join(architecture).join("commitmeta.json"), &meta)?;
        }
    }
    for architecture in ARCHITECTURES {
        let builds = builds.join(&release.version).join(architecture);
        write(builds.join("commitmeta.json"), &commit_meta(release, architecture))?;
        let name = format!("manifest-lock.generated.{architecture}.json");
        write(builds.join(name), &lock(release, architecture))?;
    }
    Ok(())
}

/// Fedora and version of an earlier release.
fn older_version(stream: &str, index: u32) -> (u32, String) {
    let fedora = 38 + index / 12;
    let kind = match stream {
        "next" => 1,
        "testing" => 2,
        _ => 3,
    };
    let (year, month, day) = (23 + index / 24, 1 + index / 2 % 12, 1 + index % 2 * 14);
    (fedora, format!("{fedora}.20{year:02}{month:02}{day:02}.{kind}.0"))
}

fn older(stream: &str, index: u32) -> Value {
    let (fedora, version) = older_version(stream, index);
    let digests =
        ARCHITECTURES.map(|architecture| format!("sha256:{}", digest(&[stream, &version, architecture])));
    let mut entry = entry(stream, &version, &digests);
    if let Some(fields) = entry.as_object_mut().filter(|_| fedora < FIRST_WITH_IMAGES) {
        fields.remove("oci-images");
    }
    entry
}

fn entry(stream: &str, version: &str, digests: &[String; 2]) -> Value {
    let commits = ARCHITECTURES.map(|architecture| {
        json!({ "architecture": architecture, "checksum": digest(&["commit", version, architecture]) })
    });
    let images = ARCHITECTURES.iter().zip(digests).map(|(architecture, digest)| {
        json!({
            "architecture": architecture,
            "image": format!("{REGISTRY}/fedora/fedora-coreos:{stream}"),
            "digest-ref": format!("{REGISTRY}/fedora/fedora-coreos@{digest}"),
        })
    });
    json!({
        "commits": commits,
        "oci-images": images.collect::<Vec<_>>(),
        "version": version,
        "metadata": environment::url(&format!("/coreos/prod/streams/{stream}/builds/{version}/release.json")),
    })
}

fn commit_meta(release: &LabRelease, architecture: &str) -> Value {
    let list: Vec<Value> = packages(release)
        .into_iter()
        .map(|(name, epoch, version, revision)| json!([name, epoch, version, revision, architecture]))
        .collect();
    json!({
        "coreos-assembler.basearch": architecture,
        "coreos-assembler.config-gitrev": &digest(&["gitrev", &release.version])[..40],
        "com.coreos.stream": release.stream,
        "fedora-coreos.stream": release.stream,
        "ostree.bootable": true,
        "ostree.linux": format!("{}.{architecture}", release.kernel),
        "rpmostree.rpmdb.pkglist": list,
        "synthetic": true,
        "version": release.version,
    })
}

fn lock(release: &LabRelease, architecture: &str) -> Value {
    let mut list = serde_json::Map::new();
    for (name, epoch, version, revision) in packages(release) {
        let epoch = if epoch == "0" { String::new() } else { format!("{epoch}:") };
        let evra = format!("{epoch}{version}-{revision}.{architecture}");
        list.insert(name, json!({ "evra": evra, "metadata": { "sourcerpm": "a source package" } }));
    }
    json!({ "metadata": { "generated": "2026-11-16T09:00:00Z", "rpmmd_repos": {} }, "packages": list })
}

/// Name, epoch, version, release of the kernel packages, and of enough others for a list of realistic size.
fn packages(release: &LabRelease) -> Vec<(String, &'static str, String, String)> {
    let fedora = release.version.split('.').next().unwrap_or_default();
    let (version, revision) = release.kernel.split_once('-').unwrap_or_default();
    let mut list: Vec<_> = (0..400)
        .map(|index| {
            (format!("package{index:03}"), "0", format!("{}.{}", index % 7, index), format!("1.fc{fedora}"))
        })
        .collect();
    for kernel in ["kernel", "kernel-core", "kernel-modules", "kernel-modules-core"] {
        list.push((kernel.to_owned(), "0", version.to_owned(), revision.to_owned()));
    }
    list.push(("NetworkManager".to_owned(), "1", "1.54.1".to_owned(), format!("1.fc{fedora}")));
    list.sort();
    list
}

fn digest(parts: &[&str]) -> String {
    cache::digest(parts.join(" "))
}

fn write(path: PathBuf, value: &Value) -> Result {
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    Ok(fs::write(path, serde_json::to_string_pretty(value)?)?)
}
