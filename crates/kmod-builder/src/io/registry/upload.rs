//! Blobs written: from where they lie, in pieces, several at a time, and never twice.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, RequestBuilder, Response, StatusCode};
use tokio_util::io::ReaderStream;

use crate::model::Digest;
use crate::model::image::TagOrDigest;
use crate::model::manifest::{Blob, Content, ManifestWithBlobs};

use super::client::{Registry, connection};
use super::error::{RegistryError, RegistryErrorKind};
use super::manifests::Written;

/// How many blobs are on their way at the same time.
const CONCURRENT: usize = 4;
/// How much of a file is in memory at a time, for each blob on its way.
const PIECE: usize = 256 << 10;

/// What sending a blob came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was not there, and is now.
    Now,
    /// It was there before, and nothing was sent.
    Before,
}

/// Told how far each blob is; a blob that has to be sent again starts at zero.
#[derive(Clone)]
pub struct Progress(Option<Arc<Listener>>);

/// Called with the blob, the bytes sent so far, and its size.
type Listener = dyn Fn(&Digest, u64, u64) + Send + Sync;

impl Progress {
    /// Tells this function.
    pub fn new(listener: impl Fn(&Digest, u64, u64) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Tells nobody.
    pub const fn none() -> Self {
        Self(None)
    }

    fn tell(&self, blob: &Blob, sent: u64) {
        if let Some(listener) = &self.0 {
            listener(&blob.digest, sent, blob.size);
        }
    }
}

impl Registry {
    /// Makes sure that the registry has these blobs. Those that it has are not sent.
    pub async fn send_blobs(
        &self,
        blobs: &[Blob],
        progress: &Progress,
    ) -> Result<Vec<(Digest, Sent)>, RegistryError> {
        stream::iter(blobs)
            .map(async |blob| Ok((blob.digest.clone(), self.send_blob(blob, progress).await?)))
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await
    }

    /// Each attempt begins with the question whether the blob is there: the commit of an upload may succeed while its
    /// answer is lost, and a commit repeated is refused (GoogleContainerTools/jib#4301).
    async fn send_blob(&self, blob: &Blob, progress: &Progress) -> Result<Sent, RegistryError> {
        let mut sent = Sent::Before;
        let mut attempts = 0;
        self.retry_policy()
            .insist(|| {
                attempts += 1;
                if attempts > 1 {
                    sent = Sent::Now;
                }
                async move {
                    if self.has_blob_once(&blob.digest).await? {
                        progress.tell(blob, blob.size);
                        return Ok(sent);
                    }
                    self.upload(blob, progress).await?;
                    Ok(Sent::Now)
                }
            })
            .await
    }

    /// One upload session: opened by POST, filled and closed by one PUT (OCI distribution specification, "POST then
    /// PUT"). GHCR refuses longer pieces than 4 MiB by PATCH, but takes a whole blob by PUT, as containerd and oras
    /// send it.
    async fn upload(&self, blob: &Blob, progress: &Progress) -> Result<(), RegistryError> {
        let what = format!("upload the blob {}", blob.digest);
        let (body, sent) = self.body(&what, blob, progress).await?;
        let request = self.http().post(self.url("blobs/uploads/")).header(CONTENT_LENGTH, 0);
        let response = self.send(&what, request, &[StatusCode::ACCEPTED]).await?;
        let mut session = self.location(response.headers()).map_err(|problem| self.error(&what, problem))?;
        session.query_pairs_mut().append_pair("digest", blob.digest.as_str());
        let request = self
            .http()
            .put(session)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, blob.size)
            .body(body);
        let (request, auth_header) = self.authorized(&what, request).await?;
        let response =
            self.exchange_watched(request, &sent).await.map_err(|problem| self.error(&what, problem))?;
        // Where the blob is stored now is no news: some registries leave the Location out (ggcr's does).
        let done = [StatusCode::CREATED, StatusCode::OK, StatusCode::NO_CONTENT];
        let committed = self.expect(&what, response, &done, &auth_header).await;
        committed.map(|_| ()).map_err(|error| match error.status() {
            // The session, or what came through it, is lost (BLOB_UPLOAD_UNKNOWN, DIGEST_INVALID, SIZE_INVALID):
            // a new one may do.
            Some(400 | 404 | 416) => error.lost(),
            _ => error,
        })
    }

    /// The blob's bytes as they are needed, and a counter of those that have been.
    async fn body(
        &self,
        what: &str,
        blob: &Blob,
        progress: &Progress,
    ) -> Result<(Body, Arc<AtomicU64>), RegistryError> {
        let counter = Arc::new(AtomicU64::new(0));
        let count = {
            let (counter, progress, blob) = (Arc::clone(&counter), progress.clone(), blob.clone());
            move |piece: &Bytes| {
                let length = piece.len() as u64;
                progress.tell(&blob, counter.fetch_add(length, Ordering::Relaxed) + length);
            }
        };
        let body = match &blob.content {
            Content::Bytes(bytes) => {
                let pieces = stream::iter([Ok::<_, io::Error>(bytes.clone())]);
                Body::wrap_stream(pieces.inspect_ok(count))
            }
            Content::File(path) => {
                let local = |error| self.error(what, RegistryErrorKind::Local { path: path.clone(), error });
                let file = tokio::fs::File::open(path).await.map_err(local)?;
                let length = file.metadata().await.map_err(local)?.len();
                if length != blob.size {
                    let reason = format!("it has {length} bytes instead of {}", blob.size);
                    return Err(local(io::Error::new(io::ErrorKind::InvalidData, reason)));
                }
                Body::wrap_stream(ReaderStream::with_capacity(file, PIECE).inspect_ok(count))
            }
            Content::InRegistry => return Err(self.error(what, RegistryErrorKind::Nowhere)),
        };
        Ok((body, counter))
    }

    /// Like `exchange`, but a long upload is no silence as long as it moves.
    async fn exchange_watched(
        &self,
        request: RequestBuilder,
        sent: &AtomicU64,
    ) -> Result<Response, RegistryErrorKind> {
        let read_timeout = self.retry_policy().read_timeout;
        self.count_request();
        let mut answer = pin!(request.send());
        let mut before = None;
        loop {
            if let Ok(answer) = tokio::time::timeout(read_timeout, &mut answer).await {
                return answer.map_err(connection);
            }
            let now = Some(sent.load(Ordering::Relaxed));
            if now == before {
                return Err(RegistryErrorKind::ReadTimeout(read_timeout));
            }
            before = now;
        }
    }

    /// Stores a manifest, whose blobs have been sent, under its digest or a tag.
    ///
    /// Registries say "unknown blob" of blobs that they have accepted a moment ago (infobloxopen/konk#626): then
    /// each is looked for, sent again if it is gone, and the manifest is written once more.
    pub async fn send_manifest(
        &self,
        tag_or_digest: &TagOrDigest,
        manifest_with_blobs: &ManifestWithBlobs,
        progress: &Progress,
    ) -> Result<Written, RegistryError> {
        let mut outcome = None;
        self.retry_policy()
            .settle(async || match self.put(tag_or_digest, manifest_with_blobs.manifest()).await {
                Ok(written) => {
                    outcome = Some(Ok(written));
                    Ok(true)
                }
                Err(error) if error.is_unknown_blob() => {
                    tracing::warn!(%error, "looking for the blobs");
                    self.send_blobs(manifest_with_blobs.blobs(), progress).await?;
                    outcome = Some(Err(error));
                    Ok(false)
                }
                Err(error) => Err(error),
            })
            .await?;
        outcome.expect("whatever settles was checked at least once")
    }
}
