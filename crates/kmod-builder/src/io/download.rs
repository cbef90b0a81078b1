//! Downloads from upstream; a file gets its name only when it is complete.

use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::progress::ProgressSection;
use crate::model::Digest;

/// Bytes. Tarballs have about 35 MB, kernel headers about 20 MB.
const LARGEST: u64 = 1 << 30;

/// Downloads a file; the path appears only when the content is complete and has the digest, if one is given. An
/// existing file with that digest is not downloaded again. Returns the content's digest.
pub async fn file(
    url: &str,
    path: &Path,
    expected: Option<&Digest>,
    section: &ProgressSection,
) -> Result<Digest, DownloadError> {
    if let Some(expected) = expected
        && path.exists()
        && digest_of(path).await? == *expected
    {
        return Ok(expected.clone());
    }
    if !kmod_query::is_protected(url) {
        return Err(DownloadError::Unprotected { url: url.to_owned() });
    }
    section.line(&format!("fetching {url}"));
    let client = kmod_query::client_builder(Duration::from_secs(10))
        .read_timeout(Duration::from_mins(1))
        // A server that sends a byte now and then would never end.
        .timeout(Duration::from_mins(30))
        // The digest is of the file itself, not of its decompressed content.
        .no_gzip()
        .build()
        .map_err(|error| DownloadError::network(url, error))?;
    let digest = (|| fetch(&client, url, path, expected))
        .retry(ExponentialBuilder::default().with_max_times(3).with_jitter())
        .when(DownloadError::is_temporary)
        .notify(|error, delay| {
            section.line(&format!("{error}; trying again in {} s", delay.as_secs().max(1)));
        })
        .await?;
    Ok(digest)
}

async fn fetch(
    client: &reqwest::Client,
    url: &str,
    path: &Path,
    expected: Option<&Digest>,
) -> Result<Digest, DownloadError> {
    let response = client.get(url).send().await.map_err(|error| DownloadError::network(url, error))?;
    let status = response.status();
    if !status.is_success() {
        return Err(DownloadError::Status { url: url.to_owned(), status });
    }
    let announced = response.content_length();
    let folder = path.parent().unwrap_or(Path::new("."));
    let unfinished = tempfile::NamedTempFile::new_in(folder)?;
    let mut file = tokio::fs::File::from_std(unfinished.reopen()?);
    let (mut hash, mut length) = (Sha256::new(), 0);
    let mut body = response.bytes_stream();
    while let Some(part) = body.next().await {
        let part = part.map_err(|error| DownloadError::network(url, error))?;
        length += part.len() as u64;
        if length > LARGEST {
            return Err(DownloadError::TooLarge { url: url.to_owned() });
        }
        hash.update(&part);
        file.write_all(&part).await?;
    }
    if announced.is_some_and(|announced| announced != length) {
        return Err(DownloadError::Truncated { url: url.to_owned(), length });
    }
    // An error of the last write is reported by `flush`; `sync_all` drops it.
    file.flush().await?;
    file.sync_all().await?;
    let digest = Digest::finish(hash);
    if let Some(expected) = expected.filter(|expected| **expected != digest) {
        return Err(DownloadError::OtherContent {
            url: url.to_owned(),
            expected: expected.clone(),
            found: digest,
        });
    }
    unfinished.persist(path).map_err(|error| error.error)?;
    Ok(digest)
}

pub async fn digest_of(path: &Path) -> std::io::Result<Digest> {
    let path: PathBuf = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || {
        let mut hash = Sha256::new();
        std::io::copy(&mut std::fs::File::open(path)?, &mut hash)?;
        Ok(Digest::finish(hash))
    });
    hashed.await.map_err(std::io::Error::other)?
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DownloadError {
    #[error("could not fetch {url}")]
    #[diagnostic(help("check the network; `--help` lists the flags that name other addresses"))]
    Network { url: String, source: reqwest::Error },
    #[error("{url} is not fetched, because plain HTTP does not protect it")]
    #[diagnostic(help("use https; http is accepted only for this machine"))]
    Unprotected { url: String },
    #[error("{url} answered {status}")]
    #[diagnostic(help("what is pinned may be gone upstream; plan again for what is there now"))]
    Status { url: String, status: reqwest::StatusCode },
    #[error("{url} ended after {length} bytes, not the announced length")]
    Truncated { url: String, length: u64 },
    #[error("{url} is larger than 1 GiB")]
    TooLarge { url: String },
    #[error("{url} should have the digest {expected}, but has {found}")]
    #[diagnostic(help("the file was replaced or tampered with: do not build from it"))]
    OtherContent { url: String, expected: Digest, found: Digest },
    #[error("the download could not be written")]
    Io(#[from] std::io::Error),
}

impl DownloadError {
    fn network(url: &str, error: reqwest::Error) -> Self {
        Self::Network { url: url.to_owned(), source: error.without_url() }
    }

    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Status { status, .. } if matches!(status.as_u16(), 404 | 410))
    }

    fn is_temporary(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Truncated { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error() || *status == reqwest::StatusCode::TOO_MANY_REQUESTS
            }
            Self::Unprotected { .. } | Self::TooLarge { .. } | Self::OtherContent { .. } | Self::Io(_) => {
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::io::progress::ProgressOutput;

    async fn fetch(
        responses: Vec<ResponseTemplate>,
        expected: Option<&Digest>,
    ) -> (Result<Digest, DownloadError>, Vec<u8>, usize) {
        let server = MockServer::start().await;
        for response in responses {
            Mock::given(path("/zfs.tar.gz")).respond_with(response).up_to_n_times(1).mount(&server).await;
        }
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("zfs.tar.gz");
        let section = ProgressSection::begin(ProgressOutput::Plain, "Testing");
        let result = file(&format!("{}/zfs.tar.gz", server.uri()), &target, expected, &section).await;
        let content = std::fs::read(&target).unwrap_or_default();
        (result, content, std::fs::read_dir(folder.path()).unwrap().count())
    }

    #[tokio::test]
    async fn whole_files_appear_under_their_name() {
        let digest = Digest::of(b"content");
        let (result, content, files) = fetch(
            vec![ResponseTemplate::new(503), ResponseTemplate::new(200).set_body_bytes("content")],
            Some(&digest),
        )
        .await;
        assert_eq!((result.unwrap(), content.as_slice(), files), (digest, b"content".as_slice(), 1));
    }

    #[tokio::test]
    async fn plain_http_is_used_on_this_machine_only() {
        let folder = tempfile::tempdir().unwrap();
        let section = ProgressSection::begin(ProgressOutput::Plain, "Testing");
        for url in
            ["http://example.org/x", "http://127.0.0.1.example.org/x", "file:///etc/passwd", "ftp://a/b"]
        {
            let result = file(url, &folder.path().join("x"), None, &section).await;
            assert!(matches!(result, Err(DownloadError::Unprotected { .. })), "{url}: {result:?}");
        }
        let server = MockServer::start().await;
        let away = ResponseTemplate::new(302).insert_header("location", "http://192.0.2.1/x");
        Mock::given(path("/x")).respond_with(away).mount(&server).await;
        let url = format!("{}/x", server.uri());
        let error = fetch_once(&url, &folder.path().join("x")).await.unwrap_err();
        assert!(format!("{error:?}").contains("refused to be redirected to plain HTTP"), "{error:?}");
    }

    async fn fetch_once(url: &str, path: &Path) -> Result<Digest, DownloadError> {
        let client = kmod_query::client_builder(Duration::from_secs(1)).build().unwrap();
        super::fetch(&client, url, path, None).await
    }

    #[tokio::test]
    async fn keeps_nothing_after_an_error_or_a_wrong_digest() {
        let (result, content, files) =
            fetch(vec![ResponseTemplate::new(200).set_body_bytes("forged!")], Some(&Digest::of(b"content")))
                .await;
        assert!(matches!(result, Err(DownloadError::OtherContent { .. })), "{result:?}");
        assert_eq!((content.len(), files), (0, 0));
        let (result, _, files) = fetch(vec![ResponseTemplate::new(404)], None).await;
        assert!(matches!(result, Err(DownloadError::Status { .. })), "{result:?}");
        assert_eq!(files, 0);
    }
}
