use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::{LayerKind, PackageGroup};
use crate::model::Digest;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Package {
    /// `zfs`, `kmod-zfs-6.17.8-300.fc43.x86_64`, …
    pub name: String,
    pub epoch: Option<u32>,
    pub version: String,
    pub release: String,
    /// As in the header: a source package has the architecture of its build.
    pub arch: String,
    pub source: bool,
    /// Of the file, in bytes.
    pub size: u64,
    pub digest: Digest,
    /// The sum of the sizes of the packaged files, in bytes.
    pub installed_size: u64,
    pub summary: String,
    /// As in the header (`CDDL`), not necessarily an SPDX expression.
    pub license: String,
    pub url: Option<String>,
    /// File name; `None` for source packages.
    pub source_rpm: Option<String>,
    /// Seconds since 1970.
    pub build_time: Option<u64>,
    pub provides: Vec<Capability>,
    pub requires: Vec<Capability>,
    /// By the directive of the spec file: `%post`.
    #[serde(skip)]
    pub scriptlets: BTreeMap<&'static str, String>,
    /// Absolute paths.
    #[serde(skip)]
    pub files: Vec<String>,
}

impl Package {
    /// Epoch (if set), version and release: `2.4.3-1.fc43`.
    pub fn evr(&self) -> String {
        match self.epoch {
            None => format!("{}-{}", self.version, self.release),
            Some(epoch) => format!("{epoch}:{}-{}", self.version, self.release),
        }
    }

    /// `src` for source packages.
    pub fn file_arch(&self) -> &str {
        if self.source { "src" } else { &self.arch }
    }

    /// Without the epoch: `zfs-2.4.3-1.fc43.x86_64`.
    pub fn nevra(&self) -> String {
        format!("{}-{}-{}.{}", self.name, self.version, self.release, self.file_arch())
    }

    /// As written by rpmbuild: `zfs-2.4.3-1.fc43.x86_64.rpm`.
    pub fn file_name(&self) -> String {
        format!("{}.rpm", self.nevra())
    }

    pub fn path(&self) -> String {
        self.group().path(&self.file_name())
    }

    pub fn group(&self) -> PackageGroup {
        PackageGroup::of(&self.name, self.source)
    }

    pub fn part(&self) -> LayerKind {
        LayerKind::of(&self.name)
    }

    pub fn requires<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Capability> {
        self.requires.iter().filter(move |capability| capability.name == name)
    }

    pub fn provides<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Capability> {
        self.provides.iter().filter(move |capability| capability.name == name)
    }

    /// The paths of kernel modules, without debug information.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str).filter(|path| Self::is_module(path))
    }

    /// Compressed or not. Debug information is at `/usr/lib/debug/lib/modules/….ko.debug` and does not count.
    pub fn is_module(path: &str) -> bool {
        let below = path.strip_prefix("/usr").unwrap_or(path).starts_with("/lib/modules/");
        below && [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().any(|end| path.ends_with(end))
    }
}

/// In the form of `rpm --requires`: `kernel-uname-r = 6.17.8`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    pub name: String,
    pub version: Option<(VersionOperator, String)>,
}

impl Capability {
    /// The version, if the operator is [`VersionOperator::Equal`].
    pub fn exactly(&self) -> Option<&str> {
        match &self.version {
            Some((VersionOperator::Equal, version)) => Some(version),
            _ => None,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            None => f.write_str(&self.name),
            Some((comparison, version)) => write!(f, "{} {} {version}", self.name, comparison.as_str()),
        }
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VersionOperator {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

impl VersionOperator {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_kernel_loads_is_a_module() {
        for (path, expected) in [
            ("/lib/modules/6.1.2-3.fc43.x86_64/extra/zfs/zfs.ko", true),
            ("/usr/lib/modules/6.1.2-3.fc43.x86_64/extra/zfs/spl.ko.xz", true),
            ("/lib/modules/6.1.2-3.fc43.x86_64/extra/zfs/spl.ko.zst", true),
            ("/usr/lib/debug/lib/modules/6.1.2-3.fc43.x86_64/extra/zfs/zfs.ko.debug", false),
            ("/usr/lib/debug/lib/modules/6.1.2-3.fc43.x86_64/extra/zfs/zfs.ko", false),
            ("/lib/modules/6.1.2-3.fc43.x86_64/extra/zfs", false),
        ] {
            assert_eq!(Package::is_module(path), expected, "{path}");
        }
    }

    #[test]
    fn capabilities_are_written_as_rpm_writes_them() {
        let capability = |version| Capability { name: "zfs-kmod".into(), version };
        assert_eq!(capability(None).to_string(), "zfs-kmod");
        let exact = capability(Some((VersionOperator::Equal, "2.4.3".into())));
        assert_eq!((exact.to_string().as_str(), exact.exactly()), ("zfs-kmod = 2.4.3", Some("2.4.3")));
        let least = capability(Some((VersionOperator::GreaterOrEqual, "2.4.3".into())));
        assert_eq!((least.to_string().as_str(), least.exactly()), ("zfs-kmod >= 2.4.3", None));
    }
}
