//! Docker's token authentication: `GET /v2/` answers with a challenge; its token endpoint issues a short-lived token
//! for one repository and a set of actions. Done once, before the first request.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::client::{Registry, same_host};
use super::credentials::{Credential, Secret};
use super::error::{RegistryError, RegistryErrorKind};

/// Seconds. A later instant might not be representable.
const LONGEST_LIFETIME: u64 = 24 * 60 * 60;

/// Registries and their token services on other hosts.
const TOKEN_HOSTS: [(&str, &str); 2] =
    [("registry-1.docker.io", "auth.docker.io"), ("registry.gitlab.com", "gitlab.com")];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    Pull,
    /// Includes [`Self::Pull`].
    Push,
    /// Includes [`Self::Push`].
    Delete,
}

impl Access {
    fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "pull,push,delete",
        }
    }
}

#[derive(Debug)]
pub(super) struct Authorizer {
    access: Access,
    credential: Option<Credential>,
    current: Mutex<Option<Authorization>>,
}

#[derive(Clone, Debug)]
struct Authorization {
    header: Option<HeaderValue>,
    until: Option<Instant>,
}

/// The header to send, and whether it was obtained for this request.
pub(super) struct AuthHeader {
    pub(super) header: Option<HeaderValue>,
    pub(super) fresh: bool,
}

/// `expires_in` is in seconds and defaults to 60.
#[derive(Deserialize)]
struct TokenResponse {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
    expires_in: Option<u64>,
}

enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

impl Authorizer {
    pub(super) fn new(access: Access, credential: Option<Credential>) -> Self {
        Self { access, credential, current: Mutex::new(None) }
    }

    pub(super) fn account(&self) -> Option<&str> {
        self.credential.as_ref().map(|credential| credential.origin.as_str())
    }

    /// Forgets a rejected token, unless another request has renewed it.
    pub(super) async fn forget(&self, refused: &AuthHeader) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|known| known.header == refused.header) {
            *current = None;
        }
    }

    /// The current header, or a new one. Concurrent requests share it.
    pub(super) async fn auth_header(&self, registry: &Registry) -> Result<AuthHeader, RegistryError> {
        let mut current = self.current.lock().await;
        if let Some(known) = &*current
            && known.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(AuthHeader { header: known.header.clone(), fresh: false });
        }
        let new = self.authorize(registry).await?;
        let header = new.header.clone();
        *current = Some(new);
        Ok(AuthHeader { header, fresh: true })
    }

    async fn authorize(&self, registry: &Registry) -> Result<Authorization, RegistryError> {
        const WHAT: &str = "request the authentication challenge";
        let request = registry.http().get(registry.base().clone());
        let response = registry.exchange(request, None).await.map_err(|kind| registry.error(WHAT, kind))?;
        let challenge = match response.status() {
            StatusCode::OK => return Ok(Authorization { header: None, until: None }),
            StatusCode::UNAUTHORIZED => response
                .headers()
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .find_map(challenge)
                .ok_or_else(|| {
                    registry.error(
                        WHAT,
                        RegistryErrorKind::Malformed("status 401 without a usable challenge".into()),
                    )
                })?,
            _ => return Err(registry.refusal(WHAT, response).await),
        };
        match challenge {
            Challenge::Basic => match &self.credential {
                Some(Credential { secret: Secret::Password { user, password }, .. }) => {
                    Ok(Authorization { header: Some(basic(user, password)), until: None })
                }
                _ => Err(registry.refusal(WHAT, response).await),
            },
            Challenge::Bearer { realm, service } => {
                self.token(registry, &realm, service.as_deref()).await.map_err(|kind| {
                    let kind = RegistryErrorKind::Token { endpoint: realm.clone(), kind: Box::new(kind) };
                    registry.error("sign in", kind)
                })
            }
        }
    }

    async fn token(
        &self,
        registry: &Registry,
        realm: &str,
        service: Option<&str>,
    ) -> Result<Authorization, RegistryErrorKind> {
        let mut url = Url::parse(realm)
            .map_err(|error| RegistryErrorKind::Malformed(format!("invalid address: {error}")))?;
        let service_host = check_realm(&url, registry.base())
            .map_err(|reason| RegistryErrorKind::Malformed(format!("its address {reason}")))?;
        if let TokenHost::Other(host) = &service_host {
            if matches!(&self.credential, Some(Credential { secret: Secret::IdentityToken(_), .. })) {
                let reason =
                    format!("{host} is not a host of the registry and does not get its refresh token");
                return Err(RegistryErrorKind::Malformed(reason));
            }
            warn_once(registry, host);
        }
        let scope = format!("repository:{}:{}", registry.path_at_registry(), self.access.actions());
        let mut fields = vec![("scope", scope.as_str())];
        fields.extend(service.map(|service| ("service", service)));
        // A redirect would send the credential elsewhere.
        let http = registry.client_without_redirects()?;
        let request = match &self.credential {
            Some(Credential { secret: Secret::IdentityToken(token), .. }) => {
                fields.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "zfs-kmods"),
                    ("refresh_token", token.expose_secret()),
                ]);
                let mut form = url.clone();
                form.query_pairs_mut().clear().extend_pairs(&fields);
                http.post(url)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(form.query().unwrap_or_default().to_owned())
            }
            Some(Credential { secret: Secret::Password { user, password }, .. }) => {
                url.query_pairs_mut().extend_pairs(&fields);
                http.get(url).header("authorization", basic(user, password))
            }
            None => {
                url.query_pairs_mut().extend_pairs(&fields);
                http.get(url)
            }
        };
        let requested_at = Instant::now();
        let response = registry.exchange(request, None).await?;
        if response.status() != StatusCode::OK {
            return Err(match registry.answered(response).await {
                // The registry chose the host, so its answer may be of a machine that is not public.
                RegistryErrorKind::Answered { status, retry_after, .. } if service_host != TokenHost::Own => {
                    RegistryErrorKind::Answered { status, oci_errors: Vec::new(), retry_after }
                }
                kind => kind,
            });
        }
        let body = registry.collect(response).await?;
        // The parser's message could quote the token.
        let response: TokenResponse = serde_json::from_slice(&body)
            .map_err(|_| RegistryErrorKind::Malformed("not a JSON token response".into()))?;
        let token = response
            .token
            .or(response.access_token)
            .ok_or_else(|| RegistryErrorKind::Malformed("the token is missing".into()))?;
        let mut header = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
            .map_err(|_| RegistryErrorKind::Malformed("the token is not a header value".into()))?;
        header.set_sensitive(true);
        // Renewed early, so that it does not expire during an upload.
        let lifetime = Duration::from_secs(response.expires_in.unwrap_or(60).clamp(1, LONGEST_LIFETIME));
        let lifetime = lifetime.mul_f64(0.8);
        Ok(Authorization { header: Some(header), until: Some(requested_at + lifetime) })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TokenHost {
    /// The registry's, or one that is known to be its token service.
    Own,
    Other(String),
}

/// Whose host the token service has. The error continues the sentence "its address …".
fn check_realm(realm: &Url, registry: &Url) -> Result<TokenHost, &'static str> {
    if !realm.username().is_empty() || realm.password().is_some() {
        return Err("has a user name or a password");
    }
    if same_host(realm, registry) {
        return Ok(TokenHost::Own);
    }
    // Passwords must not be sent unencrypted.
    if realm.scheme() != "https" {
        return Err("is not https");
    }
    let host = realm.host_str().unwrap_or_default();
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err("is an IP address");
    }
    let is_known = TOKEN_HOSTS.contains(&(registry.host_str().unwrap_or_default(), host));
    Ok(if is_known { TokenHost::Own } else { TokenHost::Other(host.to_owned()) })
}

fn warn_once(registry: &Registry, host: &str) {
    static WARNED: std::sync::Mutex<BTreeSet<(String, String)>> = std::sync::Mutex::new(BTreeSet::new());
    let registry = registry.repository().host().to_owned();
    let mut warned = WARNED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if warned.insert((registry.clone(), host.to_owned())) {
        tracing::warn!("{registry} sends its clients to {host} for tokens, which gets the credential");
    }
}

fn basic(user: &str, password: &SecretString) -> HeaderValue {
    use base64::Engine as _;
    let pair = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{}", password.expose_secret()));
    let mut header = HeaderValue::try_from(format!("Basic {pair}")).expect("base64 is of visible characters");
    header.set_sensitive(true);
    header
}

fn challenge(header: &str) -> Option<Challenge> {
    let challenges = http_auth::parse_challenges(header).ok()?;
    let bearer = challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"));
    if let Some(bearer) = bearer {
        let parameter = |name: &str| {
            let found = bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        return Some(Challenge::Bearer { realm: parameter("realm")?, service: parameter("service") });
    }
    let basic = challenges.iter().any(|challenge| challenge.scheme.eq_ignore_ascii_case("basic"));
    basic.then_some(Challenge::Basic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(realm: &str, registry: &str) -> Result<TokenHost, &'static str> {
        check_realm(&realm.parse().unwrap(), &registry.parse().unwrap())
    }

    #[test]
    fn the_token_service_is_the_registry_s_own_or_a_named_host() {
        let ghcr = "https://ghcr.io/v2/";
        assert_eq!(check("https://ghcr.io/token", ghcr), Ok(TokenHost::Own));
        assert_eq!(
            check("https://auth.docker.io/token", "https://registry-1.docker.io/v2/"),
            Ok(TokenHost::Own)
        );
        let other = TokenHost::Other("auth.docker.io".to_owned());
        assert_eq!(check("https://auth.docker.io/token", ghcr), Ok(other));
        assert_eq!(check("http://127.0.0.1:5000/token", "http://127.0.0.1:5000/v2/"), Ok(TokenHost::Own));
        for realm in [
            "http://ghcr.io/token",
            "https://user@ghcr.io/token",
            "https://user:password@example.org/token",
            "https://169.254.169.254/latest",
            "https://[::1]/token",
            "https://2130706433/token",
            "http://127.0.0.1:1/token",
        ] {
            assert!(check(realm, ghcr).is_err(), "{realm}");
        }
    }
}
