use bytes::Bytes;
use kmod_compat::Arch;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};
use reqwest::header::{ACCEPT, HeaderMap};
use secrecy::ExposeSecret;

use super::{Credential, Credentials, Manifest, ResolvedImage, parse_config, parse_manifest, read};
use crate::http::{HttpOptions, USER_AGENT, sha256_hex, transport};
use crate::{Asked, Http, PinnedImage, QueryError};

/// Registries, read through [`Http`].
#[derive(Clone, Debug)]
pub struct Registry {
    http: Http,
    credentials: Credentials,
}

/// Manifests and indexes, in OCI's and in Docker's words.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

impl Registry {
    /// Asks each registry with its credential.
    pub fn new(http: &Http, credentials: Credentials) -> Self {
        Self { http: http.clone(), credentials }
    }

    /// What a reference stands for on an architecture: digest, labels, date.
    ///
    /// Accepts `quay.io/fedora/fedora-kinoite:43`, `…@sha256:…`, and both with `docker://` before it.
    pub async fn resolve(&self, reference: &str, arch: Arch) -> Result<ResolvedImage, QueryError> {
        let session = self.session(reference).await?;
        let (asked, mut digest, mut manifest) = session.manifest(&session.name(), arch).await?;
        if let Manifest::Index(entry) = manifest {
            let Some(entry) = entry else { return Err(QueryError::NoImage { asked, arch }) };
            (_, digest, manifest) = session.manifest(&entry, arch).await?;
        }
        let Manifest::Image(config) = manifest else { return Err(QueryError::NoImage { asked, arch }) };
        let (config, asked) = session.blob(&config).await?;
        let (of, labels, created) = read(&config, &asked, parse_config)?;
        if of != arch.oci() {
            return Err(QueryError::NoImage { asked, arch });
        }
        Ok(ResolvedImage { image: session.pinned(&digest)?, arch, labels, created })
    }

    /// The digest that a reference stands for right now, be it an index or a manifest. One `HEAD` request
    /// after the login.
    pub async fn resolve_digest(&self, reference: &str) -> Result<PinnedImage, QueryError> {
        let session = self.session(reference).await?;
        let digest = session.head(&session.name()).await?;
        session.pinned(&digest)
    }

    async fn session(&self, text: &str) -> Result<Session, QueryError> {
        let invalid = |reason: String| QueryError::InvalidReference { reference: text.to_owned(), reason };
        let bare = text.strip_prefix("docker://").unwrap_or(text);
        let reference: Reference = bare.parse().map_err(|error| invalid(format!("{error}")))?;
        if reference.digest().is_some_and(|digest| !crate::pinned::is_sha256(digest)) {
            return Err(invalid("only sha256 digests are supported".to_owned()));
        }
        let headers = self.log_in(&reference).await?;
        Ok(Session { http: self.http.clone(), reference, headers })
    }

    /// The headers that open the repository.
    async fn log_in(&self, reference: &Reference) -> Result<HeaderMap, QueryError> {
        let credential = self.credentials.of(reference);
        let auth = match credential {
            Credential::Anonymous => RegistryAuth::Anonymous,
            Credential::Basic { username, password } => {
                RegistryAuth::Basic(username.clone(), password.expose_secret().to_owned())
            }
            Credential::Bearer(token) => RegistryAuth::Bearer(token.expose_secret().to_owned()),
        };
        let asked = Asked::new(&format!("{}/v2/", origin(reference)), "a login at the registry");
        // A login asks which token is wanted, then for the token. One that is at hand takes no request.
        let pings = u64::from(!matches!(credential, Credential::Bearer(_)));
        let client = oci_client::Client::new(client_config(reference, self.http.options()));
        let token = self
            .http
            .retry(|| async {
                self.http.count_requests(pings);
                let token = client.auth(reference, &auth, RegistryOperation::Pull).await;
                token.map_err(|error| refused_login(&asked, &error))
            })
            .await?;
        let authorize = |request: reqwest::RequestBuilder| match (&token, credential) {
            (Some(token), _) => request.bearer_auth(token),
            // The registry wants the password itself with every request, or nothing at all.
            (None, Credential::Basic { username, password }) => {
                request.basic_auth(username, Some(password.expose_secret()))
            }
            (None, _) => request,
        };
        if token.is_some() {
            self.http.count_requests(pings);
        }
        let request = authorize(self.http.client().get(&asked.url)).build();
        Ok(request.map_err(|error| transport(&asked, &error))?.headers().clone())
    }
}

/// One repository, opened.
struct Session {
    http: Http,
    reference: Reference,
    headers: HeaderMap,
}

impl Session {
    fn url(&self, path: &str) -> String {
        format!("{}/v2/{}/{path}", origin(&self.reference), self.reference.repository())
    }

    /// The digest if the reference has one, else the tag.
    fn name(&self) -> String {
        self.reference.digest().or(self.reference.tag()).unwrap_or("latest").to_owned()
    }

    fn asked_manifest(&self, name: &str) -> Asked {
        Asked::new(&self.url(&format!("manifests/{name}")), "an image manifest")
    }

    fn pinned(&self, digest: &str) -> Result<PinnedImage, QueryError> {
        PinnedImage::new(&self.reference, digest).map_err(|error| QueryError::InvalidReference {
            reference: self.reference.whole(),
            reason: error.to_string(),
        })
    }

    async fn get(&self, asked: &Asked) -> Result<(Bytes, HeaderMap), QueryError> {
        let request =
            || self.http.client().get(&asked.url).headers(self.headers.clone()).header(ACCEPT, MANIFESTS);
        let answer = self.http.exchange(asked, || request().send()).await?;
        answer.json(asked)?;
        Ok((answer.body, answer.headers))
    }

    async fn manifest(&self, name: &str, arch: Arch) -> Result<(Asked, String, Manifest), QueryError> {
        let asked = self.asked_manifest(name);
        let (body, digest) = self.manifest_bytes(name, &asked).await?;
        let manifest = read(&body, &asked, |root| parse_manifest(root, arch))?;
        Ok((asked, digest, manifest))
    }

    /// A manifest and its digest, checked against the name if that is one, else against what the registry says.
    async fn manifest_bytes(&self, name: &str, asked: &Asked) -> Result<(Bytes, String), QueryError> {
        let (body, headers) = self.get(asked).await?;
        let promised = if name.contains(':') { Some(name) } else { announced(&headers) };
        let actual = check_digest(asked, &body, promised)?;
        Ok((body, actual))
    }

    async fn blob(&self, digest: &str) -> Result<(Bytes, Asked), QueryError> {
        let asked = Asked::new(&self.url(&format!("blobs/{digest}")), "an image configuration");
        let (body, _) = self.get(&asked).await?;
        check_digest(&asked, &body, Some(digest))?;
        Ok((body, asked))
    }

    async fn head(&self, name: &str) -> Result<String, QueryError> {
        let asked = self.asked_manifest(name);
        let request =
            || self.http.client().head(&asked.url).headers(self.headers.clone()).header(ACCEPT, MANIFESTS);
        let answer = self.http.exchange(&asked, || request().send()).await?;
        match announced(&answer.headers) {
            Some(digest) if name.contains(':') && digest != name => Err(QueryError::DigestMismatch {
                asked,
                promised: name.to_owned(),
                actual: digest.to_owned(),
            }),
            Some(digest) => Ok(digest.to_owned()),
            // The header is optional; the content then has to tell.
            None => Ok(self.manifest_bytes(name, &asked).await?.1),
        }
    }
}

fn announced(headers: &HeaderMap) -> Option<&str> {
    let digest = headers.get("docker-content-digest")?.to_str().ok()?;
    Some(digest).filter(|digest| crate::pinned::is_sha256(digest))
}

fn check_digest(asked: &Asked, body: &[u8], promised: Option<&str>) -> Result<String, QueryError> {
    let actual = format!("sha256:{}", sha256_hex(body));
    match promised {
        Some(promised) if promised != actual => {
            Err(QueryError::DigestMismatch { asked: asked.clone(), promised: promised.to_owned(), actual })
        }
        _ => Ok(actual),
    }
}

fn origin(reference: &Reference) -> String {
    let registry = reference.resolve_registry();
    let scheme = if is_loopback(registry) { "http" } else { "https" };
    format!("{scheme}://{registry}")
}

/// Only what never leaves this machine may go unencrypted.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn client_config(reference: &Reference, options: &HttpOptions) -> ClientConfig {
    let registry = reference.resolve_registry();
    let open = is_loopback(registry).then(|| registry.to_owned());
    ClientConfig {
        protocol: ClientProtocol::HttpsExcept(open.into_iter().collect()),
        connect_timeout: Some(options.connect_timeout),
        read_timeout: Some(options.read_timeout),
        user_agent: USER_AGENT,
        ..ClientConfig::default()
    }
}

fn refused_login(asked: &Asked, error: &OciDistributionError) -> QueryError {
    let asked = asked.clone();
    match error {
        OciDistributionError::RequestError(error) => transport(&asked, error),
        // The status is lost; what the registry wrote is all that is left to tell a refusal from a breakdown.
        OciDistributionError::AuthenticationFailure(text) => {
            let text = text.to_ascii_uppercase();
            if text.contains("TOOMANYREQUESTS") || text.contains("TOO MANY REQUESTS") {
                QueryError::TooManyRequests { asked, until: None }
            } else if ["UNAUTHORIZED", "DENIED", "FORBIDDEN", "INCORRECT"]
                .iter()
                .any(|word| text.contains(word))
            {
                QueryError::Unauthorized { asked }
            } else {
                QueryError::Unreachable { asked, reason: "the registry's token server failed".to_owned() }
            }
        }
        other => QueryError::InvalidJson { asked, reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_unencrypted() {
        for open in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"] {
            assert!(is_loopback(open), "{open}");
        }
        for closed in
            ["quay.io", "localhost.example.org:5000", "10.0.0.1:5000", "127.0.0.1.example.org", "[::2]:1"]
        {
            assert!(!is_loopback(closed), "{closed}");
        }
    }

    #[test]
    fn a_failing_login_is_told_apart() {
        let asked = Asked::new("https://quay.io/v2/", "x");
        let failure =
            |text: &str| refused_login(&asked, &OciDistributionError::AuthenticationFailure(text.to_owned()));
        let refused =
            failure(r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#);
        assert!(matches!(refused, QueryError::Unauthorized { .. }));
        assert!(matches!(failure("<html>Too Many Requests</html>"), QueryError::TooManyRequests { .. }));
        assert!(failure("").is_temporary());
    }
}
