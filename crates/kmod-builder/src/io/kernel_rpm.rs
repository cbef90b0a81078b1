//! Kernel packages: downloaded, and checked before anything else reads them.

use std::path::{Path, PathBuf};

use kmod_compat::{FedoraKey, FedoraVersion, KeyFingerprint, Nevra};

use super::blocking;
use super::download::{self, DownloadError};
use super::progress::{self, ProgressSection};
use super::registry::{Registry, RegistryError};
use super::rpm::{self, RpmFileError};
use crate::model::Digest;
use crate::model::evidence::{StatementSubject, artifact};
use crate::model::inputs::BuildInputs;
use crate::model::manifest::{Blob, ManifestWithBlobs};
use crate::model::rpm_signature::{KernelPackagePolicy, UntrustedPackage};

/// Bytes. With signatures of 20,000 files it has some megabytes.
const LARGEST_SIGNATURE: u64 = 16 << 20;

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
    let keys = policy.keys.of(fedora).map(FedoraKey::short_id);
    let signatures: Vec<String> = keys.filter_map(|key| kmod_query::detached_signature(url, &key)).collect();
    let downloaded = if signatures.is_empty() {
        download::file(url, path, digest, section).await?
    } else {
        fetch_signed(url, &signatures, path, digest, section).await?
    };
    check(url, nevra, fedora, downloaded, path, policy).await
}

/// An unsigned copy of Koji with the first of these detached signatures that exists. The digest in inputs is that of the
/// package with its signature, so that a kept copy can be checked without Koji.
async fn fetch_signed(
    url: &str,
    signatures: &[String],
    path: &Path,
    expected: Option<&Digest>,
    section: &ProgressSection,
) -> Result<Digest, KernelRpmError> {
    if let Some(expected) = expected
        && path.exists()
        && download::digest_of(path).await? == *expected
    {
        return Ok(expected.clone());
    }
    let directory = path.parent().unwrap_or(path);
    let temporary = || Ok::<_, std::io::Error>(tempfile::NamedTempFile::new_in(directory)?.into_temp_path());
    let (unsigned, signature, signed) = (temporary()?, temporary()?, temporary()?);
    let found = download::file(url, &unsigned, None, section).await?;
    let mut finished = (unsigned, found);
    // Else the inputs are of an unsigned package, which was accepted.
    if expected != Some(&finished.1) {
        for address in signatures {
            if let Err(error) = download::file(address, &signature, None, section).await {
                if error.is_gone() {
                    continue;
                }
                return Err(error.into());
            }
            let wrong = |reason: String| KernelRpmError::Signature { url: address.clone(), reason };
            if std::fs::metadata(&signature)?.len() > LARGEST_SIGNATURE {
                return Err(wrong("it is larger than 16 MiB".to_owned()));
            }
            let header = std::fs::read(&signature)?;
            let digest = rpm::with_signature(&finished.0, &header, &signed);
            finished = (signed, digest.map_err(|error| wrong(error.to_string()))?);
            break;
        }
    }
    let (file, digest) = finished;
    if let Some(expected) = expected.filter(|expected| **expected != digest) {
        let (url, expected) = (url.to_owned(), expected.clone());
        return Err(DownloadError::OtherContent { url, expected, found: digest }.into());
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(digest)
}

/// The same for a package that was kept in a repository when it was built with. `None` if the repository does not have it.
pub async fn fetch_kept(
    request: KernelRpmRequest<'_>,
    path: &Path,
    policy: &KernelPackagePolicy,
    repository: &Registry,
) -> Result<Option<CheckedKernelRpm>, KernelRpmError> {
    let KernelRpmRequest { url, nevra, fedora, digest } = request;
    let Some(digest) = digest else { return Ok(None) };
    let Some(mut reader) = repository.blob(digest).await? else { return Ok(None) };
    progress::print_notice(&format!(
        "{nevra} is gone upstream, and is read from {}",
        repository.repository()
    ));
    let directory = path.parent().unwrap_or(path);
    let unchecked = tempfile::NamedTempFile::new_in(directory)?.into_temp_path();
    let mut file = tokio::fs::File::create(&unchecked).await?;
    tokio::io::copy(&mut reader, &mut file).await?;
    tokio::io::AsyncWriteExt::shutdown(&mut file).await?;
    unchecked.persist(path).map_err(|error| error.error)?;
    check(url, nevra, fedora, digest.clone(), path, policy).await.map(Some)
}

async fn check(
    url: &str,
    nevra: &Nevra,
    fedora: FedoraVersion,
    digest: Digest,
    path: &Path,
    policy: &KernelPackagePolicy,
) -> Result<CheckedKernelRpm, KernelRpmError> {
    let file = path.to_owned();
    let (package, signatures) = blocking::run(move |_| rpm::read_signed(&file)).await?;
    if package.nevra() != nevra.as_str() {
        let (found, expected) = (package.nevra(), nevra.clone());
        return Err(KernelRpmError::OtherPackage { url: url.to_owned(), found, expected });
    }
    let signer = policy.check(nevra.as_str(), &signatures, fedora)?;
    Ok(CheckedKernelRpm { digest, signer })
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

/// The artifact that keeps the package of a build in the repository of its image. `None` if it is not in the directory.
pub fn kept(
    inputs: &BuildInputs,
    directory: &Path,
    subject: &StatementSubject,
) -> std::io::Result<Option<ManifestWithBlobs>> {
    let Some(digest) = &inputs.kernel_devel.digest else { return Ok(None) };
    let path = cached(directory, digest);
    let size = match std::fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let package = Blob::file(path, digest.clone(), size);
    let file_name = format!("{}.rpm", inputs.kernel_devel.nevra);
    Ok(Some(artifact::kernel_devel(package, &file_name, subject)))
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
    #[error("the detached signature {url} cannot be used: {reason}")]
    #[diagnostic(help("Fedora's build system has a damaged file: plan again later"))]
    Signature { url: String, reason: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Untrusted(#[from] UntrustedPackage),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] RegistryError),
    #[error("the package cannot be stored")]
    Io(#[from] std::io::Error),
}
