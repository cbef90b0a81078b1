//! The requests that each service answers.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::body::Bytes;
use hyper::header::AUTHORIZATION;
use hyper::{Method, Request, Response, StatusCode};
use jiff::ToSpan as _;
use serde_json::{Value, json};

use crate::authority::{Authority, Key, pem};
use crate::{rekor, timestamp};

/// Keys and certificates of all services.
pub(crate) struct Services {
    fulcio: Authority,
    certificate_log: Key,
    rekor: Key,
    timestamp_root: Authority,
    timestamp: Authority,
    claims: Value,
}

impl Services {
    pub(crate) fn new(claims: Value) -> Self {
        let timestamp_root = Authority::root("timestamp root");
        Self {
            fulcio: Authority::root("fulcio"),
            certificate_log: Key::new(),
            rekor: Key::new(),
            timestamp: timestamp_root.timestamp_authority("timestamp"),
            timestamp_root,
            claims,
        }
    }

    pub(crate) fn answer(&self, request: &Request<Bytes>) -> Response<Vec<u8>> {
        let body = request.body();
        let parsed = serde_json::from_slice::<Value>(body).map_err(|error| error.to_string());
        let text = |value: Value| value.to_string().into_bytes();
        let answer = match (request.method(), request.uri().path()) {
            (&Method::GET, "/idtoken") => self.token(request).map(text),
            (&Method::POST, "/api/v2/signingCert") => {
                parsed.and_then(|body| self.certificate(&body)).map(text)
            }
            (&Method::POST, "/api/v1/log/entries") => {
                parsed.and_then(|body| rekor::answer(&self.rekor, &body)).map(text)
            }
            (&Method::POST, "/api/v1/timestamp") => {
                timestamp::answer(&self.timestamp, body).map_err(|error| error.to_string())
            }
            _ => Err("there is no such service".to_owned()),
        };
        // Rekor answers 201; the clients of the other services accept it.
        let (status, body) = match answer {
            Ok(answer) => (StatusCode::CREATED, answer),
            Err(message) => (StatusCode::BAD_REQUEST, text(json!({"message": message}))),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response
    }

    fn token(&self, request: &Request<Bytes>) -> Result<Value, String> {
        let query = request.uri().query().unwrap_or_default();
        if !request.headers().contains_key(AUTHORIZATION) || !query.contains("audience=sigstore") {
            return Err("a token request needs a bearer token and the audience `sigstore`".to_owned());
        }
        let mut claims = self.claims.clone();
        if let Some(reference) = query.split('&').find_map(|parameter| parameter.strip_prefix("ref=")) {
            of_reference(&mut claims, reference);
        }
        let now = jiff::Timestamp::now().as_second();
        claims["iat"] = now.into();
        claims["exp"] = (now + 600).into();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "none", "typ": "JWT"});
        // Fulcio below does not verify the signature.
        Ok(json!({"value": format!("{}.{}.{}", part(&header), part(&claims), "none")}))
    }

    fn certificate(&self, request: &Value) -> Result<Value, String> {
        let token = request["credentials"]["oidcIdentityToken"].as_str().ok_or("the request has no token")?;
        let payload = token.split('.').nth(1).ok_or("the token has no claims")?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|error| error.to_string())?;
        let claims: Value = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
        let key = request["publicKeyRequest"]["publicKey"]["content"].as_str();
        let key = key.ok_or("the request has no public key")?;
        let key: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
        let key = STANDARD.decode(key).map_err(|error| error.to_string())?;
        let (identity, extensions) = workload(&claims);
        let certificate = self.fulcio.issue(&key, &self.certificate_log, &identity, &extensions)?;
        let chain = [pem(&certificate), pem(&self.fulcio.certificate)];
        Ok(json!({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}))
    }

    pub(crate) fn trusted_root(&self, url: &str) -> Value {
        // Certificates are valid from a minute before they are issued; the keys from before that.
        let valid = json!({"start": (jiff::Timestamp::now() - 1.hour()).to_string()});
        let log = |key: &Key| {
            json!({
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(&key.public),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": valid,
                },
                "logId": {"keyId": STANDARD.encode(key.id())},
            })
        };
        let authority = |name: &str, path: &str, chain: &[&Authority]| {
            let link = |link: &&Authority| json!({"rawBytes": STANDARD.encode(link.certificate_der())});
            json!({
                "subject": {"organization": "fake-sigstore", "commonName": name},
                "uri": format!("{url}{path}"),
                "certChain": {"certificates": chain.iter().map(link).collect::<Vec<_>>()},
                "validFor": valid,
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&self.rekor)],
            "ctlogs": [log(&self.certificate_log)],
            "certificateAuthorities": [authority("fulcio", "", &[&self.fulcio])],
            "timestampAuthorities": [
                authority("timestamp", "/api/v1/timestamp", &[&self.timestamp, &self.timestamp_root])
            ],
        })
    }
}

/// Every claim that names the ref names `reference` instead.
fn of_reference(claims: &mut Value, reference: &str) {
    let old = claims["ref"].as_str().unwrap_or_default().to_owned();
    let texts = claims.as_object_mut().into_iter().flatten().filter_map(|(_, value)| match value {
        Value::String(text) if !old.is_empty() => Some(text),
        _ => None,
    });
    for text in texts {
        *text = text.replace(&old, reference);
    }
}

/// The identity in a certificate, and its extensions by number (Fulcio, `docs/oid-info.md`).
fn workload(claims: &Value) -> (String, Vec<(u8, String)>) {
    let claim = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    let on_github = |name: &str| format!("https://github.com/{}", claim(name));
    let identity = on_github("job_workflow_ref");
    let (repository, attempt) = (on_github("repository"), claim("run_attempt"));
    let run = format!("{repository}/actions/runs/{}/attempts/{attempt}", claim("run_id"));
    let extensions = vec![
        (1, claim("iss")),
        (2, claim("event_name")),
        (3, claim("sha")),
        (4, claim("workflow")),
        (5, claim("repository")),
        (6, claim("ref")),
        (8, claim("iss")),
        (9, identity.clone()),
        (10, claim("job_workflow_sha")),
        (11, claim("runner_environment")),
        (12, repository),
        (13, claim("sha")),
        (14, claim("ref")),
        (15, claim("repository_id")),
        (16, on_github("repository_owner")),
        (17, claim("repository_owner_id")),
        (18, on_github("workflow_ref")),
        (19, claim("workflow_sha")),
        (20, claim("event_name")),
        (21, run),
        (22, claim("repository_visibility")),
    ];
    (identity, extensions)
}
