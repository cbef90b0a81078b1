//! OpenZFS releases, from GitHub's API.
//!
//! The newest release of a line costs two small requests: the tags `zfs-LINE.*`
//! ([matching references](https://docs.github.com/rest/git/refs#list-matching-references)), then the one
//! [release](https://docs.github.com/rest/releases/releases#get-a-release-by-tag-name) of the newest tag.
//! The list of all releases costs about 10 KB for each.
//!
//! Newest means by version. Upstream releases several lines within the same minute, so that dates say
//! nothing, and as text `2.2.9` comes after `2.2.10`.

mod meta;
mod release;

use kmod_compat::{Meta, ZfsLine, ZfsVersion};
use octocrab::Octocrab;
use reqwest::header::LINK;
use secrecy::SecretString;

use crate::endpoints::join;
use crate::http::Answer;
use crate::image::is_loopback;
use crate::{Asked, Endpoints, FormatError, Http, QueryError};

pub use meta::parse_meta;
pub use release::{Listed, Unusable, ZfsRelease, newest, parse_release, parse_releases, parse_tags};

const REPOSITORY: &str = "repos/openzfs/zfs";

/// GitHub's limits are 100 entries a page and 1000 pages; a list as long as this is a server gone wrong.
const MOST_PAGES: usize = 30;

/// The releases of `openzfs/zfs`.
#[derive(Clone, Debug)]
pub struct OpenZfs {
    http: Http,
    github: Octocrab,
    base: String,
}

impl OpenZfs {
    /// Asks with a token if there is one; without, GitHub allows 60 requests in an hour.
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
        // Our client under octocrab: its limits hold. Octocrab's own repetitions are a feature that is left out.
        let github = builder
            .build_with_reqwest(http.client().clone())
            .map_err(|error| QueryError::Client { reason: error.to_string() })?;
        Ok(Self { http: http.clone(), github, base })
    }

    /// The newest published release of a line. Not yet published tags are passed over.
    pub async fn fetch_newest(&self, line: ZfsLine) -> Result<ZfsRelease, QueryError> {
        // The dot keeps `2.4` from matching `2.40`.
        let url = join(&self.base, &format!("{REPOSITORY}/git/matching-refs/tags/zfs-{line}."));
        let asked = Asked::new(&url, format!("the tags of OpenZFS {line}"));
        let mut versions = match self.pages(&url, &asked, parse_tags).await {
            Ok(versions) => versions,
            Err(error) if is_worth_the_list(&error) => {
                tracing::warn!(%error, "the tags cannot be had, going through all releases");
                return newest(self.fetch_all().await?, line).ok_or_else(|| nothing_of(asked, line));
            }
            Err(error) => return Err(error),
        };
        versions.retain(|version| version.line() == line);
        versions.sort_unstable();
        versions.dedup();
        for version in versions.into_iter().rev() {
            match self.listed(version).await {
                Ok((_, Listed::Published(release))) => return Ok(release),
                Ok((_, Listed::Unusable { why, .. })) => tracing::debug!(%version, %why, "passed over"),
                // A tag is pushed before its release is made.
                Err(QueryError::NotFound { .. }) => tracing::debug!(%version, "passed over: no release"),
                Err(error) => return Err(error),
            }
        }
        Err(nothing_of(asked, line))
    }

    /// The release of a version.
    pub async fn fetch_version(&self, version: ZfsVersion) -> Result<ZfsRelease, QueryError> {
        match self.listed(version).await? {
            (_, Listed::Published(release)) => Ok(release),
            (asked, Listed::Unusable { why, .. }) => Err(QueryError::NoRelease {
                asked,
                reason: format!("OpenZFS {version} cannot be used: {why}"),
            }),
        }
    }

    /// Every published release of every line, the newest version first.
    pub async fn fetch_all(&self) -> Result<Vec<ZfsRelease>, QueryError> {
        let url = join(&self.base, &format!("{REPOSITORY}/releases?per_page=100"));
        let asked = Asked::new(&url, "the releases of OpenZFS");
        let mut releases = self.pages(&url, &asked, parse_releases).await?;
        releases.sort_unstable_by_key(|release| std::cmp::Reverse(release.version));
        releases.dedup_by_key(|release| release.version);
        Ok(releases)
    }

    /// What the `META` of a version declares, as it is in its tag.
    pub async fn fetch_meta(&self, version: ZfsVersion) -> Result<Meta, QueryError> {
        let url = join(&self.base, &format!("{REPOSITORY}/contents/META?ref={}", version.tag()));
        let asked = Asked::new(&url, format!("the META of OpenZFS {version}"));
        let answer = self.get(&url, &asked).await?;
        parse_meta(answer.json(&asked)?).map_err(|error| error.at(&asked))
    }

    async fn listed(&self, version: ZfsVersion) -> Result<(Asked, Listed), QueryError> {
        let url = join(&self.base, &format!("{REPOSITORY}/releases/tags/{}", version.tag()));
        let asked = Asked::new(&url, format!("the release of OpenZFS {version}"));
        let answer = self.get(&url, &asked).await?;
        let listed = parse_release(answer.json(&asked)?).map_err(|error| error.at(&asked))?;
        match &listed {
            Listed::Published(release) if release.version != version => {
                let reason = format!("expected the release of {version}, got that of {}", release.version);
                Err(QueryError::InvalidField { asked, field: "tag_name".to_owned(), reason })
            }
            _ => Ok((asked, listed)),
        }
    }

    /// Follows `Link` to the last page.
    async fn pages<T>(
        &self,
        url: &str,
        asked: &Asked,
        parse: impl Fn(&str) -> Result<Vec<T>, FormatError>,
    ) -> Result<Vec<T>, QueryError> {
        let (mut all, mut next) = (Vec::new(), Some(url.to_owned()));
        for _ in 0..MOST_PAGES {
            let Some(url) = next else { return Ok(all) };
            let asked = Asked::new(&url, asked.expected.clone());
            let answer = self.get(&url, &asked).await?;
            all.extend(parse(answer.json(&asked)?).map_err(|error| error.at(&asked))?);
            next = next_page(&answer);
        }
        let reason = format!("still no end after {MOST_PAGES} pages");
        Err(QueryError::InvalidField { asked: asked.clone(), field: "Link".to_owned(), reason })
    }

    async fn get(&self, url: &str, asked: &Asked) -> Result<Answer, QueryError> {
        self.http
            .get_cached(url, asked, |conditions| async move {
                let sent = self.github._get_with_headers(url, Some(conditions)).await;
                let response = sent.map_err(|error| failure(asked, error))?;
                Ok(response.map(reqwest::Body::wrap).into())
            })
            .await
    }
}

/// The way through the list can only help where the server answered, but not with the tags.
const fn is_worth_the_list(error: &QueryError) -> bool {
    matches!(
        error,
        QueryError::NotFound { .. }
            | QueryError::Forbidden { .. }
            | QueryError::Status { .. }
            | QueryError::Html { .. }
            | QueryError::Truncated { .. }
            | QueryError::InvalidJson { .. }
            | QueryError::MissingField { .. }
            | QueryError::InvalidField { .. }
    )
}

fn nothing_of(asked: Asked, line: ZfsLine) -> QueryError {
    QueryError::NoRelease { asked, reason: format!("there is no published release of OpenZFS {line}") }
}

fn failure(asked: &Asked, error: octocrab::Error) -> QueryError {
    match error {
        octocrab::Error::Reqwest { source, .. } => crate::http::transport(asked, &source),
        other => QueryError::Unreachable { asked: asked.clone(), reason: other.to_string() },
    }
}

/// The address of the next page, from a [`Link`](https://www.rfc-editor.org/rfc/rfc8288) header.
fn next_page(answer: &Answer) -> Option<String> {
    let link = answer.headers.get(LINK)?.to_str().ok()?;
    link.split(',').find_map(|part| {
        let (target, parameters) = part.trim().strip_prefix('<')?.split_once('>')?;
        let next =
            parameters.split(';').any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
        next.then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(link: &str, expected: Option<&str>) {
        let headers = [(LINK, link.parse().unwrap())].into_iter().collect();
        let answer = Answer { headers, body: bytes::Bytes::new() };
        assert_eq!(next_page(&answer).as_deref(), expected);
    }

    #[test]
    fn the_next_page_is_in_the_link_header() {
        check(
            r#"<https://x/?page=1>; rel="prev", <https://x/?page=3>; rel="next", <https://x/?page=9>; rel="last""#,
            Some("https://x/?page=3"),
        );
        check(r#"<https://x/?page=1>; rel="prev", <https://x/?page=1>; rel="first""#, None);
        check("nonsense", None);
    }
}
