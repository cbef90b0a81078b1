//! The RPM contract: the checks that an image must pass before it is published.
//!
//! `io` reads the image (an [`Inspection`]), the checks evaluate it, and the [`VerificationReport`] has every result.
//! Only a report without failures gives a [`VerifiedImage`]. A new check is a function in `image` or `packages`, and a
//! row in [`IMAGE_CHECKS`] or [`PACKAGE_CHECKS`].

mod image;
mod packages;
mod report;

use kmod_compat::Arch;

use super::Target;
use super::image::{DigestRef, Tag};
use super::oci::{Config, Manifest};
use super::packages::Package;

pub use report::{CheckResult, CheckStatus, VerificationReport, VerifiedImage};

#[derive(Clone, Debug)]
pub struct Inspection {
    pub image: DigestRef,
    pub tag: Option<Tag>,
    /// The error is a sentence.
    pub manifest: Result<Manifest, String>,
    pub config: Result<Config, BlobFault>,
    /// One result per layer; empty if the manifest or the configuration cannot be read.
    pub layers: Vec<Result<(), BlobFault>>,
    pub packages: Vec<ImageRpm>,
}

/// Each has a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobFault {
    /// The digest of the bytes is wrong.
    Changed(String),
    /// The digest is right, but the content is invalid.
    Content(String),
    Entry(String),
}

impl BlobFault {
    pub fn reason(&self) -> &str {
        let (Self::Changed(reason) | Self::Content(reason) | Self::Entry(reason)) = self;
        reason
    }
}

#[derive(Clone, Debug)]
pub struct ImageRpm {
    /// In the image.
    pub path: String,
    pub layer: usize,
    /// The error is a sentence.
    pub content: Result<(Package, Vec<PackagedModule>), String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagedModule {
    /// Absolute.
    pub path: String,
    /// `None` for unsupported architectures.
    pub arch: Option<Arch>,
    /// The kernel compares it with its own before loading the module.
    pub vermagic: Option<String>,
}

struct CheckSubject<'a> {
    inspection: &'a Inspection,
    target: Target,
    packages: Vec<&'a (Package, Vec<PackagedModule>)>,
}

impl CheckSubject<'_> {
    fn package(&self, name: &str) -> Option<&Package> {
        self.packages
            .iter()
            .map(|(package, _)| package)
            .find(|package| package.name == name && !package.source)
    }

    /// The package with the modules. Checks that depend on it are unknown without it.
    fn kmod(&self) -> Result<&Package, String> {
        let name = format!("kmod-zfs-{}", self.target.kernel);
        self.package(&name).ok_or_else(|| format!("the image has no package {name}"))
    }
}

/// Sentences; none if the check passed. The error says why the check could not be made.
type Failures = Result<Vec<String>, String>;

/// Id, text and function.
type ContractCheck = (&'static str, &'static str, fn(&CheckSubject<'_>) -> Failures);

/// In display order: earlier failures explain later ones.
const IMAGE_CHECKS: [ContractCheck; 4] = [
    ("blobs-unchanged", "blobs are unchanged", |subject| Ok(image::blobs(subject))),
    ("layers-match-configuration", "layers are what the configuration says", image::layers),
    ("layers-hold-only-rpms", "layers hold RPMs and nothing else", image::entries),
    ("labels-match", "labels match", image::labels),
];

/// Unknown if a layer could not be read.
const PACKAGE_CHECKS: [ContractCheck; 12] = [
    ("rpms-whole", "RPMs are whole", |subject| Ok(packages::whole(subject))),
    ("no-kernel-packages", "no kernel is among the packages", |subject| Ok(packages::no_kernel(subject))),
    ("expected-packages-present", "every expected package is there", packages::complete),
    ("no-other-packages", "no other package is there", |subject| Ok(packages::nothing_else(subject))),
    ("package-names-match", "packages are named for the image", |subject| Ok(packages::names(subject))),
    ("package-architecture", "packages are for the architecture", |subject| {
        Ok(packages::architecture(subject))
    }),
    ("kmod-requires-kernel", "kmod requires its kernel", packages::kernel_requirement),
    ("kmod-runs-depmod", "kmod runs depmod for its kernel", packages::depmod),
    ("kmod-provides-zfs-kmod", "kmod provides what the userland needs", packages::kmod_provides),
    ("userland-requires-kmod", "userland requires its kmod", packages::userland_requirement),
    ("modules-in-place", "modules are in their place", packages::modules),
    ("modules-built-for-kernel", "modules are built for the kernel", packages::vermagic),
];

/// The target is the given one, else that of the tag, else that of the labels.
pub fn verify(inspection: &Inspection, target: Option<&Target>) -> VerificationReport {
    let target = target
        .cloned()
        .or_else(|| inspection.tag.as_ref().and_then(Target::from_tag))
        .or_else(|| image::labelled_target(inspection));
    let Some(target) = target else {
        let why = match (&inspection.manifest, &inspection.config) {
            (Err(reason), _) => reason.clone(),
            (_, Err(fault)) => fault.reason().to_owned(),
            _ => "neither its tag nor its labels name a target".to_owned(),
        };
        let unknown = "the target of the image is unknown";
        let mut statuses = std::iter::once(CheckStatus::Failed(why));
        let results = IMAGE_CHECKS.iter().chain(&PACKAGE_CHECKS).map(|&(id, text, _)| {
            let status = statuses.next().unwrap_or_else(|| CheckStatus::Unknown(unknown.to_owned()));
            CheckResult::new((id, text), status)
        });
        return VerificationReport::new(inspection.image.clone(), None, results.collect());
    };
    let packages = inspection.packages.iter().filter_map(|found| found.content.as_ref().ok()).collect();
    let subject = CheckSubject { inspection, target: target.clone(), packages };
    let readable = image::all_readable(inspection);
    let of_image = IMAGE_CHECKS.iter().map(|&(id, text, run)| (id, text, run(&subject)));
    let of_packages = PACKAGE_CHECKS
        .iter()
        .map(|&(id, text, run)| (id, text, readable.clone().and_then(|()| run(&subject))));
    let results = of_image.chain(of_packages).map(|(id, text, failures)| {
        CheckResult::new((id, text), failures.map_or_else(CheckStatus::Unknown, CheckStatus::of))
    });
    VerificationReport::new(inspection.image.clone(), Some(target), results.collect())
}
