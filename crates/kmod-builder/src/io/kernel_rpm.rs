//! Kernel packages: downloaded, and checked before anything else reads them.

use std::path::{Path, PathBuf};

use kmod_compat::{FedoraVersion, KeyFingerprint, Nevra};

use super::blocking;
use super::download::{self, DownloadError};
use super::progress::ProgressSection;
use super::rpm::{self, RpmFileError};
use crate::model::Digest;
use crate::model::rpm_signature::{KernelPackagePolicy, UntrustedPackage};

#[derive(Clone, Copy, Debug)]
pub struct KernelRpmRequest<'a> {
    pub url: &'a str,
    pub nevra: &'a Nevra,
    /// The release whose key must have signed the package.
    pub fedora: FedoraVersion,
    /// `None` if the digest is not known yet.
    pub digest: Option<&'a Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedKernelRpm {
    pub digest: Digest,
    /// `None` if Fedora did not sign it and the policy accepts that.
    pub signer: Option<KeyFingerprint>,
}

/// Downloads a package to `path` and checks its digests, its name and its signature.
pub async fn fetch(
    request: KernelRpmRequest<'_>,
    path: &Path,
    policy: &KernelPackagePolicy,
    section: &ProgressSection,
) -> Result<CheckedKernelRpm, KernelRpmError> {
    let KernelRpmRequest { url, nevra, fedora, digest } = request;
    let downloaded = download::file(url, path, digest, section).await?;
    let file = path.to_owned();
    let (package, signatures) = blocking::run(move |_| rpm::read_signed(&file)).await?;
    if package.nevra() != nevra.as_str() {
        let (found, expected) = (package.nevra(), nevra.clone());
        return Err(KernelRpmError::OtherPackage { url: url.to_owned(), found, expected });
    }
    let signer = policy.check(nevra.as_str(), &signatures, fedora)?;
    Ok(CheckedKernelRpm { digest: downloaded, signer })
}

/// Downloads a package whose digest is not known yet into a directory, where its name is its digest.
pub async fn fetch_into(
    request: KernelRpmRequest<'_>,
    directory: &Path,
    policy: &KernelPackagePolicy,
    section: &ProgressSection,
) -> Result<CheckedKernelRpm, KernelRpmError> {
    std::fs::create_dir_all(directory)?;
    let unchecked = tempfile::NamedTempFile::new_in(directory)?.into_temp_path();
    let checked = fetch(request, &unchecked, policy, section).await?;
    unchecked.persist(cached(directory, &checked.digest)).map_err(|error| error.error)?;
    Ok(checked)
}

/// Where [`fetch_into`] leaves a package.
pub fn cached(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join(format!("{}.rpm", digest.hex()))
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum KernelRpmError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Download(#[from] DownloadError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Rpm(#[from] RpmFileError),
    #[error("{url} holds the package {found}, not {expected}")]
    #[diagnostic(help("upstream has another file under this name: plan again"))]
    OtherPackage { url: String, found: String, expected: Nevra },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Untrusted(#[from] UntrustedPackage),
    #[error("the package cannot be stored")]
    Io(#[from] std::io::Error),
}
