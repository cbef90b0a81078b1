//! A real release of OpenZFS: upstream's tarball from Debian's source archive.

use std::fs;
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::error::Result;
use crate::lab::apt::Apt;
use crate::lab::cache::{CacheKey, LabCache};
use crate::tools;

pub(crate) const VERSION: &str = "2.4.3";
pub(crate) const SHA256: &str = "1f08f2d154f5189b5f1382848a32667b3d34066145b474c49cd3d41a5fba59a7";
/// From OpenZFS's release page.
pub(crate) const PUBLISHED: &str = "2026-06-12T16:00:00Z";

pub(crate) fn file_name() -> String {
    format!("zfs-{VERSION}.tar.gz")
}

pub(crate) fn tarball(cache: &LabCache) -> Result<PathBuf> {
    fetch(cache, "openzfs", VERSION, SHA256)
}

fn fetch(cache: &LabCache, entry: &str, version: &str, sha256: &str) -> Result<PathBuf> {
    let name = format!("zfs-{version}.tar.gz");
    let entry = cache.entry(entry, CacheKey::new().with(version).with(sha256), |directory| {
        let debian = format!("zfs-linux_{version}.orig.tar.gz");
        Apt::open(cache)?.source_file("zfs-linux", &debian, sha256, &directory.join(&name))
    })?;
    Ok(entry.join(name))
}

/// A release of the line before.
pub(crate) const OLDER: &str = "2.3.2";
const OLDER_SHA256: &str = "80da628a9543ec3355bf410617450e167706948ceb287541455a1b8d87b8758a";

/// The tarball of [`OLDER`].
pub(crate) fn older_tarball(cache: &LabCache) -> Result<PathBuf> {
    fetch(cache, "openzfs-older", OLDER, OLDER_SHA256)
}

/// A later release: the same source under another version.
pub(crate) const NEXT: &str = "2.4.9";

/// The tarball of [`NEXT`].
pub(crate) fn next_tarball(cache: &LabCache, tarball: &Path) -> Result<PathBuf> {
    let name = format!("zfs-{NEXT}.tar.gz");
    let entry = cache.entry(
        "openzfs-next",
        CacheKey::new().with(SHA256).with(NEXT).with("configure"),
        |directory| {
            let work = cache.scratch()?;
            let (root, shell) = (work.path(), Shell::new()?);
            cmd!(shell, "tar --extract --gzip --file {tarball} --directory {root}").run()?;
            let (from, to) = (format!("zfs-{VERSION}"), format!("zfs-{NEXT}"));
            fs::rename(root.join(&from), root.join(&to))?;
            let file = |name: &str| root.join(&to).join(name);
            fs::write(file("META"), set_version(&fs::read_to_string(file("META"))?))?;
            // A release tarball has a generated `configure`, which contains the version.
            let configure = fs::read_to_string(file("configure"))?.replace(VERSION, NEXT);
            fs::write(file("configure"), configure)?;
            let target = directory.join(&name);
            let options = ["--sort=name", "--owner=0", "--group=0", "--mtime=2026-11-01"];
            cmd!(shell, "tar --create --gzip {options...} --file {target} --directory {root} {to}").run()?;
            Ok(())
        },
    )?;
    Ok(entry.join(name))
}

/// The same `META` with the version of [`NEXT`].
pub(crate) fn set_version(meta: &str) -> String {
    let line = |line: &str| match line.split_once(':') {
        Some(("Version", _)) => format!("Version:       {NEXT}\n"),
        _ => format!("{line}\n"),
    };
    meta.lines().map(line).collect()
}

/// The file `META` in the tarball of [`VERSION`].
pub(crate) fn meta(tarball: &Path) -> Result<String> {
    meta_of(tarball, VERSION)
}

pub(crate) fn meta_of(tarball: &Path, version: &str) -> Result<String> {
    let member = format!("zfs-{version}/META");
    let shell = Shell::new()?;
    tools::text(&cmd!(shell, "tar --extract --gzip --to-stdout --file {tarball} {member}").into())
}
