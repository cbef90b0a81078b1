//! Fulcio, Rekor v1, a timestamp authority and the token endpoint of GitHub Actions on this machine: a stand-in, so
//! that signing without a key and everything that follows from it can be tested without a network and an account.
//!
//! It issues a certificate to whoever asks, for the claims that it was started with. Its [`StandIn::trusted_root`]
//! is for real clients too: `cosign`, `gh` and `sigstore` accept what was signed here if they are given that file.

mod authority;
mod der;
mod rekor;
mod timestamp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::ToSpan as _;
use serde_json::{Value, json};
use tiny_http::{Method, Request, Response, Server};

use authority::{Authority, Key, TIME_STAMPING, pem};

/// The services, on one address, until dropped.
pub struct StandIn {
    address: SocketAddr,
    trusted_root: String,
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

/// Keys and certificates of all services.
struct Services {
    fulcio: Authority,
    certificate_log: Key,
    rekor: Key,
    timestamp_root: Authority,
    timestamp: Authority,
    claims: Value,
}

/// The claims of a scheduled run of `owner/zfs-kmods`, to start from.
pub fn claims() -> Value {
    let commit = "0123456789012345678901234567890123456789";
    let workflow = "owner/zfs-kmods/.github/workflows/build.yaml@refs/heads/main";
    json!({
        "iss": "https://token.actions.githubusercontent.com",
        "aud": "sigstore",
        "sub": "repo:owner/zfs-kmods:ref:refs/heads/main",
        "ref": "refs/heads/main",
        "sha": commit,
        "repository": "owner/zfs-kmods",
        "repository_owner": "owner",
        "repository_id": "1",
        "repository_owner_id": "2",
        "repository_visibility": "public",
        "event_name": "schedule",
        "workflow": "Build",
        "workflow_ref": workflow,
        "workflow_sha": commit,
        "job_workflow_ref": workflow,
        "job_workflow_sha": commit,
        "runner_environment": "github-hosted",
        "run_id": "3",
        "run_attempt": "1",
    })
}

impl StandIn {
    /// Starts the services on an address of this machine (port 0: any), for a workflow with these claims.
    pub fn start(address: &str, claims: Value) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let server = Arc::new(Server::http(address)?);
        let address = server.server_addr().to_ip().ok_or("the address is none of the internet protocol")?;
        let timestamp_root = Authority::root("timestamp root");
        let services = Services {
            fulcio: Authority::root("fulcio"),
            certificate_log: Key::new(),
            rekor: Key::new(),
            timestamp: timestamp_root.vouch("timestamp", TIME_STAMPING),
            timestamp_root,
            claims,
        };
        let trusted_root = services.trusted_root(&format!("http://{address}")).to_string();
        let listening = Arc::clone(&server);
        let thread = std::thread::spawn(move || {
            for mut request in listening.incoming_requests() {
                let response = services.answer(&mut request);
                // A client that went away does not want the answer any more.
                drop(request.respond(response));
            }
        });
        Ok(Self { address, trusted_root, server, thread: Some(thread) })
    }

    /// The base of the addresses of Fulcio and Rekor.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of the timestamp authority.
    pub fn timestamp_url(&self) -> String {
        format!("{}/api/v1/timestamp", self.url())
    }

    /// What goes into `ACTIONS_ID_TOKEN_REQUEST_URL`; any `ACTIONS_ID_TOKEN_REQUEST_TOKEN` will do.
    pub fn token_url(&self) -> String {
        format!("{}/idtoken?api-version=2.0", self.url())
    }

    /// The trusted root that vouches for these services (`trusted_root.json`).
    pub fn trusted_root(&self) -> &str {
        &self.trusted_root
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            // Nothing is to be said of a thread that panicked: its panic was printed.
            drop(thread.join());
        }
    }
}

type Answer = Response<std::io::Cursor<Vec<u8>>>;

impl Services {
    fn answer(&self, request: &mut Request) -> Answer {
        let path = request.url().split('?').next().unwrap_or_default().to_owned();
        let mut body = Vec::new();
        if let Err(error) = request.as_reader().read_to_end(&mut body) {
            return refusal(400, &error.to_string());
        }
        let parsed = || serde_json::from_slice::<Value>(&body).map_err(|error| error.to_string());
        let answer = match (request.method(), path.as_str()) {
            (Method::Get, "/idtoken") => self.token(request),
            (Method::Post, "/api/v2/signingCert") => parsed().and_then(|body| self.certificate(&body)),
            (Method::Post, "/api/v1/log/entries") => {
                parsed().and_then(|body| rekor::answer(&self.rekor, &body))
            }
            (Method::Post, "/api/v1/timestamp") => {
                return match timestamp::answer(&self.timestamp, &body) {
                    Some(answer) => Response::from_data(answer).with_status_code(201),
                    None => refusal(400, "this is no request for a timestamp"),
                };
            }
            _ => return refusal(404, "there is no such service"),
        };
        match answer {
            // 201 is Rekor's; the others are content with it.
            Ok(answer) => Response::from_data(answer.to_string()).with_status_code(201),
            Err(sentence) => refusal(400, &sentence),
        }
    }

    fn token(&self, request: &Request) -> Result<Value, String> {
        let bearer = request.headers().iter().any(|header| header.field.equiv("Authorization"));
        if !bearer || !request.url().contains("audience=sigstore") {
            return Err("a token is asked for with a bearer and for the audience `sigstore`".to_owned());
        }
        let mut claims = self.claims.clone();
        let now = jiff::Timestamp::now().as_second();
        claims["iat"] = now.into();
        claims["exp"] = (now + 600).into();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "none", "typ": "JWT"});
        // Nobody checks the signature; the certificate is given for what the token says.
        Ok(json!({"value": format!("{}.{}.{}", part(&header), part(&claims), "none")}))
    }

    fn certificate(&self, request: &Value) -> Result<Value, String> {
        let token = request["credentials"]["oidcIdentityToken"].as_str().ok_or("there is no token")?;
        let payload = token.split('.').nth(1).ok_or("the token has no claims")?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|error| error.to_string())?;
        let claims: Value = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
        let key = request["publicKeyRequest"]["publicKey"]["content"].as_str().ok_or("there is no key")?;
        let key: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
        let key = STANDARD.decode(key).map_err(|error| error.to_string())?;
        let (identity, extensions) = workload(&claims);
        let certificate = self.fulcio.issue(&key, &self.certificate_log, &identity, &extensions);
        let chain = [pem(&certificate), pem(&self.fulcio.certificate)];
        Ok(json!({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}))
    }

    fn trusted_root(&self, url: &str) -> Value {
        // Certificates begin to be valid a minute before they are made; the keys begin before that.
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
            let chain: Vec<_> =
                chain.iter().map(|link| json!({"rawBytes": STANDARD.encode(&link.certificate)})).collect();
            json!({
                "subject": {"organization": "stand-in", "commonName": name},
                "uri": format!("{url}{path}"),
                "certChain": {"certificates": chain},
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

/// Who a certificate is for, and what it says of the run (Fulcio, `docs/oid-info.md`).
fn workload(claims: &Value) -> (String, Vec<(u8, String)>) {
    let claim = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    let on_github = |name: &str| format!("https://github.com/{}", claim(name));
    let identity = on_github("job_workflow_ref");
    let run = format!(
        "{}/actions/runs/{}/attempts/{}",
        on_github("repository"),
        claim("run_id"),
        claim("run_attempt")
    );
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
        (12, on_github("repository")),
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

fn refusal(status: u16, sentence: &str) -> Answer {
    Response::from_data(json!({"message": sentence}).to_string()).with_status_code(status)
}
