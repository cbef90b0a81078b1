//! Blob streams, resumed after broken connections and verified against their digest.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use reqwest::header::RANGE;
use reqwest::{Method, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio_util::io::StreamReader;

use super::client::{Registry, Throughput};
use super::error::{RegistryError, RegistryErrorKind};
use crate::digest::Digest;

/// Reads a blob.
///
/// The end is reached only if the whole content has the blob's digest. Otherwise, also for a short body, reading
/// fails with a [`RegistryError`]. Content is unverified until the end.
pub struct BlobReader {
    reader: StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>,
}

impl AsyncRead for BlobReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}

struct Download {
    registry: Registry,
    digest: Digest,
    response: Response,
    hash: Sha256,
    received: u64,
    /// In bytes, if the registry does not support ranges.
    skip: u64,
    resumptions: usize,
    throughput: Throughput,
}

impl Registry {
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        self.retry_policy().retry(|| self.has_blob_once(digest)).await
    }

    /// Without retries.
    pub async fn has_blob_once(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let what = format!("look for the blob {digest}");
        let request = self.request(Method::HEAD, &format!("blobs/{digest}"));
        let response = self.send(&what, request, &[StatusCode::OK, StatusCode::NOT_FOUND]).await?;
        Ok(response.status() == StatusCode::OK)
    }

    /// `None` if the registry does not have the blob.
    pub async fn blob(&self, digest: &Digest) -> Result<Option<BlobReader>, RegistryError> {
        let Some(response) = self.open_blob(digest, 0).await? else { return Ok(None) };
        let download = Download {
            registry: self.clone(),
            digest: digest.clone(),
            response,
            hash: Sha256::new(),
            received: 0,
            skip: 0,
            resumptions: self.retry_policy().attempts.saturating_sub(1),
            throughput: Throughput::new(),
        };
        let pieces = stream::try_unfold(download, async |mut download| {
            let piece = download.next().await.map_err(into_io)?;
            Ok(piece.map(|piece| (piece, download)))
        });
        Ok(Some(BlobReader { reader: StreamReader::new(pieces.boxed()) }))
    }

    /// Reads at most `limit` bytes. `None` if the registry does not have the blob.
    pub async fn small_blob(&self, digest: &Digest, limit: u64) -> Result<Option<Bytes>, RegistryError> {
        if let Some(known) = self.cached(digest) {
            return Ok(Some(known.bytes));
        }
        let blob = self.read_small_blob(digest, limit).await?;
        if let Some(bytes) = &blob {
            self.cache_blob(bytes);
        }
        Ok(blob)
    }

    async fn read_small_blob(&self, digest: &Digest, limit: u64) -> Result<Option<Bytes>, RegistryError> {
        self.retry_policy()
            .retry(async || {
                let Some(reader) = self.blob(digest).await? else { return Ok(None) };
                let mut bytes = Vec::new();
                reader.take(limit + 1).read_to_end(&mut bytes).await.map_err(|error| {
                    let what = format!("read the blob {digest}");
                    from_io(error).unwrap_or_else(|text| self.error(what, RegistryErrorKind::Malformed(text)))
                })?;
                if bytes.len() as u64 > limit {
                    let kind = RegistryErrorKind::Malformed(format!("longer than {limit} bytes"));
                    return Err(self.error(format!("read the blob {digest}"), kind));
                }
                Ok(Some(bytes.into()))
            })
            .await
    }

    async fn open_blob(&self, digest: &Digest, from: u64) -> Result<Option<Response>, RegistryError> {
        let what = format!("read the blob {digest}");
        self.retry_policy()
            .retry(async || {
                let mut request = self.request(Method::GET, &format!("blobs/{digest}"));
                if from > 0 {
                    request = request.header(RANGE, format!("bytes={from}-"));
                }
                let expected = [StatusCode::OK, StatusCode::PARTIAL_CONTENT, StatusCode::NOT_FOUND];
                let response = self.send(&what, request, &expected).await?;
                Ok((response.status() != StatusCode::NOT_FOUND).then_some(response))
            })
            .await
    }
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            match self.registry.chunk(&mut self.response).await {
                Ok(Some(piece)) => {
                    // A server that sends a byte now and then is not asked again.
                    let added = self.throughput.add(piece.len(), self.registry.retry_policy());
                    added.map_err(|kind| self.error(kind))?;
                    let skipped = self.skip.min(piece.len() as u64);
                    self.skip -= skipped;
                    let piece = piece.slice(usize::try_from(skipped).unwrap_or(piece.len())..);
                    if !piece.is_empty() {
                        self.hash.update(&piece);
                        self.received += piece.len() as u64;
                        return Ok(Some(piece));
                    }
                }
                Ok(None) => {
                    let actual = Digest::finish(self.hash.clone());
                    if actual == self.digest {
                        return Ok(None);
                    }
                    let expected = self.digest.clone();
                    return Err(self.error(RegistryErrorKind::WrongContent { expected, actual }));
                }
                Err(kind) => self.resume(kind).await?,
            }
        }
    }

    async fn resume(&mut self, kind: RegistryErrorKind) -> Result<(), RegistryError> {
        let error = self.error(kind);
        if self.resumptions == 0 {
            return Err(error);
        }
        self.resumptions -= 1;
        tracing::warn!(%error, received = self.received, "resuming");
        self.response = self.registry.open_blob(&self.digest, self.received).await?.ok_or(error)?;
        self.skip = if self.response.status() == StatusCode::PARTIAL_CONTENT { 0 } else { self.received };
        Ok(())
    }

    fn error(&self, kind: RegistryErrorKind) -> RegistryError {
        self.registry.error(format!("read the blob {}", self.digest), kind)
    }
}

fn into_io(error: RegistryError) -> io::Error {
    let kind = match error.kind() {
        RegistryErrorKind::WrongContent { .. } => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

fn from_io(error: io::Error) -> Result<RegistryError, String> {
    error.downcast::<RegistryError>().map_err(|other| other.to_string())
}
