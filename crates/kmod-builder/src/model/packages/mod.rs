//! The RPMs of an image: required packages and their directories.

mod expected;
mod package;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use expected::{ExpectedPackages, so_version};
pub use package::{Capability, Package, VersionOperator};

/// Each is a layer and a build of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    /// Programs and libraries, independent of the kernel: the lower layer.
    Userland,
    /// The modules for exactly one kernel: the upper layer.
    Kmod,
}

impl LayerKind {
    pub const ALL: [Self; 2] = [Self::Userland, Self::Kmod];

    /// The layer of a package, by its name.
    pub fn of(name: &str) -> Self {
        if name.starts_with("kmod-zfs") || name.starts_with("zfs-kmod") { Self::Kmod } else { Self::Userland }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Userland => "userland",
            Self::Kmod => "kmod",
        }
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// By use; each group has a directory in the image.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum PackageGroup {
    /// What a host needs to use its pools
    Main,
    /// What other programs are built against
    Devel,
    /// Symbols and sources for debuggers
    Debug,
    /// Dracut's module, the test suite, the Python binding
    Other,
    /// Source packages
    Src,
}

impl PackageGroup {
    /// In display order.
    pub const ALL: [Self; 5] = [Self::Main, Self::Devel, Self::Debug, Self::Other, Self::Src];

    pub fn of(name: &str, is_source: bool) -> Self {
        // The kernel release is part of some names, so suffixes are checked before prefixes.
        if is_source {
            Self::Src
        } else if name.ends_with("-debuginfo") || name.ends_with("-debugsource") {
            Self::Debug
        } else if name.starts_with("kmod-zfs-devel") || name.ends_with("-devel") {
            Self::Devel
        } else if name == "zfs"
            || ["kmod-zfs-", "libnvpair", "libuutil", "libzfs", "libzpool"]
                .iter()
                .any(|stem| name.starts_with(stem))
        {
            Self::Main
        } else {
            Self::Other
        }
    }

    /// In the image, without slashes; empty for the main packages, which are in the root.
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Devel => "devel",
            Self::Debug => "debug",
            Self::Other => "other",
            Self::Src => "src",
        }
    }

    /// The inverse of [`PackageGroup::as_str`].
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.as_str() == name)
    }

    pub fn of_directory(directory: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.directory() == directory)
    }

    /// Relative to the root of the image.
    pub fn path(self, file_name: &str) -> String {
        match self.directory() {
            "" => file_name.to_owned(),
            directory => format!("{directory}/{file_name}"),
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            other => other.directory(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_has_its_place() {
        for (name, part, group) in [
            ("zfs", LayerKind::Userland, PackageGroup::Main),
            ("libzfs7", LayerKind::Userland, PackageGroup::Main),
            ("libzfs7-devel", LayerKind::Userland, PackageGroup::Devel),
            ("libzfs7-debuginfo", LayerKind::Userland, PackageGroup::Debug),
            ("zfs-debugsource", LayerKind::Userland, PackageGroup::Debug),
            ("zfs-dracut", LayerKind::Userland, PackageGroup::Other),
            ("zfs-test", LayerKind::Userland, PackageGroup::Other),
            ("python3-pyzfs", LayerKind::Userland, PackageGroup::Other),
            ("kmod-zfs-6.17.8-300.fc43.x86_64", LayerKind::Kmod, PackageGroup::Main),
            ("kmod-zfs-6.17.8-300.fc43.x86_64-debuginfo", LayerKind::Kmod, PackageGroup::Debug),
            ("kmod-zfs-devel", LayerKind::Kmod, PackageGroup::Devel),
            ("kmod-zfs-devel-6.17.8-300.fc43.x86_64", LayerKind::Kmod, PackageGroup::Devel),
            ("zfs-kmod-debugsource", LayerKind::Kmod, PackageGroup::Debug),
        ] {
            assert_eq!((LayerKind::of(name), PackageGroup::of(name, false)), (part, group), "{name}");
        }
        assert_eq!(PackageGroup::of("zfs-kmod", true).path("zfs-kmod-1.src.rpm"), "src/zfs-kmod-1.src.rpm");
        assert_eq!(PackageGroup::Main.path("zfs.rpm"), "zfs.rpm");
    }

    #[test]
    fn groups_are_named_as_their_directories() {
        for group in PackageGroup::ALL {
            assert_eq!(PackageGroup::named(group.as_str()), Some(group));
            assert_eq!(PackageGroup::of_directory(group.directory()), Some(group));
        }
        assert_eq!(PackageGroup::named(""), None);
    }
}
