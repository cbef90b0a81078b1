//! Registry credentials from the files and helpers of podman and docker.
//!
//! Formats: containers-auth.json(5) of podman, `config.json` of docker, and docker's credential helper protocol.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use kmod_query::registry::{Credential, CredentialLookupError, CredentialProvider, Secret};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::io::cmd::{Cmd, CmdError, Line};
use crate::model::image::Repository;

/// Files, then `GITHUB_TOKEN`; the first credential for the repository is used.
#[derive(Clone, Debug, Default)]
pub struct CredentialSources {
    files: Vec<AuthFile>,
    github_token: Option<Credential>,
}

#[derive(Clone, Debug)]
struct AuthFile {
    path: PathBuf,
    /// Named by the user, so it must exist.
    required: bool,
}

impl CredentialSources {
    /// The sources named by environment variables.
    ///
    /// `REGISTRY_AUTH_FILE` excludes all other files. Else podman's `$XDG_RUNTIME_DIR/containers/auth.json` and
    /// `$XDG_CONFIG_HOME/containers/auth.json` and docker's `$DOCKER_CONFIG/config.json` are tried. For `ghcr.io`,
    /// `GITHUB_TOKEN` comes last, because it may not be meant for the registry.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let directory = |name: &str| variable(name).map(PathBuf::from);
        let home = |rest: &str| directory("HOME").map(|home| home.join(rest));
        let files = match directory("REGISTRY_AUTH_FILE") {
            Some(path) => vec![AuthFile { path, required: true }],
            None => [
                directory("XDG_RUNTIME_DIR").map(|runtime| runtime.join("containers/auth.json")),
                directory("XDG_CONFIG_HOME")
                    .or_else(|| home(".config"))
                    .map(|d| d.join("containers/auth.json")),
                directory("DOCKER_CONFIG")
                    .or_else(|| home(".docker"))
                    .map(|docker| docker.join("config.json")),
            ]
            .into_iter()
            .flatten()
            .map(|path| AuthFile { path, required: false })
            .collect(),
        };
        let text = |name: &str| variable(name)?.into_string().ok();
        let github_token = text("GITHUB_TOKEN").map(|token| Credential {
            secret: Secret::Password {
                // GHCR requires a user but checks only the token.
                user: text("GITHUB_ACTOR").unwrap_or_else(|| "x-access-token".into()),
                password: token.into(),
            },
            origin: "GITHUB_TOKEN".into(),
        });
        Self { files, github_token }
    }

    /// The credential for a repository: the entry with the longest matching prefix, as in podman.
    pub async fn find(&self, repository: &Repository) -> Result<Option<Credential>, CredentialError> {
        for file in &self.files {
            if let Some(credential) = file.find(repository).await? {
                return Ok(Some(credential));
            }
        }
        Ok(self.github_token.clone().filter(|_| repository.host() == "ghcr.io"))
    }
}

impl CredentialProvider for CredentialSources {
    fn lookup<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> BoxFuture<'a, Result<Option<Credential>, CredentialLookupError>> {
        self.find(repository)
            .map(|found| found.map_err(|error| Box::new(error) as CredentialLookupError))
            .boxed()
    }
}

impl AuthFile {
    async fn find(&self, repository: &Repository) -> Result<Option<Credential>, CredentialError> {
        let text = match tokio::fs::read(&self.path).await {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.required => return Ok(None),
            Err(error) => return Err(CredentialError::Unreadable { path: self.path.clone(), source: error }),
        };
        // The parser's message could quote a secret; only its position is reported.
        let config: Config = serde_json::from_slice(&text).map_err(|error| CredentialError::Malformed {
            path: self.path.clone(),
            line: error.line(),
            column: error.column(),
        })?;
        let server = match repository.host() {
            // Docker's name of Docker Hub.
            "docker.io" => "https://index.docker.io/v1/",
            host => host,
        };
        if let Some(helper) = config.helpers.get(repository.host()) {
            return ask_helper(helper, repository.host()).await;
        }
        if let Some(entry) = longest_match(&config.auths, repository)
            && let Some(secret) = entry.secret(&self.path)?
        {
            return Ok(Some(Credential { secret, origin: self.path.display().to_string() }));
        }
        match &config.store {
            Some(helper) => ask_helper(helper, server).await,
            None => Ok(None),
        }
    }
}

#[derive(Default, Deserialize)]
struct Config {
    #[serde(default)]
    auths: HashMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: HashMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

/// Docker leaves empty entries when it uses a credential store.
#[derive(Default, Deserialize)]
struct Entry {
    auth: Option<SecretString>,
    #[serde(rename = "identitytoken")]
    identity_token: Option<SecretString>,
}

impl Entry {
    fn secret(&self, path: &Path) -> Result<Option<Secret>, CredentialError> {
        if let Some(token) = self.identity_token.as_ref().filter(|token| !token.expose_secret().is_empty()) {
            return Ok(Some(Secret::IdentityToken(token.clone())));
        }
        let Some(pair) = self.auth.as_ref().filter(|pair| !pair.expose_secret().is_empty()) else {
            return Ok(None);
        };
        let decoded = base64::prelude::BASE64_STANDARD
            .decode(pair.expose_secret().trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((user, password)) => Ok(Some(Secret::Password {
                user: user.to_owned(),
                // Docker pads with zero bytes.
                password: password.trim_matches('\0').into(),
            })),
            None => Err(CredentialError::InvalidAuth { path: path.to_owned() }),
        }
    }
}

/// `host/a/b`, `host/a`, `host`, then docker's old spellings (`https://host/v1/`).
fn longest_match<'a>(auths: &'a HashMap<String, Entry>, repository: &Repository) -> Option<&'a Entry> {
    let whole = repository.to_string();
    let beginnings = std::iter::successors(Some(whole.as_str()), |name| Some(name.rsplit_once('/')?.0));
    beginnings.into_iter().find_map(|name| auths.get(name)).or_else(|| {
        let host = |key: &str| {
            let name = key.trim_start_matches("https://").trim_start_matches("http://");
            let name = name.split('/').next().unwrap_or(name);
            if matches!(name, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { name }
                .to_owned()
        };
        let old = |key: &&String| key.contains("://") && host(key) == repository.host();
        auths.keys().filter(old).min().and_then(|key| auths.get(key))
    })
}

/// What the helpers of desktops and clouds read.
const HELPER_VARIABLES: &[&str] = &[
    "AWS_*",
    "AZURE_*",
    "CLOUDSDK_*",
    "GOOGLE_*",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "DOCKER_CONFIG",
    "GNUPGHOME",
    "GPG_TTY",
    "PASSWORD_STORE_*",
    "WAYLAND_DISPLAY",
    "XDG_*",
];

/// Credential helper protocol: server name on standard input, JSON on standard output.
async fn ask_helper(helper: &str, server: &str) -> Result<Option<Credential>, CredentialError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct HelperOutput {
        username: String,
        secret: SecretString,
    }
    let fail = |source| CredentialError::Helper { server: server.to_owned(), source };
    let program = format!("docker-credential-{helper}");
    let cmd = Cmd::new(program).arg("get").input(server).inherit(HELPER_VARIABLES);
    let mut output = String::new();
    let finished = cmd
        .stream(|line| {
            if let Line::Out(text) = line {
                output.push_str(text);
            }
        })
        .await
        .map_err(fail)?;
    // In the helper protocol, a failing status with this message means that there is no credential.
    if !finished.status.success() && output.contains("credentials not found") {
        return Ok(None);
    }
    cmd.succeeded(finished).map_err(fail)?;
    let output: HelperOutput = serde_json::from_str(&output)
        .map_err(|_| CredentialError::HelperAnswer { program: cmd.to_string(), server: server.to_owned() })?;
    let secret = match output.username.as_str() {
        "<token>" => Secret::IdentityToken(output.secret),
        _ => Secret::Password { user: output.username, password: output.secret },
    };
    Ok(Some(Credential { secret, origin: format!("`docker-credential-{helper}`") }))
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CredentialError {
    #[error("could not read the credentials in {}: {source}", path.display())]
    #[diagnostic(help(
        "correct REGISTRY_AUTH_FILE or the file's permissions, or sign in with `podman login`"
    ))]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}:{column} is not valid JSON of a credentials file", path.display())]
    #[diagnostic(help("move the file away and sign in again with `podman login`"))]
    Malformed { path: PathBuf, line: usize, column: usize },
    #[error("an `auth` in {} is not the base64 of `user:password`", path.display())]
    #[diagnostic(help("sign in again with `podman login`"))]
    InvalidAuth { path: PathBuf },
    #[error("could not obtain a credential for {server}: {source}")]
    #[diagnostic(help("run the helper yourself, or sign in with `podman login {server}`"))]
    Helper { server: String, source: CmdError },
    #[error("invalid output of `{program}` for {server}")]
    #[diagnostic(help("run the helper yourself, or sign in with `podman login {server}`"))]
    HelperAnswer { program: String, server: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `user` at each place that has an account in the file.
    const FILE: &str = r#"{
        "auths": {
            "ghcr.io": {"auth": "aG9zdDpv"},
            "ghcr.io/owner": {"auth": "b3duZXI6cA=="},
            "ghcr.io/owner/zfs-kmods": {"auth": "cmVwbzpwOnE="},
            "https://index.docker.io/v1/": {"auth": "aHViOnA="},
            "azure.example": {"identitytoken": "refresh"},
            "empty.example": {}
        }
    }"#;

    async fn user(sources: &CredentialSources, repository: &str) -> Option<String> {
        match sources.find(&repository.parse().unwrap()).await.unwrap()?.secret {
            Secret::Password { user, password } => Some(format!("{user}:{}", password.expose_secret())),
            Secret::IdentityToken(token) => Some(format!("<token>:{}", token.expose_secret())),
        }
    }

    fn sources(file: &Path, more: &'static [(&str, &str)]) -> CredentialSources {
        let file = file.as_os_str().to_owned();
        CredentialSources::from_variables(move |name| match name {
            "REGISTRY_AUTH_FILE" => Some(file.clone()),
            _ => more.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into()),
        })
    }

    #[tokio::test]
    async fn the_longest_matching_entry_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("auth.json");
        std::fs::write(&file, FILE).unwrap();
        let sources = sources(&file, &[("GITHUB_TOKEN", "ghs")]);
        let user = async |repository| user(&sources, repository).await;
        assert_eq!(user("ghcr.io/owner/zfs-kmods").await.as_deref(), Some("repo:p:q"));
        assert_eq!(user("ghcr.io/owner/other").await.as_deref(), Some("owner:p"));
        assert_eq!(user("ghcr.io/owner2/zfs-kmods").await.as_deref(), Some("host:o"));
        assert_eq!(user("docker.io/library/fedora").await.as_deref(), Some("hub:p"));
        assert_eq!(user("azure.example/x").await.as_deref(), Some("<token>:refresh"));
        assert_eq!(user("empty.example/x").await, None);
        assert_eq!(user("quay.io/x").await, None);
    }

    #[tokio::test]
    async fn the_github_token_is_for_ghcr_only() {
        let sources = CredentialSources::from_variables(|name| match name {
            "GITHUB_TOKEN" => Some("ghs".into()),
            _ => None,
        });
        assert_eq!(user(&sources, "ghcr.io/a/b").await.as_deref(), Some("x-access-token:ghs"));
        assert_eq!(user(&sources, "ghcr.io.example.org/a/b").await, None);
        assert!(!format!("{sources:?}").contains("ghs"), "a secret in a debug text");
    }

    #[tokio::test]
    async fn bad_files_are_named_without_their_content() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("auth.json");
        let error =
            async || sources(&file, &[]).find(&"ghcr.io/x".parse().unwrap()).await.unwrap_err().to_string();
        assert!(error().await.contains("could not read"));
        std::fs::write(&file, r#"{"auths": {"ghcr.io": {"auth": "c2VjcmV0"}}}"#).unwrap();
        assert!(error().await.contains("is not the base64 of `user:password`"));
        std::fs::write(&file, r#"{"auths": secret"#).unwrap();
        assert!(error().await.contains("auth.json:1:11") && !error().await.contains("secret"));
    }
}
