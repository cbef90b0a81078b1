//! The packages of a kernel, and which of Fedora's package repositories has them.
//!
//! Fedora's update repositories keep only the newest kernel; older ones are in archives. Layouts:
//!
//! * Fedora: `updates/N/Everything/ARCH/Packages/k/`, `releases/N/Everything/ARCH/os/Packages/k/`, and
//!   `development/N/…` for an unreleased Fedora (stream `next` may use it);
//! * updates-archive: all packages in one directory `N/ARCH/`, 403 for missing ones
//!   ([okd-project/okd#1667](https://github.com/okd-project/okd/issues/1667)); no packages of the initial release;
//! * coreos-pool: `ARCH/Packages/k/`, as in fedora-coreos-config's `check-new-rpm-urls.py`;
//! * koji: signed copies in `kernel/VERSION/RELEASE/data/signed/KEYID/ARCH/`, unsigned ones in
//!   `kernel/VERSION/RELEASE/ARCH/`; both are deleted after a while. The signature headers of the signed copies stay in
//!   `kernel/VERSION/RELEASE/data/sigcache/KEYID/ARCH/` (koji's `PathInfo.sighdr`).

use std::fmt;

use futures_util::{StreamExt, stream};
use kmod_compat::{FedoraVersion, KernelRelease, Nevra};

use crate::endpoints::join;
use crate::{Endpoints, Http, QueryError, RequestInfo};

/// In the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageRepository {
    Updates,
    Releases,
    Development,
    /// All packages that were ever an update.
    UpdatesArchive,
    CoreOsPool,
    KojiSigned,
    /// Without signatures.
    Koji,
}

impl PackageRepository {
    pub const ALL: [Self; 7] = [
        Self::Updates,
        Self::Releases,
        Self::Development,
        Self::UpdatesArchive,
        Self::CoreOsPool,
        Self::KojiSigned,
        Self::Koji,
    ];

    /// `None` if the repository cannot have the file.
    fn url(
        self,
        endpoints: &Endpoints,
        kernel: &KernelRelease,
        fedora: FedoraVersion,
        file: &str,
    ) -> Option<String> {
        let arch = kernel.arch();
        let build = format!("kernel/{}/{}", kernel.version(), kernel.release());
        let tree = |kind: &str| format!("{kind}/{fedora}/Everything/{arch}/os/Packages/k");
        let (base, folder) = match self {
            Self::Updates => (&endpoints.fedora, format!("updates/{fedora}/Everything/{arch}/Packages/k")),
            Self::Releases => (&endpoints.fedora, tree("releases")),
            Self::Development => (&endpoints.fedora, tree("development")),
            Self::UpdatesArchive => (&endpoints.updates_archive, format!("{fedora}/{arch}")),
            Self::CoreOsPool => (&endpoints.coreos_pool, format!("{arch}/Packages/k")),
            Self::KojiSigned => {
                let key = endpoints.signing_key_ids.get(&fedora)?;
                (&endpoints.koji, format!("{build}/data/signed/{key}/{arch}"))
            }
            Self::Koji => (&endpoints.koji, format!("{build}/{arch}")),
        };
        Some(join(base, &format!("{folder}/{file}")))
    }
}

impl fmt::Display for PackageRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Updates => "Fedora updates",
            Self::Releases => "Fedora releases",
            Self::Development => "Fedora development",
            Self::UpdatesArchive => "updates archive",
            Self::CoreOsPool => "CoreOS pool",
            Self::KojiSigned => "build system, signed",
            Self::Koji => "build system",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KernelPackage {
    /// `kernel-devel`: headers and build scripts.
    Devel,
    /// `kernel-core`: the kernel image.
    Core,
    /// `kernel-modules-core`: the most common modules.
    ModulesCore,
}

impl KernelPackage {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Devel => "devel",
            Self::Core => "core",
            Self::ModulesCore => "modules-core",
        }
    }

    /// Variants have packages of their own: `kernel-debug-devel`.
    pub fn nevra(self, kernel: &KernelRelease) -> Nevra {
        let name = match kernel.variant() {
            Some(variant) => format!("kernel-{variant}-{}", self.suffix()),
            None => format!("kernel-{}", self.suffix()),
        };
        let text = format!("{name}-{}-{}.{}", kernel.version(), kernel.release(), kernel.arch());
        text.parse().expect("all parts of a kernel release are parts of a package's name")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct KernelRpm {
    pub nevra: Nevra,
    pub url: String,
    pub repository: PackageRepository,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedLookup {
    pub repository: PackageRepository,
    pub url: String,
    pub reason: String,
}

impl fmt::Display for FailedLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.repository, self.reason, self.url)
    }
}

/// In the order of preference.
pub fn addresses(
    endpoints: &Endpoints,
    package: KernelPackage,
    kernel: &KernelRelease,
    fedora: FedoraVersion,
) -> Vec<(PackageRepository, String)> {
    // A package is in the repositories of the Fedora it was built for.
    let fedora = kernel.fedora().unwrap_or(fedora);
    let file = format!("{}.rpm", package.nevra(kernel));
    PackageRepository::ALL
        .into_iter()
        .filter_map(|repository| Some((repository, repository.url(endpoints, kernel, fedora, &file)?)))
        .collect()
}

/// Where Koji has the signature header by a key (its last 8 digits) of the unsigned copy at an address. `None` for other
/// addresses.
pub fn detached_signature(url: &str, key: &str) -> Option<String> {
    let (directory, file) = url.rsplit_once('/')?;
    let (build, arch) = directory.rsplit_once('/')?;
    let (versions, release) = build.rsplit_once('/')?;
    let (package, version) = versions.rsplit_once('/')?;
    let is_unsigned_copy = package.ends_with("/kernel")
        && file.starts_with("kernel-")
        && file.ends_with(&format!("-{version}-{release}.{arch}.rpm"));
    is_unsigned_copy.then(|| format!("{build}/data/sigcache/{key}/{arch}/{file}.sig"))
}

/// Sends concurrent `HEAD` requests; the order of [`PackageRepository::ALL`] decides.
///
/// `fedora` is used only if the kernel's release does not name one. [`QueryError::KernelRpmGone`] if no repository
/// has the package, [`QueryError::KernelRpmUncertain`] if a request failed.
pub async fn find(
    http: &Http,
    endpoints: &Endpoints,
    package: KernelPackage,
    kernel: &KernelRelease,
    fedora: FedoraVersion,
) -> Result<KernelRpm, QueryError> {
    let nevra = package.nevra(kernel);
    let addresses = addresses(endpoints, package, kernel, fedora);
    let requests = addresses.into_iter().map(|(repository, url)| async move {
        let request = RequestInfo::new(&url, format!("the kernel-{} package", package.suffix()));
        let response = http.head(&url, &request).await;
        (repository, url, request, response)
    });
    // In order: repositories after the first success are not awaited.
    let mut responses = stream::iter(requests).buffered(PackageRepository::ALL.len());
    let (mut tried, mut gone) = (Vec::new(), true);
    while let Some((repository, url, request, response)) = responses.next().await {
        let error = match response {
            // Mirrors may answer with a "not found" page.
            Ok(headers) if is_page(&headers) => QueryError::Html { request },
            Ok(_) => return Ok(KernelRpm { nevra, url, repository }),
            Err(error) => error,
        };
        gone &= is_gone(repository, &error);
        let (url, reason) = (RequestInfo::new(&url, "").url, short_reason(&error));
        tried.push(FailedLookup { repository, url, reason });
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

fn is_gone(repository: PackageRepository, error: &QueryError) -> bool {
    match repository {
        // An object store, which answers 403 for missing objects.
        PackageRepository::UpdatesArchive => error.is_missing_object(),
        _ => matches!(error, QueryError::NotFound { .. }),
    }
}

fn short_reason(error: &QueryError) -> String {
    match error {
        QueryError::NotFound { .. } => "404".to_owned(),
        QueryError::Forbidden { .. } => "403".to_owned(),
        QueryError::Unauthorized { .. } => "401".to_owned(),
        QueryError::TooManyRequests { .. } => "429".to_owned(),
        QueryError::Status { status, .. } => status.to_string(),
        QueryError::Timeout { .. } => "timeout".to_owned(),
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
        let endpoints = Endpoints::default().with_keys(&kmod_compat::FedoraKeys::embedded().unwrap());
        let urls = addresses(&endpoints, KernelPackage::Devel, &kernel, "44".parse().unwrap());
        let urls: Vec<String> =
            urls.into_iter().map(|(repository, url)| format!("{repository}: {url}")).collect();
        insta::assert_snapshot!(urls.join("\n"), @"
        Fedora updates: https://dl.fedoraproject.org/pub/fedora/linux/updates/43/Everything/aarch64/Packages/k/kernel-devel-6.17.8-300.fc43.aarch64.rpm
        Fedora releases: https://dl.fedoraproject.org/pub/fedora/linux/releases/43/Everything/aarch64/os/Packages/k/kernel-devel-6.17.8-300.fc43.aarch64.rpm
        Fedora development: https://dl.fedoraproject.org/pub/fedora/linux/development/43/Everything/aarch64/os/Packages/k/kernel-devel-6.17.8-300.fc43.aarch64.rpm
        updates archive: https://fedoraproject-updates-archive.fedoraproject.org/fedora/43/aarch64/kernel-devel-6.17.8-300.fc43.aarch64.rpm
        CoreOS pool: https://kojipkgs.fedoraproject.org/repos-dist/coreos-pool/latest/aarch64/Packages/k/kernel-devel-6.17.8-300.fc43.aarch64.rpm
        build system, signed: https://kojipkgs.fedoraproject.org/packages/kernel/6.17.8/300.fc43/data/signed/31645531/aarch64/kernel-devel-6.17.8-300.fc43.aarch64.rpm
        build system: https://kojipkgs.fedoraproject.org/packages/kernel/6.17.8/300.fc43/aarch64/kernel-devel-6.17.8-300.fc43.aarch64.rpm
        ");
    }

    #[test]
    fn only_unsigned_copies_have_a_detached_signature() {
        let kernel = "6.17.8-300.fc43.x86_64".parse().unwrap();
        let endpoints = Endpoints::default().with_keys(&kmod_compat::FedoraKeys::embedded().unwrap());
        let found = addresses(&endpoints, KernelPackage::Devel, &kernel, "43".parse().unwrap());
        let found: Vec<_> = found.iter().filter_map(|(_, url)| detached_signature(url, "31645531")).collect();
        let expected = "https://kojipkgs.fedoraproject.org/packages/kernel/6.17.8/300.fc43/data/sigcache/31645531/x86_64/\
                        kernel-devel-6.17.8-300.fc43.x86_64.rpm.sig";
        assert_eq!(found, [expected]);
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
            assert_eq!(package.nevra(&kernel.parse().unwrap()).as_str(), expected);
        }
    }
}
