use std::fmt;

use serde::{Serialize, Serializer};

use super::{LayerKind, PackageGroup};
use crate::model::Digest;

/// What the header of an RPM says, and what its file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Package {
    /// `zfs`, `kmod-zfs-6.17.8-300.fc43.x86_64`, …
    pub name: String,
    pub epoch: Option<u32>,
    /// The upstream version (`2.4.3`).
    pub version: String,
    /// The packager's release (`1.fc43`).
    pub release: String,
    /// As the header has it: a source package names the architecture on which it was made.
    pub arch: String,
    pub source: bool,
    /// The size of the file, in bytes.
    pub size: u64,
    /// The digest of the file.
    pub digest: Digest,
    /// The sum of the sizes of the packaged files, in bytes.
    pub installed_size: u64,
    pub summary: String,
    /// As the package words it (`CDDL`), which need not be an SPDX expression.
    pub license: String,
    pub url: Option<String>,
    /// The file name of the source package of which this one was built; source packages have none.
    pub source_rpm: Option<String>,
    /// Seconds since 1970.
    pub build_time: Option<u64>,
    pub provides: Vec<Capability>,
    pub requires: Vec<Capability>,
    #[serde(skip)]
    pub scriptlets: Vec<Scriptlet>,
    /// The absolute paths of what it installs.
    #[serde(skip)]
    pub files: Vec<String>,
}

impl Package {
    /// Version and release, after the epoch where there is one: `2.4.3-1.fc43`.
    pub fn evr(&self) -> String {
        match self.epoch {
            None => format!("{}-{}", self.version, self.release),
            Some(epoch) => format!("{epoch}:{}-{}", self.version, self.release),
        }
    }

    /// The architecture as file names have it: `src` for source packages.
    pub fn file_arch(&self) -> &str {
        if self.source { "src" } else { &self.arch }
    }

    /// Name, version, release and architecture: `zfs-2.4.3-1.fc43.x86_64`. The epoch is left out, as in file names.
    pub fn nevra(&self) -> String {
        format!("{}-{}-{}.{}", self.name, self.version, self.release, self.file_arch())
    }

    /// The name under which rpmbuild writes the package: `zfs-2.4.3-1.fc43.x86_64.rpm`.
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

    pub fn requires(&self, name: &str) -> impl Iterator<Item = &Capability> {
        let name = name.to_owned();
        self.requires.iter().filter(move |capability| capability.name == name)
    }

    pub fn provides(&self, name: &str) -> impl Iterator<Item = &Capability> {
        let name = name.to_owned();
        self.provides.iter().filter(move |capability| capability.name == name)
    }

    /// The kernel modules among its files: those from which the kernel loads, not what debuggers read.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str).filter(|path| Self::is_module(path))
    }

    /// Whether a path is that of a kernel module, compressed or not.
    ///
    /// The debug information of a module lies below `/usr/lib/debug/lib/modules` and ends with `.ko.debug`.
    pub fn is_module(path: &str) -> bool {
        let below = path.strip_prefix("/usr").unwrap_or(path).starts_with("/lib/modules/");
        below && [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().any(|end| path.ends_with(end))
    }
}

/// Something that a package provides or requires, written as `rpm --requires` does: `kernel-uname-r = 6.17.8`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    /// A package's name, a library's, a file, or a word of the packager's.
    pub name: String,
    /// The version and how it is to be compared, where one is named.
    pub version: Option<(VersionOperator, String)>,
}

impl Capability {
    /// The version, if the capability is of exactly one.
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
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scriptlet {
    pub kind: ScriptletKind,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptletKind {
    /// `%pre`
    BeforeInstall,
    /// `%post`
    AfterInstall,
    /// `%preun`
    BeforeRemoval,
    /// `%postun`
    AfterRemoval,
    /// `%posttrans`
    AfterTransaction,
}

impl ScriptletKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeInstall => "%pre",
            Self::AfterInstall => "%post",
            Self::BeforeRemoval => "%preun",
            Self::AfterRemoval => "%postun",
            Self::AfterTransaction => "%posttrans",
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
