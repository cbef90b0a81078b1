//! Reads upstream's statements about a release of OpenZFS.

use std::path::{Path, PathBuf};

use futures_util::TryFutureExt as _;
use futures_util::future::try_join3;
use kmod_compat::{ReleaseKeys, ReleaseStatements, TarballSha256};
use kmod_query::{QueryError, Upstream, ZfsRelease};
use miette::Diagnostic;

use super::download::{self, DownloadError};
use super::progress::{ProgressOutput, ProgressSection};
use super::tarball;
use crate::model::Digest;

/// Downloads the tarball below `cache`, where a build finds it.
pub async fn read(
    upstream: &Upstream,
    keys: &ReleaseKeys,
    release: &ZfsRelease,
    cache: &Path,
) -> Result<ReleaseStatements, StatementsError> {
    let version = release.version;
    let section = ProgressSection::begin(ProgressOutput::detect(), format!("Checking OpenZFS {version}"));
    let asset_sha256 = release.tarball_digest.as_deref().and_then(|sha256| sha256.parse().ok());
    let downloads = cache.join("downloads");
    let (tag_meta, signature, (path, digest)) = try_join3(
        upstream.openzfs.fetch_meta(version).map_err(StatementsError::Query),
        upstream.openzfs.fetch_signed_checksum(release, keys).map_err(StatementsError::Query),
        tarball(release, &downloads, &section).map_err(StatementsError::Download),
    )
    .await?;
    Ok(ReleaseStatements {
        version,
        tag_meta,
        tarball_meta: tarball::meta(&path, version).map_err(|error| error.root_cause().to_string()),
        tarball_sha256: sha256(&digest),
        asset_sha256,
        signature,
    })
}

/// Any content is accepted, for the statements to decide about. The file is named by its digest.
async fn tarball(
    release: &ZfsRelease,
    directory: &Path,
    section: &ProgressSection,
) -> Result<(PathBuf, Digest), DownloadError> {
    let named = |digest: &Digest| directory.join(format!("{}.tar.gz", digest.hex()));
    std::fs::create_dir_all(directory)?;
    let stated = release.tarball_digest.as_ref().and_then(|sha256| format!("sha256:{sha256}").parse().ok());
    if let Some(digest) = stated
        && let path = named(&digest)
        && path.exists()
        && download::file(&release.tarball_url, &path, Some(&digest), section).await.is_ok()
    {
        return Ok((path, digest));
    }
    let path = directory.join(format!("{}.tar.gz", release.version.tag()));
    let digest = download::file(&release.tarball_url, &path, None, section).await?;
    std::fs::rename(&path, named(&digest))?;
    Ok((named(&digest), digest))
}

fn sha256(digest: &Digest) -> TarballSha256 {
    digest.hex().parse().expect("the hexadecimal part of a sha256 digest is a sha256")
}

/// A statement could not be read, so that it is not known whether they agree.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum StatementsError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Download(#[from] DownloadError),
}
