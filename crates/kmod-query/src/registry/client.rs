//! A repository in a registry. Every registry request is sent here.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};

use super::cache::RegistryCache;
use super::credentials::{Credential, CredentialProvider};
use super::error::{OciError, RegistryError, RegistryErrorKind, oci_errors};
use super::token::{Access, AuthHeader, Authorizer};
use crate::http::client_builder;
use crate::reference::Repository;
use crate::retry::{RetryPolicy, retry_after};
use crate::stats::{RequestCounter, RequestStats};

/// In bytes; registries accept manifests of up to 4 MiB. Larger responses are rejected.
const MAX_RESPONSE: usize = 8 << 20;

/// Connections to registries, credentials and limits. Cloning is cheap.
///
/// Create one per process: loading the system's certificates is slow.
#[derive(Clone, Debug)]
pub struct Registries {
    credentials: Arc<dyn CredentialProvider>,
    retry_policy: RetryPolicy,
    /// For other machines and for loopback hosts, each with and without redirects.
    clients: Arc<[OnceLock<Client>; 4]>,
    counter: RequestCounter,
}

impl Registries {
    pub fn new(credentials: impl CredentialProvider + 'static, retry_policy: RetryPolicy) -> Self {
        let counter = RequestCounter::default();
        Self { credentials: Arc::new(credentials), retry_policy, clients: Arc::default(), counter }
    }

    /// Shares another client's counter.
    #[must_use]
    pub(crate) fn counted_by(self, counter: &RequestCounter) -> Self {
        Self { counter: counter.clone(), ..self }
    }

    pub fn stats(&self) -> RequestStats {
        self.counter.stats()
    }

    /// Looks up the credential; sends no request.
    pub async fn open(&self, repository: &Repository, access: Access) -> Result<Registry, RegistryError> {
        let credential = self.credentials.lookup(repository).await.map_err(|error| {
            RegistryError::new(repository, None, "find a credential", RegistryErrorKind::Credential(error))
        })?;
        self.open_with(repository, access, credential)
    }

    pub fn open_with(
        &self,
        repository: &Repository,
        access: Access,
        credential: Option<Credential>,
    ) -> Result<Registry, RegistryError> {
        let scheme = if repository.is_loopback() { "http" } else { "https" };
        let host = match repository.host() {
            // Docker Hub's registry has another host name than its images.
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let fail = |problem| RegistryError::new(repository, None, "connect", problem);
        let base = Url::parse(&format!("{scheme}://{host}/v2/"))
            .map_err(|error| fail(RegistryErrorKind::Malformed(format!("invalid host: {error}"))))?;
        let http = self
            .client(repository.is_loopback(), true)
            .map_err(|error| fail(RegistryErrorKind::Connection(error)))?;
        Ok(Registry {
            inner: Arc::new(Inner {
                repository: repository.clone(),
                base,
                http,
                registries: self.clone(),
                authorizer: Authorizer::new(access, credential),
                retry_policy: self.retry_policy,
                counter: self.counter.clone(),
            }),
            cache: None,
        })
    }

    fn client(&self, is_loopback: bool, redirects: bool) -> Result<Client, reqwest::Error> {
        let client = &self.clients[usize::from(is_loopback) + 2 * usize::from(redirects)];
        if let Some(client) = client.get() {
            return Ok(client.clone());
        }
        // Blobs are verified as stored, so no transfer encoding is accepted.
        let mut builder = client_builder(self.retry_policy.connect_timeout).no_gzip();
        if is_loopback {
            builder = builder.no_proxy();
        }
        if !redirects {
            builder = builder.redirect(reqwest::redirect::Policy::none());
        }
        let new = builder.build()?;
        Ok(client.get_or_init(|| new).clone())
    }
}

/// A repository in a registry, accessed with one credential. Clones share connections and token.
///
/// Uses https, and http for loopback hosts. Every request is authorised, has a timeout, and is retried according to
/// [`RetryPolicy`].
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
    pub(super) cache: Option<Arc<RegistryCache>>,
}

#[derive(Debug)]
struct Inner {
    repository: Repository,
    base: Url,
    http: Client,
    registries: Registries,
    authorizer: Authorizer,
    retry_policy: RetryPolicy,
    counter: RequestCounter,
}

impl Registry {
    pub fn repository(&self) -> &Repository {
        &self.inner.repository
    }

    pub fn retry_policy(&self) -> &RetryPolicy {
        &self.inner.retry_policy
    }

    /// See [`RetryPolicy::poll_until`].
    pub async fn poll_until(
        &self,
        check: impl AsyncFnMut() -> Result<bool, RegistryError>,
    ) -> Result<bool, RegistryError> {
        self.retry_policy().poll_until(check).await
    }

    pub(super) fn http(&self) -> &Client {
        &self.inner.http
    }

    pub(super) fn client_without_redirects(&self) -> Result<Client, RegistryErrorKind> {
        self.inner.registries.client(self.repository().is_loopback(), false).map_err(connection)
    }

    pub(super) fn base(&self) -> &Url {
        &self.inner.base
    }

    /// Docker Hub keeps official images under `library/`.
    pub(super) fn path_at_registry(&self) -> String {
        let path = self.repository().path();
        match self.repository().host() {
            "docker.io" if !path.contains('/') => format!("library/{path}"),
            _ => path.to_owned(),
        }
    }

    pub(super) fn url(&self, rest: &str) -> Url {
        let mut url = self.base().clone();
        url.set_path(&format!("/v2/{}/{rest}", self.path_at_registry()));
        url
    }

    /// `rest` is below the repository's address: `manifests/TAG`, `blobs/DIGEST`.
    pub fn request(&self, method: Method, rest: &str) -> RequestBuilder {
        self.http().request(method, self.url(rest))
    }

    /// For an address from the registry ([`Self::location`]).
    pub fn request_to(&self, method: Method, url: Url) -> RequestBuilder {
        self.http().request(method, url)
    }

    pub fn error(&self, request: impl Into<String>, kind: RegistryErrorKind) -> RegistryError {
        RegistryError::new(self.repository(), self.inner.authorizer.account(), request, kind)
    }

    /// Any unexpected status is an error.
    pub async fn send(
        &self,
        what: &str,
        request: RequestBuilder,
        expected: &[StatusCode],
    ) -> Result<Response, RegistryError> {
        self.send_body(what, request, None, expected).await
    }

    /// Like [`Self::send`]. The read timeout does not expire while the counter of bytes sent grows.
    pub async fn send_body(
        &self,
        what: &str,
        request: RequestBuilder,
        sent: Option<&AtomicU64>,
        expected: &[StatusCode],
    ) -> Result<Response, RegistryError> {
        let (request, auth_header) = self.authorized(what, request).await?;
        let response = self.exchange(request, sent).await.map_err(|kind| self.error(what, kind))?;
        if expected.contains(&response.status()) {
            return Ok(response);
        }
        if response.status() == StatusCode::UNAUTHORIZED && !auth_header.fresh {
            self.inner.authorizer.forget(&auth_header).await;
            return Err(self.error(what, RegistryErrorKind::TokenExpired));
        }
        Err(self.refusal(what, response).await)
    }

    /// Adds the authorisation only for the registry's own host: other hosts that the registry redirects to must not
    /// get the token (CVE-2020-15157).
    async fn authorized(
        &self,
        what: &str,
        request: RequestBuilder,
    ) -> Result<(RequestBuilder, AuthHeader), RegistryError> {
        let auth_header = self.inner.authorizer.auth_header(self).await?;
        let (client, request) = request.build_split();
        let mut request = request.map_err(|error| self.error(what, connection(error)))?;
        if let Some(header) = auth_header.header.clone()
            && same_host(request.url(), self.base())
        {
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        Ok((RequestBuilder::from_parts(client, request), auth_header))
    }

    /// Without authorisation.
    pub(super) async fn exchange(
        &self,
        request: RequestBuilder,
        sent: Option<&AtomicU64>,
    ) -> Result<Response, RegistryErrorKind> {
        let read_timeout = self.retry_policy().read_timeout;
        self.inner.counter.count_request();
        let mut response = pin!(request.send());
        let mut before = None;
        loop {
            if let Ok(response) = tokio::time::timeout(read_timeout, &mut response).await {
                return response.map_err(connection);
            }
            let now = sent.map(|sent| sent.load(Ordering::Relaxed));
            if now == before {
                return Err(RegistryErrorKind::ReadTimeout(read_timeout));
            }
            before = now;
        }
    }

    pub(super) async fn refusal(&self, what: &str, response: Response) -> RegistryError {
        let kind = self.answered(response).await;
        self.error(what, kind)
    }

    pub(super) async fn answered(&self, response: Response) -> RegistryErrorKind {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        // The status is reported even if its body cannot be read.
        let body = self.collect(response).await.unwrap_or_default();
        let oci_errors = oci_errors(&body);
        let in_message = || oci_errors.iter().find_map(OciError::retry_after);
        let retry_after = retry_after(&headers, jiff::Timestamp::now()).or_else(in_message);
        RegistryErrorKind::Answered { status, oci_errors, retry_after }
    }

    pub(super) async fn collect(&self, mut response: Response) -> Result<Bytes, RegistryErrorKind> {
        let mut body = BytesMut::new();
        let mut throughput = Throughput::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            throughput.add(chunk.len(), self.retry_policy())?;
            body.extend_from_slice(&chunk);
            if body.len() > MAX_RESPONSE {
                return Err(RegistryErrorKind::Malformed(format!("longer than {MAX_RESPONSE} bytes")));
            }
        }
        Ok(body.freeze())
    }

    pub(super) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, RegistryErrorKind> {
        let read_timeout = self.retry_policy().read_timeout;
        match tokio::time::timeout(read_timeout, response.chunk()).await {
            Ok(chunk) => {
                let chunk = chunk.map_err(connection)?;
                self.inner.counter.count_bytes(chunk.as_ref().map_or(0, Bytes::len));
                Ok(chunk)
            }
            Err(_) => Err(RegistryErrorKind::ReadTimeout(read_timeout)),
        }
    }

    /// The `Location` of a response, absolute.
    pub fn location(&self, what: &str, headers: &HeaderMap) -> Result<Url, RegistryError> {
        let fail = |reason: String| self.error(what, RegistryErrorKind::Malformed(reason));
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| fail("the `Location` header is missing".into()))?;
        self.base().join(location).map_err(|error| fail(format!("invalid `Location` header: {error}")))
    }
}

/// Limits the total time of a response, which the read timeout does not.
pub(super) struct Throughput {
    started: Instant,
    received: u64,
}

/// Bytes a second, on average, after the time that a response may take in any case.
const MIN_RATE: u64 = 1024;

impl Throughput {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), received: 0 }
    }

    /// Fails if the response is slower than any useful connection.
    pub(super) fn add(&mut self, bytes: usize, policy: &RetryPolicy) -> Result<(), RegistryErrorKind> {
        self.received += bytes as u64;
        let elapsed = self.started.elapsed();
        let limited = elapsed.saturating_sub(policy.read_timeout.saturating_mul(2));
        if self.received / MIN_RATE < limited.as_secs() {
            return Err(RegistryErrorKind::TooSlow { received: self.received, elapsed });
        }
        Ok(())
    }
}

/// Removes the URL: addresses of blobs contain signatures that grant access and must not be logged.
pub(super) fn connection(error: reqwest::Error) -> RegistryErrorKind {
    RegistryErrorKind::Connection(error.without_url())
}

pub(super) fn same_host(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}
