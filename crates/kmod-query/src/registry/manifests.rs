//! Manifests as raw bytes with verified digests, and tags.

use std::collections::HashSet;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::client::{Registry, same_host};
use super::error::{RegistryError, RegistryErrorKind, manifest_named};
use crate::digest::Digest;
use crate::link::link_target;
use crate::oci::{DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST, RawManifest};
use crate::reference::{Tag, TagOrDigest};

/// Stops at circular links.
const MAX_PAGES: usize = 1000;
/// Bytes, of all pages of a list; a hundred thousand tags have about 6 MB.
const MAX_LIST: usize = 64 << 20;

impl Registry {
    /// `None` if the registry does not have it.
    pub async fn manifest(&self, tag_or_digest: &TagOrDigest) -> Result<Option<RawManifest>, RegistryError> {
        if let TagOrDigest::Digest(digest) = tag_or_digest
            && let Some(known) = self.cached(digest)
        {
            return Ok(Some(known));
        }
        let manifest = self.retry_policy().retry(|| self.manifest_once(tag_or_digest)).await?;
        if let (TagOrDigest::Digest(_), Some(manifest)) = (tag_or_digest, &manifest) {
            self.cache_manifest(manifest);
        }
        Ok(manifest)
    }

    async fn manifest_once(&self, tag_or_digest: &TagOrDigest) -> Result<Option<RawManifest>, RegistryError> {
        let what = format!("read {}", manifest_named(tag_or_digest));
        let response = self.ask_manifest(&what, Method::GET, tag_or_digest).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let headers = response.headers().clone();
        let bytes = self.collect(response).await.map_err(|kind| self.error(&what, kind))?;
        let manifest = RawManifest::new(bytes, &content_type(&headers));
        let expected = match tag_or_digest {
            TagOrDigest::Digest(digest) => Some(digest.clone()),
            TagOrDigest::Tag(_) => stored_digest(&headers),
        };
        match expected {
            Some(expected) if expected != manifest.digest => {
                let actual = manifest.digest;
                Err(self.error(what, RegistryErrorKind::WrongContent { expected, actual }))
            }
            _ => Ok(Some(manifest)),
        }
    }

    /// `None` if the registry has no such manifest. One `HEAD` request; the manifest is read only if the response has
    /// no digest.
    pub async fn resolve(&self, tag_or_digest: &TagOrDigest) -> Result<Option<Digest>, RegistryError> {
        let found = self
            .retry_policy()
            .retry(async || {
                let what = format!("look for {}", manifest_named(tag_or_digest));
                let response = self.ask_manifest(&what, Method::HEAD, tag_or_digest).await?;
                let there = response.status() != StatusCode::NOT_FOUND;
                Ok(there.then(|| stored_digest(response.headers())))
            })
            .await?;
        match (found, tag_or_digest) {
            (None, _) => Ok(None),
            (Some(Some(digest)), TagOrDigest::Tag(_)) => Ok(Some(digest)),
            (Some(Some(digest)), TagOrDigest::Digest(asked)) if digest == *asked => Ok(Some(digest)),
            (Some(_), _) => Ok(self.manifest(tag_or_digest).await?.map(|manifest| manifest.digest)),
        }
    }

    async fn ask_manifest(
        &self,
        what: &str,
        method: Method,
        tag_or_digest: &TagOrDigest,
    ) -> Result<Response, RegistryError> {
        let readable = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX].join(", ");
        let request = self.request(method, &format!("manifests/{tag_or_digest}")).header(ACCEPT, readable);
        self.send(what, request, &[StatusCode::OK, StatusCode::NOT_FOUND]).await
    }

    /// Valid tags, sorted. Empty if the repository does not exist.
    pub async fn tags(&self) -> Result<Vec<Tag>, RegistryError> {
        Ok(self.listed_tags().await?.unwrap_or_default())
    }

    /// Valid tags, sorted. `None` if the registry answers 404, as for a repository that does not exist.
    pub async fn listed_tags(&self) -> Result<Option<Vec<Tag>>, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            // docker-registry sends `null` after the last tag was deleted.
            tags: Option<Vec<String>>,
        }
        let mut first = self.url("tags/list");
        first.set_query(Some("n=1000"));
        let pages: Option<Vec<Page>> = self.pages("list the tags", first).await?;
        let Some(pages) = pages else { return Ok(None) };
        let names = pages.into_iter().flat_map(|page| page.tags.unwrap_or_default());
        let mut tags: Vec<Tag> = names.filter_map(|name| name.parse().ok()).collect();
        tags.sort();
        tags.dedup();
        Ok(Some(tags))
    }

    /// `None` if the first page is a 404.
    pub(super) async fn pages<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        first: Url,
    ) -> Result<Option<Vec<T>>, RegistryError> {
        let mut pages = Vec::new();
        let (mut seen, mut total) = (HashSet::new(), 0);
        let mut next = Some(first);
        while let Some(url) = next {
            let malformed = |reason: &str| self.error(what, RegistryErrorKind::Malformed(reason.to_owned()));
            if !seen.insert(url.clone()) || seen.len() > MAX_PAGES {
                return Err(malformed("too many pages"));
            }
            let Some((page, headers, size)) = self.retry_policy().retry(|| self.page(what, &url)).await?
            else {
                // A missing later page would silently shorten the list.
                return if pages.is_empty() {
                    Ok(None)
                } else {
                    Err(malformed("one of its pages is missing"))
                };
            };
            total += size;
            if total > MAX_LIST {
                return Err(malformed("the pages of the list are too large together"));
            }
            pages.push(page);
            let link = link_target(&headers, "next");
            next = link
                .map(|link| url.join(&link).map_err(|_| malformed("invalid address of the next page")))
                .transpose()?;
            if next.as_ref().is_some_and(|next| !same_host(next, self.base())) {
                return Err(malformed("the next page is on another host"));
            }
        }
        Ok(Some(pages))
    }

    async fn page<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        url: &Url,
    ) -> Result<Option<(T, HeaderMap, usize)>, RegistryError> {
        let request = self.http().get(url.clone()).header(ACCEPT, "application/json, */*;q=0.5");
        let response = self.send(what, request, &[StatusCode::OK, StatusCode::NOT_FOUND]).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let headers = response.headers().clone();
        let body = self.collect(response).await.map_err(|kind| self.error(what, kind))?;
        let page = serde_json::from_slice(&body)
            .map_err(|error| self.error(what, RegistryErrorKind::Malformed(error.to_string())))?;
        Ok(Some((page, headers, body.len())))
    }
}

/// The SHA-256 digest in a response's headers.
pub fn stored_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_owned()
}
