use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use kmod_query::registry::{RegistryError, RegistryErrorKind};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method, StatusCode};
use tokio_util::io::ReaderStream;

use super::{PutManifestResponse, RegistryWriter};
use crate::model::Digest;
use crate::model::image::TagOrDigest;
use crate::model::manifest::{Blob, BlobSource, ManifestWithBlobs};

const CONCURRENT: usize = 4;
/// Bytes of a file in memory per upload.
const PIECE: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobState {
    Uploaded,
    AlreadyPresent,
}

/// Receives the progress of each blob; a retried upload restarts at zero.
#[derive(Clone)]
pub struct UploadProgress(Option<Arc<Listener>>);

/// Called with the blob, the bytes sent so far, and its size.
type Listener = dyn Fn(&Digest, u64, u64) + Send + Sync;

impl UploadProgress {
    pub fn new(listener: impl Fn(&Digest, u64, u64) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub const fn none() -> Self {
        Self(None)
    }

    fn tell(&self, blob: &Blob, sent: u64) {
        if let Some(listener) = &self.0 {
            listener(&blob.digest, sent, blob.size);
        }
    }
}

impl RegistryWriter {
    pub async fn send_blobs(
        &self,
        blobs: &[Blob],
        progress: &UploadProgress,
    ) -> Result<Vec<(Digest, BlobState)>, RegistryError> {
        stream::iter(blobs)
            .map(async |blob| Ok((blob.digest.clone(), self.send_blob(blob, progress).await?)))
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await
    }

    /// Each attempt first checks for the blob: an upload may succeed although its response is lost, and a repeated
    /// commit is rejected (GoogleContainerTools/jib#4301).
    async fn send_blob(&self, blob: &Blob, progress: &UploadProgress) -> Result<BlobState, RegistryError> {
        let mut state = BlobState::AlreadyPresent;
        let mut attempts = 0;
        self.retry_policy()
            .retry(|| {
                attempts += 1;
                if attempts > 1 {
                    state = BlobState::Uploaded;
                }
                async move {
                    if self.has_blob_once(&blob.digest).await? {
                        progress.tell(blob, blob.size);
                        return Ok(state);
                    }
                    self.upload(blob, progress).await?;
                    Ok(BlobState::Uploaded)
                }
            })
            .await
    }

    /// One upload session (OCI distribution specification, "POST then PUT"). GHCR rejects PATCH chunks of more than 4
    /// MiB but accepts a whole blob by PUT, as containerd and oras send it.
    async fn upload(&self, blob: &Blob, progress: &UploadProgress) -> Result<(), RegistryError> {
        let what = format!("upload the blob {}", blob.digest);
        let (body, sent) = self.body(&what, blob, progress).await?;
        let request = self.request(Method::POST, "blobs/uploads/").header(CONTENT_LENGTH, 0);
        let response = self.send(&what, request, &[StatusCode::ACCEPTED]).await?;
        let mut session = self.location(&what, response.headers())?;
        session.query_pairs_mut().append_pair("digest", blob.digest.as_str());
        let request = self
            .request_to(Method::PUT, session)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, blob.size)
            .body(body);
        // The blob's `Location` is not needed; some registries omit it (ggcr's does).
        let done = [StatusCode::CREATED, StatusCode::OK, StatusCode::NO_CONTENT];
        let committed = self.send_body(&what, request, Some(&sent), &done).await;
        committed.map(|_| ()).map_err(|error| match error.status() {
            // BLOB_UPLOAD_UNKNOWN, DIGEST_INVALID, SIZE_INVALID: a new session may succeed.
            Some(400 | 404 | 416) => error.upload_aborted(),
            _ => error,
        })
    }

    /// The blob as a stream, and a counter of the bytes read from it.
    async fn body(
        &self,
        what: &str,
        blob: &Blob,
        progress: &UploadProgress,
    ) -> Result<(Body, Arc<AtomicU64>), RegistryError> {
        let counter = Arc::new(AtomicU64::new(0));
        let count = {
            let (counter, progress, blob) = (Arc::clone(&counter), progress.clone(), blob.clone());
            move |piece: &Bytes| {
                let length = piece.len() as u64;
                progress.tell(&blob, counter.fetch_add(length, Ordering::Relaxed) + length);
            }
        };
        let body = match &blob.source {
            BlobSource::Bytes(bytes) => {
                let pieces = stream::iter([Ok::<_, io::Error>(bytes.clone())]);
                Body::wrap_stream(pieces.inspect_ok(count))
            }
            BlobSource::File(path) => {
                let local = |error| self.error(what, RegistryErrorKind::Local { path: path.clone(), error });
                let file = tokio::fs::File::open(path).await.map_err(local)?;
                let length = file.metadata().await.map_err(local)?.len();
                if length != blob.size {
                    let reason = format!("it has {length} bytes, expected {}", blob.size);
                    return Err(local(io::Error::new(io::ErrorKind::InvalidData, reason)));
                }
                Body::wrap_stream(ReaderStream::with_capacity(file, PIECE).inspect_ok(count))
            }
            BlobSource::InRegistry => return Err(self.error(what, RegistryErrorKind::BlobUnavailable)),
        };
        Ok((body, counter))
    }

    /// Stores a manifest, whose blobs are uploaded, under its digest or a tag.
    ///
    /// If the registry reports "unknown blob" for blobs that it has just accepted (infobloxopen/konk#626), uploads the
    /// missing ones again and writes the manifest once more.
    pub async fn send_manifest(
        &self,
        tag_or_digest: &TagOrDigest,
        manifest_with_blobs: &ManifestWithBlobs,
        progress: &UploadProgress,
    ) -> Result<PutManifestResponse, RegistryError> {
        let mut outcome = None;
        self.retry_policy()
            .poll_until(async || match self.put(tag_or_digest, manifest_with_blobs.manifest()).await {
                Ok(response) => {
                    outcome = Some(Ok(response));
                    Ok(true)
                }
                Err(error) if error.is_unknown_blob() => {
                    tracing::warn!(%error, "uploading missing blobs again");
                    self.send_blobs(manifest_with_blobs.blobs(), progress).await?;
                    outcome = Some(Err(error));
                    Ok(false)
                }
                Err(error) => Err(error),
            })
            .await?;
        outcome.expect("the check runs at least once")
    }
}
