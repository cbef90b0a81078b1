use kmod_compat::{ZfsLine, ZfsVersion};

use crate::model::Target;

/// The packages of an image for a target.
///
/// Named as in OpenZFS's generic spec files for Fedora (`rpm/generic/zfs.spec.in`, `rpm/generic/zfs-kmod.spec.in` and
/// `scripts/kmodtool`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedPackages {
    /// Names, and whether the source package is meant.
    pub required: Vec<(String, bool)>,
    /// Binary packages that depend on what the builder has installed.
    optional: Vec<String>,
}

/// The so-version in the package names of `libzfs` and `libzpool`; `None` for unknown lines.
pub fn so_version(line: ZfsLine) -> Option<u32> {
    const KNOWN: [(&str, u32); 4] = [("2.1", 5), ("2.2", 5), ("2.3", 6), ("2.4", 7)];
    let line = line.to_string();
    KNOWN.iter().find_map(|&(known, number)| (known == line).then_some(number))
}

impl ExpectedPackages {
    /// `found` are the package names in an image, which tell the so-version of unknown lines.
    pub fn new<'a>(target: &Target, found: impl IntoIterator<Item = &'a str>) -> Self {
        let number = library_number(target.zfs, found);
        let kernel = &target.kernel;
        let binary = format!(
            "zfs libnvpair3 libuutil3 libzfs{number} libzpool{number} libzfs{number}-devel zfs-test zfs-dracut \
             python3-pyzfs kmod-zfs-{kernel} kmod-zfs-devel kmod-zfs-devel-{kernel}"
        );
        let names = binary.split(' ').chain(["pam_zfs_key", "zfs-kmod"]);
        let debug = names.flat_map(|name| [format!("{name}-debuginfo"), format!("{name}-debugsource")]);
        // Built if PAM's headers are installed.
        let optional = debug.chain(["pam_zfs_key".to_owned()]).collect();
        let sources = ["zfs", "zfs-kmod"].map(|name| (name.to_owned(), true));
        let required = binary.split(' ').map(|name| (name.to_owned(), false)).chain(sources).collect();
        Self { required, optional }
    }

    pub fn allows(&self, name: &str, is_source: bool) -> bool {
        self.required.iter().any(|(required, source)| required == name && *source == is_source)
            || (!is_source && self.optional.iter().any(|optional| optional == name))
    }
}

fn library_number<'a>(zfs: ZfsVersion, found: impl IntoIterator<Item = &'a str>) -> String {
    if let Some(number) = so_version(zfs.line()) {
        return number.to_string();
    }
    let number = found.into_iter().find_map(|name| {
        let number = name.strip_prefix("libzfs")?;
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| number.to_owned())
    });
    number.unwrap_or_else(|| "N".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(zfs: &str) -> Target {
        Target { zfs: zfs.parse().unwrap(), kernel: "6.17.8-300.fc43.x86_64".parse().unwrap() }
    }

    #[test]
    fn libraries_are_numbered_by_line() {
        for (zfs, library) in
            [("2.1.11", "libzfs5"), ("2.2.8", "libzfs5"), ("2.3.2", "libzfs6"), ("2.4.3", "libzfs7")]
        {
            assert!(ExpectedPackages::new(&target(zfs), []).allows(library, false), "{zfs}");
            assert!(!ExpectedPackages::new(&target(zfs), ["libzfs8"]).allows("libzfs8", false), "{zfs}");
        }
        assert!(ExpectedPackages::new(&target("2.5.0"), ["libzfs8", "libzpool8"]).allows("libzpool8", false));
    }

    #[test]
    fn rejects_packages_of_other_builds() {
        let expected = ExpectedPackages::new(&target("2.4.3"), []);
        for name in ["zfs-dkms", "zfs-initramfs", "kernel-core", "kmod-zfs-6.17.9-300.fc43.x86_64"] {
            assert!(!expected.allows(name, false), "{name}");
        }
        for name in ["pam_zfs_key", "libzfs7-debuginfo", "kmod-zfs-6.17.8-300.fc43.x86_64-debuginfo"] {
            assert!(expected.allows(name, false), "{name}");
        }
        assert!(expected.allows("zfs", true) && !expected.allows("libzfs7", true));
    }
}
