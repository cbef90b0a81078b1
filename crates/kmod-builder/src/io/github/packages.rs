use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::client::{GithubClient, GithubResponse, RateLimitPolicy, invalid_response};
use super::error::GithubError;
use crate::model::Digest;
use crate::model::image::Repository;

/// GitHub's maximum.
const PER_PAGE: u32 = 100;
/// Concurrent page requests.
const CONCURRENT: usize = 4;
/// More pages than any package has; ends a paging loop.
const MAX_PAGES: u32 = 10_000;
/// Reads of a list that keeps changing.
const MAX_READS: usize = 5;
const HELP: &str = "use a classic token with read:packages and delete:packages, or in Actions, give the repository the \
                    role Admin under Package settings, Manage Actions access";

/// One container package of a user or organisation. Clones share connections, counters and rate limit.
#[derive(Clone, Debug)]
pub struct Packages {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: GithubClient,
    /// URL of the version list, without query.
    versions: String,
    /// `owner/name`.
    package: String,
    requests: Mutex<PackageRequests>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackageRequests {
    pub lists: u64,
    pub reads: u64,
    pub changes: u64,
}

/// One manifest of the package. Decisions depend on every field, so a missing one fails the page and the plan.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PackageVersion {
    pub id: u64,
    #[serde(rename = "name")]
    pub digest: Digest,
    #[serde(rename = "metadata", deserialize_with = "tags")]
    pub tags: BTreeSet<String>,
    /// First push.
    #[serde(rename = "created_at")]
    pub created: Timestamp,
    /// Last change; moving a tag does not count.
    #[serde(rename = "updated_at")]
    pub updated: Timestamp,
}

fn tags<'de, D: Deserializer<'de>>(metadata: D) -> Result<BTreeSet<String>, D::Error> {
    #[derive(Deserialize)]
    struct Metadata {
        container: Container,
    }
    #[derive(Deserialize)]
    struct Container {
        tags: BTreeSet<String>,
    }
    Ok(Metadata::deserialize(metadata)?.container.tags)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    Deleted,
    /// Lists can be stale (dataaxiom/ghcr-cleanup-action#74).
    AlreadyGone,
    /// Retained by a rule of the store; holds the store's message.
    Retained(String),
}

impl Packages {
    pub async fn connect(
        base: &str,
        token: Option<SecretString>,
        repository: &Repository,
        policy: RateLimitPolicy,
    ) -> Result<Self, GithubError> {
        let client = GithubClient::new(base, token, policy, HELP)?;
        let package = repository.path().to_owned();
        let Some((owner, name)) = package.split_once('/') else {
            let reason = format!("{repository} does not name an owner's package");
            return Err(GithubError::Client { base: client.base().to_owned(), reason });
        };
        let folder = owner_folder(&client, owner).await?;
        let requests = Mutex::new(PackageRequests { reads: 1, ..PackageRequests::default() });
        // Slashes in a package name are part of the name and must be encoded.
        let encoded = name.replace('/', "%2F");
        let versions = format!("{}/{folder}/{owner}/packages/container/{encoded}/versions", client.base());
        Ok(Self { inner: Arc::new(Inner { client, versions, package, requests }) })
    }

    pub fn requests(&self) -> PackageRequests {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, PackageRequests> {
        self.inner.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// GitHub's clock, from the last response.
    pub fn server_time(&self) -> Option<Timestamp> {
        self.inner.client.server_time()
    }

    /// All versions; an incomplete list is an error.
    pub async fn versions(&self) -> Result<Vec<PackageVersion>, GithubError> {
        let what = format!("list the versions of {}", self.inner.package);
        let (mut all, mut numbers) = (Vec::new(), 1..=1);
        loop {
            let end = *numbers.end();
            let pages = stream::iter(numbers).map(|number| self.page(&what, number)).buffered(CONCURRENT);
            let pages: Vec<_> = pages.try_collect().await?;
            // If the list shrank while it was read, versions may be missing.
            if pages.iter().rev().skip(1).any(|(_, response)| response.page("next").is_none()) {
                return Err(invalid_response(&what, "the list became shorter while it was read"));
            }
            let links = pages.last().map(|(_, last)| (last.page("next"), last.page("last")));
            all.extend(pages.into_iter().flat_map(|(versions, _)| versions));
            numbers = match links {
                Some((Some(next), last)) if next > end && next <= MAX_PAGES => {
                    next..=last.unwrap_or(next).clamp(next, MAX_PAGES)
                }
                Some((Some(_), _)) => return Err(invalid_response(&what, "too many pages")),
                _ => return Ok(all),
            };
        }
    }

    /// The versions on the first pages, up to one with a version that is known already. GitHub lists the newest first.
    pub async fn newest(
        &self,
        is_known: impl Fn(&Digest) -> bool,
    ) -> Result<Vec<PackageVersion>, GithubError> {
        let what = format!("list the newest versions of {}", self.inner.package);
        let mut newest = Vec::new();
        for number in 1..=MAX_PAGES {
            let (versions, response) = self.page(&what, number).await?;
            let is_last = response.page("next").is_none() || versions.iter().any(|it| is_known(&it.digest));
            newest.extend(versions.into_iter().filter(|version| !is_known(&version.digest)));
            if is_last {
                return Ok(newest);
            }
        }
        Err(invalid_response(&what, "too many pages"))
    }

    /// The complete list, read until two reads in a row are equal: a version can move from a page that was not read
    /// yet to one that was. A list of one page is read once.
    pub async fn stable_versions(&self) -> Result<Vec<PackageVersion>, GithubError> {
        let mut last = self.sorted_versions().await?;
        for _ in 0..MAX_READS {
            if last.len() < PER_PAGE as usize {
                return Ok(last);
            }
            let again = self.sorted_versions().await?;
            if again == last {
                return Ok(last);
            }
            last = again;
        }
        let what = format!("list the versions of {}", self.inner.package);
        Err(invalid_response(&what, "the list changed each time it was read"))
    }

    async fn sorted_versions(&self) -> Result<Vec<PackageVersion>, GithubError> {
        let mut versions = self.versions().await?;
        versions.sort_by_key(|version| version.id);
        Ok(versions)
    }

    async fn page(
        &self,
        what: &str,
        number: u32,
    ) -> Result<(Vec<PackageVersion>, GithubResponse), GithubError> {
        let url = format!("{}?per_page={PER_PAGE}&state=active&page={number}", self.inner.versions);
        self.lock().lists += 1;
        let response = self.inner.client.get(what, &url).await?;
        Ok((self.inner.client.json(what, &response)?, response))
    }

    /// `None` if it is gone.
    pub async fn version(&self, id: u64) -> Result<Option<PackageVersion>, GithubError> {
        let what = format!("read version {id} of {}", self.inner.package);
        self.lock().reads += 1;
        let response = self.inner.client.get(&what, &self.url(id)).await?;
        if response.status == 404 {
            return Ok(None);
        }
        self.inner.client.json(&what, &response).map(Some)
    }

    /// Also deletes its tags.
    pub async fn delete(&self, id: u64) -> Result<DeleteOutcome, GithubError> {
        let what = format!("delete version {id} of {}", self.inner.package);
        let response = self.change(&what, Method::DELETE, &self.url(id)).await?;
        match response.status {
            404 => Ok(DeleteOutcome::AlreadyGone),
            // GitHub's own rules, which cannot be overridden (kairos-io/kairos#4723,
            // chizkiyahu/delete-untagged-ghcr-action#40).
            400 if is_rule(&response.message()) => Ok(DeleteOutcome::Retained(response.message())),
            _ => self.inner.client.accept(&what, &response).map(|()| DeleteOutcome::Deleted),
        }
    }

    /// Restores a version within 30 days of its deletion. False if GitHub no longer can.
    pub async fn restore(&self, id: u64) -> Result<bool, GithubError> {
        let what = format!("restore version {id} of {}", self.inner.package);
        let response = self.change(&what, Method::POST, &format!("{}/restore", self.url(id))).await?;
        match response.status {
            404 | 410 | 422 => Ok(false),
            _ => self.inner.client.accept(&what, &response).map(|()| true),
        }
    }

    fn url(&self, id: u64) -> String {
        format!("{}/{id}", self.inner.versions)
    }

    async fn change(&self, what: &str, method: Method, url: &str) -> Result<GithubResponse, GithubError> {
        self.lock().changes += 1;
        self.inner.client.change(what, method, url, None).await
    }
}

/// The account's part of API paths, which depends on its kind; a workflow's token has no user of its own.
async fn owner_folder(client: &GithubClient, owner: &str) -> Result<&'static str, GithubError> {
    #[derive(Deserialize)]
    struct Account {
        r#type: AccountKind,
    }
    #[derive(Deserialize)]
    enum AccountKind {
        User,
        Organization,
    }
    let what = format!("read the kind of the account {owner}");
    let account: Account = client.get_json(&what, &format!("{}/users/{owner}", client.base())).await?;
    Ok(match account.r#type {
        AccountKind::User => "users",
        AccountKind::Organization => "orgs",
    })
}

fn is_rule(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("last tagged version")
        || message.contains("delete the package instead")
        || (message.contains("downloads") && (message.contains("5000") || message.contains("5,000")))
}
