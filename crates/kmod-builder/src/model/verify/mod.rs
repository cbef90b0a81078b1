//! The RPM contract: the checks that an image must pass before it is published.
//!
//! `io` reads the image (an [`Inspection`]), the checks evaluate it, and the [`VerificationReport`] has every result.
//! Only a report without failures gives a [`VerifiedImage`]. A new check is a function in `image` or `packages` and a
//! row in `CHECKS`.

mod image;
mod packages;
mod report;

use kmod_compat::Arch;

use super::Target;
use super::image::{DigestRef, Tag};
use super::oci::{Config, Manifest};
use super::packages::Package;

pub(in crate::model) use report::CheckName;
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

    fn kmod_name(&self) -> String {
        format!("kmod-zfs-{}", self.target.kernel)
    }

    /// The package with the modules. Checks that depend on it are unknown without it.
    fn kmod(&self) -> Result<&Package, CheckStatus> {
        let name = self.kmod_name();
        self.package(&name).ok_or_else(|| CheckStatus::Unknown(format!("the image has no package {name}")))
    }
}

struct ContractCheck {
    name: CheckName,
    /// If a layer could not be read, such checks are unknown.
    needs_packages: bool,
    run: fn(&CheckSubject<'_>) -> CheckStatus,
}

const fn of_image(
    id: &'static str,
    text: &'static str,
    run: fn(&CheckSubject<'_>) -> CheckStatus,
) -> ContractCheck {
    ContractCheck { name: (id, text), needs_packages: false, run }
}

const fn of_packages(
    id: &'static str,
    text: &'static str,
    run: fn(&CheckSubject<'_>) -> CheckStatus,
) -> ContractCheck {
    ContractCheck { name: (id, text), needs_packages: true, run }
}

/// In display order: earlier failures explain later ones.
const CHECKS: [ContractCheck; 16] = [
    of_image("blobs-unchanged", "blobs are unchanged", image::blobs),
    of_image("layers-match-configuration", "layers are what the configuration says", image::layers),
    of_image("layers-hold-only-rpms", "layers hold RPMs and nothing else", image::entries),
    of_image("labels-match", "labels match", image::labels),
    of_packages("rpms-whole", "RPMs are whole", packages::whole),
    of_packages("no-kernel-packages", "no kernel is among the packages", packages::no_kernel),
    of_packages("expected-packages-present", "every expected package is there", packages::complete),
    of_packages("no-other-packages", "no other package is there", packages::nothing_else),
    of_packages("package-names-match", "packages are named for the image", packages::names),
    of_packages("package-architecture", "packages are for the architecture", packages::architecture),
    of_packages("kmod-requires-kernel", "kmod requires its kernel", packages::kernel_requirement),
    of_packages("kmod-runs-depmod", "kmod runs depmod for its kernel", packages::depmod),
    of_packages("kmod-provides-zfs-kmod", "kmod provides what the userland needs", packages::kmod_provides),
    of_packages("userland-requires-kmod", "userland requires its kmod", packages::userland_requirement),
    of_packages("modules-in-place", "modules are in their place", packages::modules),
    of_packages("modules-built-for-kernel", "modules are built for the kernel", packages::vermagic),
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
        let unknown = || CheckStatus::Unknown("the target of the image is unknown".to_owned());
        let (first, others) = CHECKS.split_at(1);
        let results = first
            .iter()
            .map(|check| CheckResult::new(check.name, CheckStatus::Failed(why.clone())))
            .chain(others.iter().map(|check| CheckResult::new(check.name, unknown())));
        return VerificationReport::new(inspection.image.clone(), None, results.collect());
    };
    let packages = inspection.packages.iter().filter_map(|found| found.content.as_ref().ok()).collect();
    let subject = CheckSubject { inspection, target: target.clone(), packages };
    let readable = image::all_readable(inspection);
    let results = CHECKS.iter().map(|check| {
        let outcome = match &readable {
            Err(why) if check.needs_packages => CheckStatus::Unknown(why.clone()),
            _ => (check.run)(&subject),
        };
        CheckResult::new(check.name, outcome)
    });
    VerificationReport::new(inspection.image.clone(), Some(target), results.collect())
}
