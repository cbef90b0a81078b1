//! The variables that are read outside of clap; nothing else reads the environment. An empty variable counts as unset,
//! because GitHub Actions passes unset inputs and secrets so.

use std::ffi::OsString;
use std::path::PathBuf;

use secrecy::SecretString;

/// The text of a variable; `None` if it is unset, empty or not UTF-8.
pub fn variable(name: &str) -> Option<String> {
    os_variable(name)?.into_string().ok()
}

/// A variable that names a file or directory.
pub fn path(name: &str) -> Option<PathBuf> {
    os_variable(name).map(PathBuf::from)
}

/// A variable that holds a token, key or password.
pub fn secret(name: &str) -> Option<SecretString> {
    variable(name).filter(|text| !text.trim().is_empty()).map(SecretString::from)
}

/// The bytes of a variable.
pub fn os_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Whether a variable says `true`, as an expression of GitHub Actions does.
pub fn flag(name: &str) -> bool {
    variable(name).is_some_and(|value| value == "true")
}

/// The command line after the program's name.
pub fn arguments() -> Vec<String> {
    std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// The token for GitHub's API. Never a flag: other users of the machine can read command lines.
pub fn github_token() -> Option<SecretString> {
    secret("GITHUB_TOKEN")
}

/// Whether this process runs in a step of GitHub Actions.
pub fn in_github_actions() -> bool {
    flag("GITHUB_ACTIONS")
}

/// The page of the workflow run that this process belongs to.
pub fn run_url() -> Option<String> {
    let (server, repository) = (variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?);
    Some(format!("{server}/{repository}/actions/runs/{}", variable("GITHUB_RUN_ID")?))
}

/// The default of `--cache`, by the XDG Base Directory Specification.
pub fn cache_directory() -> PathBuf {
    path("XDG_CACHE_HOME")
        .or_else(|| path("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("zfs-kmods")
}
