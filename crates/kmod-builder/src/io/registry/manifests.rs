//! Manifests and tags: read as raw bytes whose digest is checked, written as they are.

use std::collections::HashSet;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LINK};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use crate::model::Digest;
use crate::model::image::{Tag, TagOrDigest};
use crate::model::manifest::RawManifest;
use crate::model::oci::{INDEX, MANIFEST};

use super::client::Registry;
use super::error::{RegistryError, RegistryErrorKind, manifest_named};

/// What a registry may answer when a manifest is asked for: OCI's types and their Docker ancestors.
const READABLE: [&str; 4] = [
    MANIFEST,
    INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// More pages than any repository has tags for: a registry whose links go in circles must end too.
const MOST_PAGES: usize = 1000;

/// A manifest was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The subject that the registry says it has filed the manifest under (`OCI-Subject`). Without it, the client
    /// must keep the tag index of the subject's referrers itself.
    pub filed_under: Option<String>,
}

impl Registry {
    /// The manifest, or `None` if the registry has none of this name.
    pub async fn manifest(&self, tag_or_digest: &TagOrDigest) -> Result<Option<RawManifest>, RegistryError> {
        if let TagOrDigest::Digest(digest) = tag_or_digest
            && let Some(known) = self.remembered(digest)
        {
            return Ok(Some(known));
        }
        let manifest = self.retry_policy().insist(|| self.manifest_once(tag_or_digest)).await?;
        if let (TagOrDigest::Digest(_), Some(manifest)) = (tag_or_digest, &manifest) {
            self.remember(manifest);
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
        let bytes = self.collect(response).await.map_err(|problem| self.error(&what, problem))?;
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

    /// The digest that a name stands for, or `None` if the registry has no such manifest.
    ///
    /// One `HEAD`; only where the registry does not say the digest is the manifest read.
    pub async fn resolve(&self, tag_or_digest: &TagOrDigest) -> Result<Option<Digest>, RegistryError> {
        let found = self
            .retry_policy()
            .insist(async || {
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
        let request = self
            .http()
            .request(method, self.url(&format!("manifests/{tag_or_digest}")))
            .header(ACCEPT, READABLE.join(", "));
        self.send(what, request, &[StatusCode::OK, StatusCode::NOT_FOUND]).await
    }

    /// Stores a manifest under its digest.
    pub async fn put_manifest(&self, manifest: &RawManifest) -> Result<Written, RegistryError> {
        self.put(&TagOrDigest::Digest(manifest.digest.clone()), manifest).await
    }

    /// Stores a manifest and points the tag to it, wherever it pointed before.
    pub async fn put_tag(&self, tag: &Tag, manifest: &RawManifest) -> Result<Written, RegistryError> {
        self.put(&TagOrDigest::Tag(tag.clone()), manifest).await
    }

    /// Repeating it is safe: the same bytes under the same name.
    pub(super) async fn put(
        &self,
        tag_or_digest: &TagOrDigest,
        manifest: &RawManifest,
    ) -> Result<Written, RegistryError> {
        let what = format!("write {}", manifest_named(tag_or_digest));
        self.retry_policy()
            .insist(async || {
                let request = self
                    .http()
                    .put(self.url(&format!("manifests/{tag_or_digest}")))
                    .header(CONTENT_TYPE, &manifest.media_type)
                    .body(manifest.bytes.clone());
                let accepted = [StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED];
                let response = self.send(&what, request, &accepted).await?;
                match stored_digest(response.headers()) {
                    Some(actual) if actual != manifest.digest => {
                        let expected = manifest.digest.clone();
                        Err(self.error(&what, RegistryErrorKind::WrongContent { expected, actual }))
                    }
                    _ => {
                        let subject = response.headers().get("oci-subject");
                        let filed_under = subject.and_then(|value| value.to_str().ok()).map(str::to_owned);
                        Ok(Written { filed_under })
                    }
                }
            })
            .await
    }

    /// Deletes a manifest and with it every tag that points to it. False if it was not there.
    ///
    /// GHCR refuses with 405: there, its own programming interface deletes.
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let what = format!("delete the manifest {digest}");
        self.retry_policy()
            .insist(async || {
                let request = self.http().delete(self.url(&format!("manifests/{digest}")));
                let expected =
                    [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NO_CONTENT, StatusCode::NOT_FOUND];
                let response = self.send(&what, request, &expected).await?;
                Ok(response.status() != StatusCode::NOT_FOUND)
            })
            .await
    }

    /// All tags of the repository, sorted. A repository that does not exist has none.
    ///
    /// Names that are no tags (no registry should have them) are left out.
    pub async fn tags(&self) -> Result<Vec<Tag>, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            // docker-registry says `null` for a repository whose last tag is gone.
            tags: Option<Vec<String>>,
        }
        let mut first = self.url("tags/list");
        first.set_query(Some("n=1000"));
        let pages: Option<Vec<Page>> = self.pages("list the tags", first).await?;
        let names = pages.into_iter().flatten().flat_map(|page| page.tags.unwrap_or_default());
        let mut tags: Vec<Tag> = names.filter_map(|name| name.parse().ok()).collect();
        tags.sort();
        tags.dedup();
        Ok(tags)
    }

    /// Every page of a list; `None` if the first is a 404.
    pub(super) async fn pages<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        first: Url,
    ) -> Result<Option<Vec<T>>, RegistryError> {
        let mut pages = Vec::new();
        let mut seen = HashSet::new();
        let mut next = Some(first);
        while let Some(url) = next {
            let malformed = |reason: &str| self.error(what, RegistryErrorKind::Malformed(reason.to_owned()));
            if !seen.insert(url.clone()) || seen.len() > MOST_PAGES {
                return Err(malformed("its pages never end"));
            }
            let Some((page, headers)) = self.retry_policy().insist(|| self.page(what, &url)).await? else {
                // A later page that is not there would make the list silently shorter.
                return if pages.is_empty() {
                    Ok(None)
                } else {
                    Err(malformed("one of its pages is not there"))
                };
            };
            pages.push(page);
            next = match next_page(&headers) {
                Some(link) => Some(url.join(&link).map_err(|_| malformed("its next page has no address"))?),
                None => None,
            };
        }
        Ok(Some(pages))
    }

    async fn page<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        url: &Url,
    ) -> Result<Option<(T, HeaderMap)>, RegistryError> {
        let request = self.http().get(url.clone()).header(ACCEPT, "application/json, */*;q=0.5");
        let response = self.send(what, request, &[StatusCode::OK, StatusCode::NOT_FOUND]).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let headers = response.headers().clone();
        let body = self.collect(response).await.map_err(|problem| self.error(what, problem))?;
        let page = serde_json::from_slice(&body)
            .map_err(|error| self.error(what, RegistryErrorKind::Malformed(error.to_string())))?;
        Ok(Some((page, headers)))
    }
}

/// The registry's own word for what it stores, where it is a digest that we know.
fn stored_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_owned()
}

/// The address of the next page (RFC 8288): `<…>; rel="next"`.
fn next_page(headers: &HeaderMap) -> Option<String> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|links| {
        let mut rest = links;
        while let Some((_, after)) = rest.split_once('<') {
            let (address, after) = after.split_once('>')?;
            // The parameters of this link end where the next link begins.
            let parameters = after.split('<').next().unwrap_or_default();
            let is_next = parameters.split([';', ',']).any(|parameter| {
                let parameter = parameter.trim().to_ascii_lowercase();
                parameter.strip_prefix("rel=").is_some_and(|value| value.trim_matches('"') == "next")
            });
            if is_next {
                return Some(address.to_owned());
            }
            rest = after;
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(link: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(LINK, link.parse().unwrap());
        next_page(&headers)
    }

    #[test]
    fn only_the_next_link_is_followed() {
        assert_eq!(
            next(r#"</v2/x/tags/list?n=2&last=b>; rel="next""#).unwrap(),
            "/v2/x/tags/list?n=2&last=b"
        );
        assert_eq!(next("</a>; rel=prev, </b,c>; rel=next").unwrap(), "/b,c");
        assert_eq!(next(r#"</a>; rel="prev""#), None);
        assert_eq!(next("nonsense"), None);
    }
}
