//! OpenZFS releases, from GitHub's API.
//!
//! The newest release of a line takes two small requests: the tags `zfs-LINE.*` ([matching
//! references](https://docs.github.com/rest/git/refs#list-matching-references)), then the
//! [release](https://docs.github.com/rest/releases/releases#get-a-release-by-tag-name) of the newest tag. The list of
//! all releases is about 10 KB per release.
//!
//! The newest release is determined by version: upstream releases several lines within the same minute, and as text
//! `2.2.9` comes after `2.2.10`.

mod meta;
mod release;
mod signature;

use kmod_compat::{Meta, ZfsLine, ZfsVersion};
use octocrab::Octocrab;
use secrecy::SecretString;

use crate::endpoints::join;
use crate::http::HttpResponse;
use crate::link::link_target;
use crate::reference::is_loopback;
use crate::{Endpoints, FormatError, Http, QueryError, RequestInfo};

pub use meta::parse_meta;
pub use release::{Listed, ZfsRelease, newest, parse_release, parse_releases, parse_tags};

const REPOSITORY: &str = "repos/openzfs/zfs";

/// Stops at circular links.
const MAX_PAGES: usize = 30;

#[derive(Clone, Debug)]
pub struct OpenZfs {
    http: Http,
    github: Octocrab,
    base: String,
    /// `{fingerprint}` stands for that of the key.
    key_url: String,
}

impl OpenZfs {
    /// Without a token, GitHub allows 60 requests per hour.
    pub fn new(http: &Http, endpoints: &Endpoints, token: Option<SecretString>) -> Result<Self, QueryError> {
        let base = endpoints.github_api.trim_end_matches('/').to_owned();
        let invalid = |reason: &str| QueryError::InvalidUrl { url: base.clone(), reason: reason.to_owned() };
        let url = reqwest::Url::parse(&base).map_err(|error| invalid(&error.to_string()))?;
        let open = url.scheme() == "http" && !url.host_str().is_some_and(is_loopback);
        if open && token.is_some() {
            return Err(invalid("a token must not be sent unencrypted"));
        }
        let builder =
            Octocrab::builder().base_uri(base.as_str()).map_err(|error| invalid(&error.to_string()))?;
        let builder = match token {
            Some(token) => builder.personal_token(token),
            None => builder,
        };
        // Octocrab uses our HTTP client with its limits. Its own retries are a disabled feature.
        let github = builder
            .build_with_reqwest(http.client().clone())
            .map_err(|error| QueryError::Client { reason: error.to_string() })?;
        let key_url = endpoints.openzfs_key.clone();
        Ok(Self { http: http.clone(), github, base, key_url })
    }

    /// The newest release of the line.
    pub async fn fetch_newest(&self, line: ZfsLine) -> Result<ZfsRelease, QueryError> {
        self.fetch_newest_of(line, |_| true).await
    }

    /// The newest release of the line among these versions. Tags without a published release are skipped.
    pub async fn fetch_newest_of(
        &self,
        line: ZfsLine,
        accepts: impl Fn(ZfsVersion) -> bool,
    ) -> Result<ZfsRelease, QueryError> {
        // The dot keeps `2.4` from matching `2.40`.
        let url = join(&self.base, &format!("{REPOSITORY}/git/matching-refs/tags/zfs-{line}."));
        let request = RequestInfo::new(&url, format!("the tags of OpenZFS {line}"));
        let mut versions = match self.pages(&url, &request, parse_tags).await {
            Ok(versions) => versions,
            Err(error) if is_worth_the_list(&error) => {
                tracing::warn!(%error, "the tags could not be read, reading all releases");
                let mut releases = self.fetch_all().await?;
                releases.retain(|release| accepts(release.version));
                return newest(releases, line).ok_or_else(|| nothing_of(request, line));
            }
            Err(error) => return Err(error),
        };
        versions.retain(|version| version.line() == line && accepts(*version));
        versions.sort_unstable();
        versions.dedup();
        for version in versions.into_iter().rev() {
            match self.listed(version).await {
                Ok((_, Listed::Published(release))) => return Ok(release),
                Ok((_, Listed::Unusable(why))) => tracing::debug!(%version, %why, "passed over"),
                // A tag is pushed before its release is published.
                Err(QueryError::NotFound { .. }) => tracing::debug!(%version, "passed over: no release"),
                Err(error) => return Err(error),
            }
        }
        Err(nothing_of(request, line))
    }

    /// The versions of the line that have a tag, published or not; the newest first.
    pub async fn fetch_versions(&self, line: ZfsLine) -> Result<Vec<ZfsVersion>, QueryError> {
        let url = join(&self.base, &format!("{REPOSITORY}/git/matching-refs/tags/zfs-{line}."));
        let request = RequestInfo::new(&url, format!("the tags of OpenZFS {line}"));
        let mut versions = match self.pages(&url, &request, parse_tags).await {
            Ok(versions) => versions,
            Err(error) if is_worth_the_list(&error) => {
                tracing::warn!(%error, "the tags could not be read, reading all releases");
                self.fetch_all().await?.into_iter().map(|release| release.version).collect()
            }
            Err(error) => return Err(error),
        };
        versions.retain(|version| version.line() == line);
        versions.sort_unstable_by(|one, other| other.cmp(one));
        versions.dedup();
        Ok(versions)
    }

    pub async fn fetch_version(&self, version: ZfsVersion) -> Result<ZfsRelease, QueryError> {
        match self.listed(version).await? {
            (_, Listed::Published(release)) => Ok(release),
            (request, Listed::Unusable(why)) => {
                let reason = format!("OpenZFS {version} cannot be used: {why}");
                Err(QueryError::NoRelease { request, reason })
            }
        }
    }

    /// All lines, the newest version first.
    pub async fn fetch_all(&self) -> Result<Vec<ZfsRelease>, QueryError> {
        let url = join(&self.base, &format!("{REPOSITORY}/releases?per_page=100"));
        let request = RequestInfo::new(&url, "the releases of OpenZFS");
        let mut releases = self.pages(&url, &request, parse_releases).await?;
        releases.sort_unstable_by_key(|release| std::cmp::Reverse(release.version));
        releases.dedup_by_key(|release| release.version);
        Ok(releases)
    }

    /// The `META` file at the version's tag. The inner error is the reason why it is missing or invalid.
    pub async fn fetch_meta(&self, version: ZfsVersion) -> Result<Result<Meta, String>, QueryError> {
        let url = join(&self.base, &format!("{REPOSITORY}/contents/META?ref={}", version.tag()));
        let request = RequestInfo::new(&url, format!("the META of OpenZFS {version}"));
        let response = match self.get(&url, &request).await {
            Err(QueryError::NotFound { .. }) => {
                return Ok(Err(format!("the tag {} has no META", version.tag())));
            }
            response => response?,
        };
        match parse_meta(response.json(&request)?) {
            Ok(meta) => Ok(Ok(meta)),
            Err(FormatError::Invalid { reason, .. }) => Ok(Err(reason)),
            Err(error) => Err(error.at(&request)),
        }
    }

    async fn listed(&self, version: ZfsVersion) -> Result<(RequestInfo, Listed), QueryError> {
        let url = join(&self.base, &format!("{REPOSITORY}/releases/tags/{}", version.tag()));
        let request = RequestInfo::new(&url, format!("the release of OpenZFS {version}"));
        let response = self.get(&url, &request).await?;
        let listed = parse_release(response.json(&request)?).map_err(|error| error.at(&request))?;
        match &listed {
            Listed::Published(release) if release.version != version => {
                let reason = format!("expected the release of {version}, got that of {}", release.version);
                Err(FormatError::Invalid { field: "tag_name".to_owned(), reason }.at(&request))
            }
            _ => Ok((request, listed)),
        }
    }

    async fn pages<T>(
        &self,
        url: &str,
        request: &RequestInfo,
        parse: impl Fn(&str) -> Result<Vec<T>, FormatError>,
    ) -> Result<Vec<T>, QueryError> {
        let (mut all, mut next) = (Vec::new(), Some(url.to_owned()));
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { return Ok(all) };
            let request = RequestInfo::new(&url, request.expected.clone());
            let response = self.get(&url, &request).await?;
            all.extend(parse(response.json(&request)?).map_err(|error| error.at(&request))?);
            next = link_target(&response.headers, "next");
        }
        let reason = format!("more than {MAX_PAGES} pages");
        Err(FormatError::Invalid { field: "Link".to_owned(), reason }.at(request))
    }

    async fn get(&self, url: &str, request: &RequestInfo) -> Result<HttpResponse, QueryError> {
        self.http
            .get_cached(url, request, |conditions| async move {
                let sent = self.github._get_with_headers(url, Some(conditions)).await;
                let response = sent.map_err(|error| failure(request, error))?;
                Ok(response.map(reqwest::Body::wrap).into())
            })
            .await
    }
}

/// Whether the server answered, so that the list of releases may work where the tags failed.
const fn is_worth_the_list(error: &QueryError) -> bool {
    matches!(
        error,
        QueryError::NotFound { .. }
            | QueryError::Forbidden { .. }
            | QueryError::Status { .. }
            | QueryError::Html { .. }
            | QueryError::Format { .. }
    )
}

fn nothing_of(request: RequestInfo, line: ZfsLine) -> QueryError {
    QueryError::NoRelease { request, reason: format!("there is no published release of OpenZFS {line}") }
}

fn failure(request: &RequestInfo, error: octocrab::Error) -> QueryError {
    match error {
        octocrab::Error::Reqwest { source, .. } => crate::http::transport(request, &source),
        other => QueryError::Unreachable { request: request.clone(), reason: other.to_string() },
    }
}
