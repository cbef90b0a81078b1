//! One repository in a registry, and the one place where requests to it are sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use crate::model::image::Repository;

use super::cache::RegistryCache;
use super::credentials::{Credential, CredentialSources};
use super::error::{RegistryError, RegistryErrorKind, oci_errors};
use super::retry::{RetryPolicy, retry_after};
use super::token::{Access, AuthHeader, Authorizer};

/// Manifests, indexes and lists are small; what is larger is none. Registries accept manifests of 4 MiB.
const LARGEST_ANSWER: usize = 8 << 20;

/// What all registries are visited with: where credentials are, how patient to be, and the connections.
///
/// One for the program: loading the machine's certificates takes longer than a request. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Registries {
    sources: Arc<CredentialSources>,
    retry_policy: RetryPolicy,
    /// For this machine, and for all others.
    clients: Arc<[OnceLock<Client>; 2]>,
    usage: Arc<Counters>,
}

/// What visiting registries has cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests sent, repetitions included.
    pub requests: u64,
    /// Bytes of answers read, those of blobs too.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Registries {
    /// Visits registries with the credentials of these sources.
    pub fn new(sources: CredentialSources, retry_policy: RetryPolicy) -> Self {
        Self { sources: Arc::new(sources), retry_policy, clients: Arc::default(), usage: Arc::default() }
    }

    /// What it has cost so far.
    pub fn usage(&self) -> Usage {
        Usage {
            requests: self.usage.requests.load(Ordering::Relaxed),
            bytes: self.usage.bytes.load(Ordering::Relaxed),
        }
    }

    /// A repository, with the credential that the sources have for it, if any.
    pub async fn open(&self, repository: &Repository, access: Access) -> Result<Registry, RegistryError> {
        let credential = self.sources.find(repository).await.map_err(|error| {
            RegistryError::new(repository, None, "find a credential", RegistryErrorKind::Credential(error))
        })?;
        self.open_with(repository, access, credential)
    }

    /// A repository, with this credential.
    pub fn open_with(
        &self,
        repository: &Repository,
        access: Access,
        credential: Option<Credential>,
    ) -> Result<Registry, RegistryError> {
        let scheme = if repository.is_loopback() { "http" } else { "https" };
        let host = match repository.host() {
            // Docker Hub's name and its registry's are two.
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let fail = |problem| RegistryError::new(repository, None, "begin", problem);
        let base = Url::parse(&format!("{scheme}://{host}/v2/"))
            .map_err(|error| fail(RegistryErrorKind::Malformed(format!("the host's name: {error}"))))?;
        let http = self
            .client(repository.is_loopback())
            .map_err(|error| fail(RegistryErrorKind::Connection(error)))?;
        let authorizer = Authorizer::new(access, credential);
        let repository = repository.clone();
        Ok(Registry {
            inner: Arc::new(Inner {
                repository,
                base,
                http,
                authorizer,
                retry_policy: self.retry_policy,
                usage: Arc::clone(&self.usage),
            }),
            memory: None,
        })
    }

    fn client(&self, is_loopback: bool) -> Result<Client, reqwest::Error> {
        let known = &self.clients[usize::from(is_loopback)];
        if let Some(client) = known.get() {
            return Ok(client.clone());
        }
        let mut builder = Client::builder()
            .user_agent(concat!("zfs-kmods/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.retry_policy.connect)
            // Blobs are verified as stored: a transfer encoding of their own would only be in the way.
            .no_gzip();
        if is_loopback {
            builder = builder.no_proxy();
        }
        let client = builder.build()?;
        Ok(known.get_or_init(|| client).clone())
    }
}

/// A repository in a registry, seen with one account and for one purpose.
///
/// Speaks the OCI distribution specification 1.1 over https, to this machine over http. Every request is
/// authorised first, bounded in time, and repeated as [`RetryPolicy`] says. Cloning is cheap: clones share connections
/// and token.
///
/// `oci_client` 0.18 is not used for requests: its errors lose the status and `Retry-After`, without a challenge it
/// asks `/v2/` before each request, and it takes refusals for "none" (its `pull_referrers`).
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
    memory: Option<Arc<RegistryCache>>,
}

#[derive(Debug)]
struct Inner {
    repository: Repository,
    base: Url,
    http: Client,
    authorizer: Authorizer,
    retry_policy: RetryPolicy,
    usage: Arc<Counters>,
}

impl Registry {
    pub(super) fn with_memory(&self, memory: RegistryCache) -> Self {
        Self { inner: Arc::clone(&self.inner), memory: Some(Arc::new(memory)) }
    }

    pub(super) fn memory(&self) -> Option<&RegistryCache> {
        self.memory.as_deref()
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.inner.repository
    }

    /// How patient this client is.
    pub fn retry_policy(&self) -> &RetryPolicy {
        &self.inner.retry_policy
    }

    /// Asks again and again until the answer is yes, with growing pauses; no is an answer only at the end. For what
    /// was just written: tags and lists may show their old state for some seconds.
    pub async fn until(
        &self,
        check: impl AsyncFnMut() -> Result<bool, RegistryError>,
    ) -> Result<bool, RegistryError> {
        self.retry_policy().settle(check).await
    }

    pub(super) fn http(&self) -> &Client {
        &self.inner.http
    }

    pub(super) fn base(&self) -> &Url {
        &self.inner.base
    }

    /// The repository's path as the registry knows it: Docker Hub keeps official images under `library/`.
    pub(super) fn path_at_registry(&self) -> String {
        let path = self.repository().path();
        match self.repository().host() {
            "docker.io" if !path.contains('/') => format!("library/{path}"),
            _ => path.to_owned(),
        }
    }

    /// The address of something in this repository.
    pub(super) fn url(&self, rest: &str) -> Url {
        let mut url = self.base().clone();
        url.set_path(&format!("/v2/{}/{rest}", self.path_at_registry()));
        url
    }

    pub(super) fn error(&self, request: impl Into<String>, problem: RegistryErrorKind) -> RegistryError {
        RegistryError::new(self.repository(), self.inner.authorizer.account(), request, problem)
    }

    /// Sends a request with the authorisation; the answer's status is among `expected`.
    pub(super) async fn send(
        &self,
        what: &str,
        request: RequestBuilder,
        expected: &[StatusCode],
    ) -> Result<Response, RegistryError> {
        let (request, auth_header) = self.authorized(what, request).await?;
        let response = self.exchange(request).await.map_err(|problem| self.error(what, problem))?;
        self.expect(what, response, expected, &auth_header).await
    }

    /// A request with the authorisation, which goes to the registry's own host and nowhere else: registries hand out
    /// addresses of other hosts, and a token sent there is a token lost (CVE-2020-15157).
    pub(super) async fn authorized(
        &self,
        what: &str,
        request: RequestBuilder,
    ) -> Result<(RequestBuilder, AuthHeader), RegistryError> {
        let auth_header = self.inner.authorizer.grant(self).await?;
        let (client, request) = request.build_split();
        let mut request =
            request.map_err(|error| self.error(what, RegistryErrorKind::Connection(error.without_url())))?;
        if let Some(header) = auth_header.header.clone()
            && same_host(request.url(), self.base())
        {
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        Ok((RequestBuilder::from_parts(client, request), auth_header))
    }

    /// Passes an answer of an expected status on, and makes an error of any other.
    pub(super) async fn expect(
        &self,
        what: &str,
        response: Response,
        expected: &[StatusCode],
        auth_header: &AuthHeader,
    ) -> Result<Response, RegistryError> {
        if expected.contains(&response.status()) {
            return Ok(response);
        }
        if response.status() == StatusCode::UNAUTHORIZED && !auth_header.fresh {
            self.inner.authorizer.forget(auth_header).await;
            return Err(self.error(what, RegistryErrorKind::TokenExpired));
        }
        Err(self.refusal(what, response).await)
    }

    /// Sends a request as it is, without authorisation.
    pub(super) async fn send_plain(
        &self,
        what: &str,
        request: RequestBuilder,
    ) -> Result<Response, RegistryError> {
        self.exchange(request).await.map_err(|problem| self.error(what, problem))
    }

    pub(super) async fn exchange(&self, request: RequestBuilder) -> Result<Response, RegistryErrorKind> {
        let read_timeout = self.retry_policy().read_timeout;
        self.count_request();
        match tokio::time::timeout(read_timeout, request.send()).await {
            Ok(answer) => answer.map_err(connection),
            Err(_) => Err(RegistryErrorKind::ReadTimeout(read_timeout)),
        }
    }

    pub(super) fn count_request(&self) {
        self.inner.usage.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The error that an answer of an unexpected status is.
    pub(super) async fn refusal(&self, what: &str, response: Response) -> RegistryError {
        let problem = self.answered(response).await;
        self.error(what, problem)
    }

    pub(super) async fn answered(&self, response: Response) -> RegistryErrorKind {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        // The status is the news; a body that does not come changes nothing about it.
        let body = self.collect(response).await.unwrap_or_default();
        let oci_errors = oci_errors(&body);
        let retry_after = retry_after(&headers, &oci_errors);
        RegistryErrorKind::Answered { status, oci_errors, retry_after }
    }

    /// The whole body of a small answer.
    pub(super) async fn collect(&self, mut response: Response) -> Result<Bytes, RegistryErrorKind> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_ANSWER {
                return Err(RegistryErrorKind::Malformed(format!(
                    "it is longer than {LARGEST_ANSWER} bytes"
                )));
            }
        }
        Ok(body.freeze())
    }

    /// The next piece of a body.
    pub(super) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, RegistryErrorKind> {
        let read_timeout = self.retry_policy().read_timeout;
        match tokio::time::timeout(read_timeout, response.chunk()).await {
            Ok(chunk) => {
                let chunk = chunk.map_err(connection)?;
                let length = chunk.as_ref().map_or(0, Bytes::len);
                self.inner.usage.bytes.fetch_add(length as u64, Ordering::Relaxed);
                Ok(chunk)
            }
            Err(_) => Err(RegistryErrorKind::ReadTimeout(read_timeout)),
        }
    }

    /// Where the answer sends us; relative addresses are the registry's.
    pub(super) fn location(&self, headers: &HeaderMap) -> Result<Url, RegistryErrorKind> {
        let text = headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| RegistryErrorKind::Malformed("there is no Location".into()))?;
        self.base().join(text).map_err(|error| RegistryErrorKind::Malformed(format!("its Location: {error}")))
    }
}

/// Addresses carry signatures that give access to a blob for a while; they belong in no log.
pub(super) fn connection(error: reqwest::Error) -> RegistryErrorKind {
    RegistryErrorKind::Connection(error.without_url())
}

pub(super) fn same_host(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}
