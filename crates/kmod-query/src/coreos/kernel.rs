use std::fmt;

use jiff::Timestamp;
use kmod_compat::{Arch, FedoraVersion, KernelRelease};
use miette::Diagnostic;

use super::{CoreOsRelease, CoreOsVersion, Stream};
use crate::document::{self, Node};
use crate::image::SourceImage;
use crate::{FormatError, PinnedImage, RequestInfo};

/// In the order in which they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelSource {
    /// `ostree.linux` of the build's `commitmeta.json`.
    CommitMeta,
    /// The package list in the same document.
    PackageList,
    /// The build's package lock.
    Lockfile,
    /// The image's label `ostree.linux`.
    ImageLabel,
    /// The RPM database in the image, read in a container by kmod-builder.
    RpmDatabase,
}

impl fmt::Display for KernelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CommitMeta => "commitmeta.json",
            Self::PackageList => "package list",
            Self::Lockfile => "lockfile",
            Self::ImageLabel => "image label",
            Self::RpmDatabase => "rpm database",
        })
    }
}

/// Parses a build's `commitmeta.json`: `ostree.linux`, else the package list.
///
/// The format is written by coreos-assembler (`generate_lockfile_and_commitmeta` in `src/cmd-import`)
/// and, for older builds, by rpm-ostree.
pub fn parse_commit_meta(
    text: &str,
    arch: Arch,
) -> Result<Option<(KernelRelease, KernelSource)>, FormatError> {
    let document = document::parse(text)?;
    let root = Node::root(&document);
    // coreos-assembler writes an empty text if no package is called `kernel`.
    if let Some(linux) = root.optional("ostree.linux").filter(|linux| linux.text() != Ok("")) {
        return Ok(Some((kernel_for(&linux, linux.text()?, arch)?, KernelSource::CommitMeta)));
    }
    let Some(packages) = root.optional("rpmostree.rpmdb.pkglist") else { return Ok(None) };
    let mut found = None;
    for package in packages.items()? {
        let fields: Vec<_> = package.items()?.collect();
        // The epoch is not part of `uname -r`.
        let [name, _epoch, version, release, of] = fields.as_slice() else {
            return Err(package.invalid("expected name, epoch, version, release and architecture"));
        };
        let name = name.text()?;
        if is_kernel(name) && (found.is_none() || name == "kernel-core") {
            let text = format!("{}-{}.{}", version.text()?, release.text()?, of.text()?);
            found = Some(kernel_for(&package, &text, arch)?);
        }
    }
    Ok(found.map(|kernel| (kernel, KernelSource::PackageList)))
}

/// Parses a build's `manifest-lock.generated.ARCH.json`: `packages.kernel-core.evra`, else `packages.kernel.evra`.
pub fn parse_lockfile(text: &str, arch: Arch) -> Result<Option<KernelRelease>, FormatError> {
    let document = document::parse(text)?;
    let packages = Node::root(&document).required("packages")?;
    let Some(package) = packages.optional("kernel-core").or_else(|| packages.optional("kernel")) else {
        return Ok(None);
    };
    let evra = package.required("evra")?;
    let text = evra.text()?;
    let without_epoch = text.split_once(':').map_or(text, |(_, rest)| rest);
    kernel_for(&evra, without_epoch, arch).map(Some)
}

fn is_kernel(name: &str) -> bool {
    // `kernel` is a metapackage.
    matches!(name, "kernel" | "kernel-core")
}

fn kernel_for(node: &Node<'_>, text: &str, arch: Arch) -> Result<KernelRelease, FormatError> {
    let kernel: KernelRelease = text.parse().map_err(|error| node.invalid(error))?;
    if kernel.arch() == arch {
        Ok(kernel)
    } else {
        Err(node.invalid(format!("`{kernel}` is not for {arch}")))
    }
}

/// No document names the kernel of an image.
///
/// `rpm -q kernel-core` in a container of [`Self::image`] tells it, for [`Self::release`] or [`Self::source_image`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error("nothing names the kernel of {image}; looked in{}", crate::error::list(tried))]
#[diagnostic(help(
    "the RPM database in the image knows it: `rpm -q kernel-core` in a container of that digest"
))]
pub struct KernelUnknown {
    pub image: PinnedImage,
    pub arch: Arch,
    pub tried: Vec<RequestInfo>,
    pub(crate) release: Option<(Stream, CoreOsVersion)>,
    pub(crate) version: Option<String>,
    pub(crate) created: Option<Timestamp>,
}

impl KernelUnknown {
    /// The release with the kernel from the RPM database of its image. `None` if the image is not from a stream, or
    /// if the kernel is for another architecture.
    pub fn release(self, kernel: KernelRelease) -> Option<CoreOsRelease> {
        let (stream, version) = self.release.filter(|_| kernel.arch() == self.arch)?;
        let (fedora, kernel_source) = (version.fedora(), KernelSource::RpmDatabase);
        let Self { image, arch, .. } = self;
        Some(CoreOsRelease { stream, version, arch, fedora, image, kernel, kernel_source })
    }

    /// The image with the kernel from its RPM database. `None` if the kernel is for another architecture.
    pub fn source_image(self, kernel: KernelRelease) -> Option<SourceImage> {
        if kernel.arch() != self.arch {
            return None;
        }
        let fedora = fedora_of(&kernel, self.version.as_deref());
        let kernel_source = KernelSource::RpmDatabase;
        let Self { image, arch, version, created, .. } = self;
        Some(SourceImage { image, arch, fedora, version, created, kernel, kernel_source })
    }
}

/// From the kernel release, else from the prefix of the image's version.
pub(crate) fn fedora_of(kernel: &KernelRelease, version: Option<&str>) -> Option<FedoraVersion> {
    kernel.fedora().or_else(|| version?.split(['.', '-']).next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT_META: &str = include_str!("../../tests/fixtures/coreos-commitmeta.json");
    const LOCKFILE: &str = include_str!("../../tests/fixtures/coreos-manifest-lock.json");

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, KernelSource)>) {
        let found = parse_commit_meta(text, Arch::X86_64).unwrap();
        let found = found.map(|(kernel, source)| (kernel.to_string(), source));
        assert_eq!(found, expected.map(|(kernel, source)| (kernel.to_owned(), source)));
    }

    #[test]
    fn the_commit_metadata_names_the_kernel_twice() {
        let expected = "6.10.12-200.fc40.x86_64";
        check(COMMIT_META, Some((expected, KernelSource::CommitMeta)));
        let without = COMMIT_META.replace("ostree.linux", "ostree.other");
        check(&without, Some((expected, KernelSource::PackageList)));
        let kernel_only = without.replace("\"kernel-core\"", "\"kernel-modules-core\"");
        check(&kernel_only, Some((expected, KernelSource::PackageList)));
        let neither = kernel_only.replace("\"kernel\"", "\"colonel\"");
        check(&neither, None);
        check("{}", None);
        check(r#"{"ostree.linux": null}"#, None);
        check(r#"{"ostree.linux": ""}"#, None);
        let empty =
            COMMIT_META.replace(&format!("\"ostree.linux\": \"{expected}\""), "\"ostree.linux\": \"\"");
        assert_ne!(empty, COMMIT_META);
        check(&empty, Some((expected, KernelSource::PackageList)));
    }

    #[test]
    fn the_epoch_is_not_part_of_the_release() {
        let text = r#"{"rpmostree.rpmdb.pkglist": [["kernel-core", "1", "6.9.7", "200.fc40", "x86_64"]]}"#;
        check(text, Some(("6.9.7-200.fc40.x86_64", KernelSource::PackageList)));
        let lock = r#"{"packages": {"kernel": {"evra": "1:6.9.7-200.fc40.x86_64"}}}"#;
        let kernel = parse_lockfile(lock, Arch::X86_64).unwrap().unwrap();
        assert_eq!(kernel.to_string(), "6.9.7-200.fc40.x86_64");
    }

    #[test]
    fn a_kernel_of_another_architecture_is_refused() {
        let error = parse_commit_meta(COMMIT_META, Arch::Aarch64).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the field `ostree.linux` is invalid: `6.10.12-200.fc40.x86_64` is not for aarch64"
        );
    }

    #[test]
    fn the_lockfile_names_the_kernel() {
        let kernel = parse_lockfile(LOCKFILE, Arch::X86_64).unwrap().unwrap();
        assert_eq!(kernel.to_string(), "6.10.12-200.fc40.x86_64");
        assert_eq!(parse_lockfile(r#"{"packages": {}}"#, Arch::X86_64), Ok(None));
        let missing = FormatError::Missing { field: "packages".to_owned() };
        assert_eq!(parse_lockfile("{}", Arch::X86_64), Err(missing));
    }

    #[test]
    fn fedora_is_in_the_kernel_or_in_the_version() {
        let named: KernelRelease = "6.9.7-200.fc40.x86_64".parse().unwrap();
        let nameless: KernelRelease = "6.9.7-1.lab.x86_64".parse().unwrap();
        assert_eq!(fedora_of(&named, Some("43.2026")).map(FedoraVersion::number), Some(40));
        assert_eq!(fedora_of(&nameless, Some("43.20260301.0")).map(FedoraVersion::number), Some(43));
        assert_eq!(fedora_of(&nameless, Some("latest-43")), None);
    }
}
