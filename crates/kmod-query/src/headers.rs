//! The exact packages of a kernel: which of upstream's places still has them.
//!
//! Fedora's update repositories keep only the newest kernel, so an older one is looked for in archives.
//! The layouts of the places, each with its source:
//!
//! * Fedora: `updates/N/Everything/ARCH/Packages/k/`, `releases/N/Everything/ARCH/os/Packages/k/`, and
//!   `development/N/…` for a release that is not out yet (stream `next` may already be on it);
//! * updates-archive: all packages in one folder `N/ARCH/`, missing ones answered with 403
//!   ([okd-project/okd#1667](https://github.com/okd-project/okd/issues/1667)); no baseline packages;
//! * coreos-pool: `ARCH/Packages/k/`, as fedora-coreos-config's `check-new-rpm-urls.py` builds its addresses;
//! * the build system: `kernel/VERSION/RELEASE/ARCH/`; it collects garbage after a while.

use std::fmt;

use futures_util::{StreamExt, stream};
use kmod_compat::{FedoraVersion, KernelRelease};

use crate::endpoints::join;
use crate::{Asked, Endpoints, Http, QueryError};

/// A place where upstream keeps packages, in the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Fedora's updates.
    Updates,
    /// Fedora as it was released.
    Releases,
    /// A Fedora that is not released yet.
    Development,
    /// Everything that ever was an update.
    UpdatesArchive,
    /// What Fedora CoreOS is made of.
    CoreOsPool,
    /// The build system's own store.
    Koji,
}

impl Place {
    /// Every place, the preferred one first.
    pub const ALL: [Self; 6] = [
        Self::Updates,
        Self::Releases,
        Self::Development,
        Self::UpdatesArchive,
        Self::CoreOsPool,
        Self::Koji,
    ];

    /// Where the package of a kernel would be.
    fn url(self, endpoints: &Endpoints, kernel: &KernelRelease, fedora: FedoraVersion, file: &str) -> String {
        let arch = kernel.arch();
        match self {
            Self::Updates => {
                join(&endpoints.fedora, &format!("updates/{fedora}/Everything/{arch}/Packages/k/{file}"))
            }
            Self::Releases => {
                join(&endpoints.fedora, &format!("releases/{fedora}/Everything/{arch}/os/Packages/k/{file}"))
            }
            Self::Development => join(
                &endpoints.fedora,
                &format!("development/{fedora}/Everything/{arch}/os/Packages/k/{file}"),
            ),
            Self::UpdatesArchive => join(&endpoints.updates_archive, &format!("{fedora}/{arch}/{file}")),
            Self::CoreOsPool => join(&endpoints.coreos_pool, &format!("{arch}/Packages/k/{file}")),
            Self::Koji => {
                let (version, release) = (kernel.version(), kernel.release());
                join(&endpoints.koji, &format!("kernel/{version}/{release}/{arch}/{file}"))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Updates => "Fedora updates",
            Self::Releases => "Fedora releases",
            Self::Development => "Fedora development",
            Self::UpdatesArchive => "updates archive",
            Self::CoreOsPool => "CoreOS pool",
            Self::Koji => "build system",
        })
    }
}

/// One of the packages into which Fedora divides a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KernelPackage {
    /// The headers, which modules are built with: `kernel-devel`.
    Devel,
    /// The kernel itself: `kernel-core`.
    Core,
    /// The modules that most machines need, among them virtual ones: `kernel-modules-core`.
    ModulesCore,
}

impl KernelPackage {
    /// What the package is called. Variants have their own: `kernel-debug-devel`.
    pub fn nevra(self, kernel: &KernelRelease) -> String {
        let part = match self {
            Self::Devel => "devel",
            Self::Core => "core",
            Self::ModulesCore => "modules-core",
        };
        let name = match kernel.variant() {
            Some(variant) => format!("kernel-{variant}-{part}"),
            None => format!("kernel-{part}"),
        };
        format!("{name}-{}-{}.{}", kernel.version(), kernel.release(), kernel.arch())
    }

    /// In an error's words.
    const fn described(self) -> &'static str {
        match self {
            Self::Devel => "the headers of the kernel",
            Self::Core => "the package of the kernel",
            Self::ModulesCore => "the modules of the kernel",
        }
    }
}

/// A package of one exact kernel, where it can be had.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct KernelRpm {
    /// Name, version, release and architecture: `kernel-devel-6.17.8-300.fc43.x86_64`.
    pub nevra: String,
    /// The file.
    pub url: String,
    /// The place that has it.
    pub place: Place,
}

/// An address that was asked in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The place.
    pub place: Place,
    /// The file that was asked for.
    pub url: String,
    /// What came back, in a few words.
    pub answer: String,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.answer, self.url)
    }
}

/// Every address where the package may be, the preferred one first.
pub fn addresses(
    endpoints: &Endpoints,
    package: KernelPackage,
    kernel: &KernelRelease,
    fedora: FedoraVersion,
) -> Vec<(Place, String)> {
    // A package is in the repositories of the Fedora it was built for.
    let fedora = kernel.fedora().unwrap_or(fedora);
    let file = format!("{}.rpm", package.nevra(kernel));
    Place::ALL.into_iter().map(|place| (place, place.url(endpoints, kernel, fedora, &file))).collect()
}

/// Finds the package by `HEAD` requests, which run at the same time; the order of [`Place::ALL`] decides.
///
/// `fedora` is used only if the kernel's release does not name one.
/// [`QueryError::KernelRpmGone`] if it is nowhere, [`QueryError::KernelRpmUncertain`] if some place
/// could not be asked.
pub async fn find(
    http: &Http,
    endpoints: &Endpoints,
    package: KernelPackage,
    kernel: &KernelRelease,
    fedora: FedoraVersion,
) -> Result<KernelRpm, QueryError> {
    let nevra = package.nevra(kernel);
    let addresses = addresses(endpoints, package, kernel, fedora);
    let requests = addresses.into_iter().map(|(place, url)| async move {
        let asked = Asked::new(&url, package.described());
        let answer = http.head(&url, &asked).await;
        (place, url, asked, answer)
    });
    // Yields in order, so that no slow place behind the first success is waited for.
    let mut answers = stream::iter(requests).buffered(Place::ALL.len());
    let (mut tried, mut gone) = (Vec::new(), true);
    while let Some((place, url, asked, answer)) = answers.next().await {
        let error = match answer {
            // A web page instead of a package: a mirror's friendly "not found".
            Ok(headers) if is_page(&headers) => QueryError::Html { asked },
            Ok(_) => return Ok(KernelRpm { nevra, url, place }),
            Err(error) => error,
        };
        gone &= is_gone(place, &error);
        // Without credentials, as in all errors.
        tried.push(Tried { place, url: Asked::new(&url, "").url, answer: in_short(&error) });
    }
    if gone {
        Err(QueryError::KernelRpmGone { nevra, tried })
    } else {
        Err(QueryError::KernelRpmUncertain { nevra, tried })
    }
}

fn is_page(headers: &reqwest::header::HeaderMap) -> bool {
    let content_type = headers.get(reqwest::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.contains("html"))
}

fn is_gone(place: Place, error: &QueryError) -> bool {
    match place {
        // An object store, which says 403 for what it does not have.
        Place::UpdatesArchive => error.is_missing_object(),
        _ => matches!(error, QueryError::NotFound { .. }),
    }
}

fn in_short(error: &QueryError) -> String {
    match error {
        QueryError::NotFound { .. } => "404".to_owned(),
        QueryError::Forbidden { .. } => "403".to_owned(),
        QueryError::Unauthorized { .. } => "401".to_owned(),
        QueryError::TooManyRequests { .. } => "429".to_owned(),
        QueryError::Status { status, .. } => status.to_string(),
        QueryError::Timeout { .. } => "no answer in time".to_owned(),
        QueryError::Html { .. } => "a web page".to_owned(),
        QueryError::Unreachable { reason, .. } | QueryError::InvalidUrl { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_in_order() {
        let kernel = "6.17.8-300.fc43.aarch64".parse().unwrap();
        let urls = addresses(&Endpoints::default(), KernelPackage::Devel, &kernel, "44".parse().unwrap());
        let urls: Vec<String> = urls.into_iter().map(|(place, url)| format!("{place}: {url}")).collect();
        insta::assert_snapshot!(urls.join("\n"), @"
        Fedora updates: https://dl.fedoraproject.org/pub/fedora/linux/updates/43/Everything/aarch64/Packages/k/kernel-devel-6.17.8-300.fc43.aarch64.rpm
        Fedora releases: https://dl.fedoraproject.org/pub/fedora/linux/releases/43/Everything/aarch64/os/Packages/k/kernel-devel-6.17.8-300.fc43.aarch64.rpm
        Fedora development: https://dl.fedoraproject.org/pub/fedora/linux/development/43/Everything/aarch64/os/Packages/k/kernel-devel-6.17.8-300.fc43.aarch64.rpm
        updates archive: https://fedoraproject-updates-archive.fedoraproject.org/fedora/43/aarch64/kernel-devel-6.17.8-300.fc43.aarch64.rpm
        CoreOS pool: https://kojipkgs.fedoraproject.org/repos-dist/coreos-pool/latest/aarch64/Packages/k/kernel-devel-6.17.8-300.fc43.aarch64.rpm
        build system: https://kojipkgs.fedoraproject.org/packages/kernel/6.17.8/300.fc43/aarch64/kernel-devel-6.17.8-300.fc43.aarch64.rpm
        ");
    }

    #[test]
    fn variants_have_packages_of_their_own() {
        use KernelPackage::{Core, Devel, ModulesCore};
        for (package, kernel, expected) in [
            (Devel, "6.17.8-300.fc43.x86_64+debug", "kernel-debug-devel-6.17.8-300.fc43.x86_64"),
            (Devel, "6.17.8-300.fc43.aarch64+64k-debug", "kernel-64k-debug-devel-6.17.8-300.fc43.aarch64"),
            (Core, "6.17.8-300.fc43.x86_64", "kernel-core-6.17.8-300.fc43.x86_64"),
            (ModulesCore, "6.17.8-300.fc43.x86_64", "kernel-modules-core-6.17.8-300.fc43.x86_64"),
            (ModulesCore, "6.17.8-300.fc43.aarch64+16k", "kernel-16k-modules-core-6.17.8-300.fc43.aarch64"),
        ] {
            assert_eq!(package.nevra(&kernel.parse().unwrap()), expected);
        }
    }
}
