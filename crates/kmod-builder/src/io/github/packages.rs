use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::GithubError;
use super::limits::Pace;
use super::page::Pages;
use super::transport::{Answer, Method, Transport};
use crate::model::Digest;
use crate::model::image::Repository;

/// GitHub's maximum.
const PER_PAGE: u32 = 100;
/// Concurrent page requests.
const CONCURRENT: usize = 4;
/// More pages than any package has; ends a paging loop.
const MOST_PAGES: u32 = 10_000;

/// One container package of a user or organisation. Clones share connections, counters and rate limit.
#[derive(Clone, Debug)]
pub struct Packages {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    transport: Transport,
    /// URL of the version list, without query.
    versions: String,
    name: String,
    kind: OwnerKind,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    lists: AtomicU64,
    reads: AtomicU64,
    changes: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    pub lists: u64,
    pub reads: u64,
    /// Deletions and restorations.
    pub changes: u64,
}

/// Account kinds have different API paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum OwnerKind {
    User,
    Organization,
}

/// One manifest of the package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub id: u64,
    pub digest: Digest,
    pub tags: BTreeSet<String>,
    /// First push.
    pub created: Timestamp,
    /// Last change; moving a tag does not count.
    pub updated: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    Deleted,
    /// Lists can be stale (dataaxiom/ghcr-cleanup-action#74).
    AlreadyGone,
    /// Retained by a rule of the store; holds the store's message.
    Retained(String),
}

/// A version as GitHub writes it. Decisions depend on every field, so a missing one fails the page and the plan.
#[derive(Deserialize)]
struct Wire {
    id: u64,
    name: Digest,
    created_at: Timestamp,
    updated_at: Timestamp,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    container: Container,
}

#[derive(Deserialize)]
struct Container {
    tags: BTreeSet<String>,
}

impl From<Wire> for Version {
    fn from(wire: Wire) -> Self {
        Self {
            id: wire.id,
            digest: wire.name,
            tags: wire.metadata.container.tags,
            created: wire.created_at,
            updated: wire.updated_at,
        }
    }
}

impl Packages {
    /// Opens the package of a repository in GHCR. Requests the owner's account kind, because a workflow's token has no
    /// user of its own and the API path depends on it.
    pub async fn connect(
        base: &str,
        token: Option<SecretString>,
        repository: &Repository,
        pace: Pace,
    ) -> Result<Self, GithubError> {
        let base = base.trim_end_matches('/');
        let transport = Transport::new(base, token, pace)?;
        let (owner, name) = repository.path().split_once('/').ok_or_else(|| GithubError::Missing {
            what: format!("package without an owner, such as {repository}"),
        })?;
        let counters = Counters::default();
        let kind = owner_kind(&transport, base, owner).await?;
        counters.reads.fetch_add(1, Ordering::Relaxed);
        let folder = match kind {
            OwnerKind::User => "users",
            OwnerKind::Organization => "orgs",
        };
        // Slashes in a package name are part of the name and must be encoded.
        let encoded = name.replace('/', "%2F");
        let versions = format!("{base}/{folder}/{owner}/packages/container/{encoded}/versions");
        let inner = Inner { transport, versions, name: repository.path().to_owned(), kind, counters };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub fn kind(&self) -> OwnerKind {
        self.inner.kind
    }

    pub fn requests(&self) -> Requests {
        let counters = &self.inner.counters;
        Requests {
            lists: counters.lists.load(Ordering::Relaxed),
            reads: counters.reads.load(Ordering::Relaxed),
            changes: counters.changes.load(Ordering::Relaxed),
        }
    }

    /// GitHub's clock, from the last response.
    pub fn server_time(&self) -> Option<Timestamp> {
        self.inner.transport.server_time()
    }

    /// All versions; an incomplete list is an error.
    pub async fn versions(&self) -> Result<Vec<Version>, GithubError> {
        let (mut all, first) = self.page(1).await?;
        let last = first.last.or(first.next).unwrap_or(1).min(MOST_PAGES);
        let numbers: Vec<u32> = (2..=last).collect();
        let pages: Vec<_> = stream::iter(numbers.clone())
            .map(|number| self.page(number))
            .buffered(CONCURRENT)
            .try_collect()
            .await?;
        let mut end = first;
        for (number, (versions, links)) in numbers.iter().zip(pages) {
            // If the list shrank while it was read, versions may be missing.
            if links.next.is_none() && *number != last {
                return Err(self.malformed("list the versions", "the list became shorter while it was read"));
            }
            all.extend(versions);
            end = links;
        }
        while let Some(next) = end.next {
            if next > MOST_PAGES {
                return Err(self.malformed("list the versions", "its pages never end"));
            }
            let (versions, links) = self.page(next).await?;
            if links.next.is_some_and(|after| after <= next) {
                return Err(self.malformed("list the versions", "its pages go in circles"));
            }
            all.extend(versions);
            end = links;
        }
        Ok(all)
    }

    async fn page(&self, number: u32) -> Result<(Vec<Version>, Pages), GithubError> {
        let what = "list the versions";
        let url = format!("{}?per_page={PER_PAGE}&state=active&page={number}", self.inner.versions);
        self.inner.counters.lists.fetch_add(1, Ordering::Relaxed);
        let answer = self.inner.transport.send(what, Method::Get, &url).await?;
        match answer.status {
            200 => {
                let versions: Vec<Wire> = self.parse(what, &answer.body)?;
                Ok((versions.into_iter().map(Version::from).collect(), Pages::of(answer.link.as_deref())))
            }
            404 => Err(GithubError::Missing { what: format!("container package {}", self.inner.name) }),
            _ => Err(self.refused(what, &answer)),
        }
    }

    /// `None` if it is gone.
    pub async fn version(&self, id: u64) -> Result<Option<Version>, GithubError> {
        let what = format!("read version {id}");
        self.inner.counters.reads.fetch_add(1, Ordering::Relaxed);
        let answer = self.inner.transport.send(&what, Method::Get, &self.at(id)).await?;
        match answer.status {
            200 => Ok(Some(Version::from(self.parse::<Wire>(&what, &answer.body)?))),
            404 => Ok(None),
            _ => Err(self.refused(&what, &answer)),
        }
    }

    /// Also deletes its tags.
    pub async fn delete(&self, id: u64) -> Result<Removal, GithubError> {
        let what = format!("delete version {id}");
        let answer = self.change(&what, Method::Delete, &self.at(id)).await?;
        match answer.status {
            204 | 200 => Ok(Removal::Deleted),
            404 => Ok(Removal::AlreadyGone),
            // GitHub's own rules, which cannot be overridden (kairos-io/kairos#4723,
            // chizkiyahu/delete-untagged-ghcr-action#40).
            400 if is_rule(&answer.message()) => Ok(Removal::Retained(answer.message())),
            _ => Err(self.refused(&what, &answer)),
        }
    }

    /// Restores a version within 30 days of its deletion. False if GitHub no longer can.
    pub async fn restore(&self, id: u64) -> Result<bool, GithubError> {
        let what = format!("restore version {id}");
        let answer = self.change(&what, Method::Post(None), &format!("{}/restore", self.at(id))).await?;
        match answer.status {
            204 | 200 => Ok(true),
            404 | 410 | 422 => Ok(false),
            _ => Err(self.refused(&what, &answer)),
        }
    }

    fn at(&self, id: u64) -> String {
        format!("{}/{id}", self.inner.versions)
    }

    async fn change(&self, what: &str, method: Method<'_>, url: &str) -> Result<Answer, GithubError> {
        self.inner.counters.changes.fetch_add(1, Ordering::Relaxed);
        self.inner.transport.change(what, method, url).await
    }

    fn parse<T: DeserializeOwned>(&self, what: &str, body: &str) -> Result<T, GithubError> {
        serde_json::from_str(body).map_err(|error| self.malformed(what, &error.to_string()))
    }

    fn malformed(&self, what: &str, reason: &str) -> GithubError {
        let what = format!("{what} of {}", self.inner.name);
        GithubError::Malformed { what, reason: reason.to_owned() }
    }

    fn refused(&self, what: &str, answer: &Answer) -> GithubError {
        let (what, message) = (format!("{what} of {}", self.inner.name), answer.message());
        GithubError::Refused { what, status: answer.status, message }
    }
}

async fn owner_kind(transport: &Transport, base: &str, owner: &str) -> Result<OwnerKind, GithubError> {
    #[derive(Deserialize)]
    struct Account {
        r#type: OwnerKind,
    }
    let what = format!("find out what kind of account {owner} is");
    let answer = transport.send(&what, Method::Get, &format!("{base}/users/{owner}")).await?;
    match answer.status {
        200 => match serde_json::from_str::<Account>(&answer.body) {
            Ok(account) => Ok(account.r#type),
            Err(error) => Err(GithubError::Malformed { what, reason: error.to_string() }),
        },
        404 => Err(GithubError::Missing { what: format!("account {owner}") }),
        status => Err(GithubError::Refused { what, status, message: answer.message() }),
    }
}

fn is_rule(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("last tagged version")
        || message.contains("delete the package instead")
        || (message.contains("downloads") && (message.contains("5000") || message.contains("5,000")))
}
