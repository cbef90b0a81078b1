//! All environment variables that clap does not read. An empty variable counts as unset, because GitHub Actions passes
//! unset inputs and secrets as empty.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ValueEnum as _;
use secrecy::SecretString;

use crate::model::ci_report;
use crate::model::podman::Isolation;

/// `None` if unset, empty or not UTF-8.
pub fn variable(name: &str) -> Option<String> {
    os_variable(name)?.into_string().ok()
}

pub fn path(name: &str) -> Option<PathBuf> {
    os_variable(name).map(PathBuf::from)
}

pub fn secret(name: &str) -> Option<SecretString> {
    variable(name).filter(|text| !text.trim().is_empty()).map(SecretString::from)
}

/// The set variables with these names; a name that ends in `*` stands for all that begin with it.
pub fn matching(names: &[&str]) -> Vec<(OsString, OsString)> {
    let is_named = |variable: &OsString| {
        let variable = variable.to_string_lossy();
        names.iter().any(|name| match name.strip_suffix('*') {
            Some(beginning) => variable.starts_with(beginning),
            None => variable == *name,
        })
    };
    std::env::vars_os().filter(|(variable, _)| is_named(variable)).collect()
}

pub fn os_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// True for `true`, as GitHub Actions expressions print it.
pub fn flag(name: &str) -> bool {
    variable(name).is_some_and(|value| value == "true")
}

/// Without the program's name.
pub fn arguments() -> Vec<String> {
    std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// Not a flag, because other users of the machine can read command lines.
pub fn github_token() -> Option<SecretString> {
    secret("GITHUB_TOKEN")
}

pub fn in_github_actions() -> bool {
    flag("GITHUB_ACTIONS")
}

/// URL of the repository at GitHub in whose workflow the program runs.
pub fn source_repository() -> Option<String> {
    Some(format!("{}/{}", variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?))
}

pub fn run_url() -> Option<String> {
    Some(format!("{}/actions/runs/{}", source_repository()?, variable("GITHUB_RUN_ID")?))
}

/// What the workflow asks for, or what its branch implies.
pub fn promotion_channel() -> Option<String> {
    let [branch, requested] = ["GITHUB_REF_NAME", "ZFS_KMODS_CHANNEL"].map(variable);
    ci_report::promotion_channel(branch.as_deref(), requested.as_deref())
}

/// podman's own variable (buildah(1)).
pub fn isolation() -> Isolation {
    let named = variable("BUILDAH_ISOLATION").and_then(|name| Isolation::from_str(&name, true).ok());
    named.unwrap_or_default()
}

/// Default of `--cache` (XDG Base Directory Specification; systemd.exec(5)). `None` if there is no private directory:
/// in a shared directory, another user may own the name.
pub fn cache_directory() -> Option<PathBuf> {
    let directory = path("XDG_CACHE_HOME")
        .or_else(|| path("HOME").map(|home| home.join(".cache")))
        .or_else(|| path("CACHE_DIRECTORY"))?;
    Some(directory.join("zfs-kmods"))
}
