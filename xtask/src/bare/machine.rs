//! What the root takes over from this machine: apt sources, certificates, and how registries are reached.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::bare::SUITE;
use crate::error::{Context, Result};
use crate::{lab, tools};

/// Tables of a cargo configuration that say where crates come from. The others (compiler flags, wrappers, directories)
/// belong to this machine alone.
const REGISTRY_TABLES: [&str; 5] = ["source", "registries", "registry", "net", "http"];
/// Beginnings of variables that say how a network or a registry is reached.
const REGISTRY_VARIABLES: &str = "\
    CARGO_HTTP_ CARGO_NET_ CARGO_REGISTRIES_ CARGO_REGISTRY_ CARGO_SOURCE_ NPM_CONFIG_REGISTRY PIP_INDEX_URL";
/// Variables that name a file or a directory of certificates.
const CERTIFICATE_VARIABLES: &str = "CURL_CA_BUNDLE GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS PIP_CERT \
    REQUESTS_CA_BUNDLE SSL_CERT_DIR SSL_CERT_FILE";
const FILES: &str = "/etc/hosts /etc/npmrc /etc/pip.conf /etc/resolv.conf /etc/apt/keyrings \
    /etc/apt/trusted.gpg.d /usr/local/share/ca-certificates";

/// The environment of a command in the root, apart from `HOME` and `PATH`.
pub(super) fn environment() -> Vec<(String, String)> {
    env::vars().filter(|(name, _)| is_passed_on(name)).collect()
}

fn is_passed_on(name: &str) -> bool {
    REGISTRY_VARIABLES.split(' ').any(|start| name.to_uppercase().starts_with(start))
        || CERTIFICATE_VARIABLES.split(' ').any(|variable| variable == name)
        || name.to_lowercase().ends_with("_proxy")
        || name == "TERM"
}

pub(super) fn configure(root: &Path) -> Result {
    for file in FILES.split(' ') {
        copy(Path::new(file), root)?;
    }
    for name in CERTIFICATE_VARIABLES.split(' ') {
        if let Some(path) = env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
            && !inside(root, &path).exists()
        {
            copy(&path, root)?;
        }
    }
    apt_sources(root)?;
    let cargo = cargo_configuration(&cargo_files()?)?;
    fs::create_dir_all(root.join("root/.cargo"))?;
    fs::write(root.join("root/.cargo/config.toml"), cargo)?;
    Ok(())
}

/// The machine's sources if it is of the same release, otherwise its mirror with the release of the root.
fn apt_sources(root: &Path) -> Result {
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if os_release.lines().any(|line| line == format!("VERSION_CODENAME={SUITE}")) {
        for file in ["/etc/apt/sources.list", "/etc/apt/sources.list.d"] {
            copy(Path::new(file), root)?;
        }
    } else {
        fs::write(root.join("etc/apt/sources.list"), format!("deb {} {SUITE} main\n", lab::mirror()?))?;
    }
    // Proxies, retries and whether dates are checked.
    let output = Command::new("apt-config").arg("dump").output()?;
    let text = String::from_utf8(output.stdout)?;
    let acquire: Vec<&str> = text.lines().filter(|line| line.starts_with("Acquire::")).collect();
    fs::write(root.join("etc/apt/apt.conf.d/90machine"), acquire.join("\n") + "\n")
        .context("apt's configuration")
}

/// The configuration files that cargo reads here beside this repository's own, the ones with precedence first.
fn cargo_files() -> Result<Vec<PathBuf>> {
    let home = match env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => env::home_dir().context("HOME is not set")?.join(".cargo"),
    };
    let above = tools::workspace().ancestors().skip(1).map(|directory| directory.join(".cargo"));
    let files = above.chain([home]).map(|directory| directory.join("config.toml"));
    Ok(files.filter(|file| file.is_file()).collect())
}

fn cargo_configuration(files: &[PathBuf]) -> Result<String> {
    let mut merged = toml::Table::new();
    for file in files {
        let table: toml::Table =
            fs::read_to_string(file)?.parse().context(format_args!("reading {}", file.display()))?;
        for (name, value) in table {
            if REGISTRY_TABLES.contains(&name.as_str()) {
                merge(merged.entry(name).or_insert_with(|| toml::Table::new().into()), value);
            }
        }
    }
    Ok(merged.to_string())
}

/// Adds the members of `more` that `value` lacks.
fn merge(value: &mut toml::Value, more: toml::Value) {
    if let (Some(table), toml::Value::Table(more)) = (value.as_table_mut(), more) {
        for (name, entry) in more {
            match table.get_mut(&name) {
                Some(known) => merge(known, entry),
                None => drop(table.insert(name, entry)),
            }
        }
    }
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Copies a file or a directory to the same path in the root. Symbolic links are followed.
fn copy(from: &Path, root: &Path) -> Result {
    if !from.exists() {
        return Ok(());
    }
    let to = inside(root, from);
    if !from.is_dir() {
        fs::create_dir_all(to.parent().unwrap_or(root))?;
        return fs::copy(from, &to).map(drop).context(to.display());
    }
    fs::create_dir_all(&to)?;
    for entry in fs::read_dir(from)? {
        copy(&entry?.path(), root)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_to_registries_is_passed_on() {
        for name in
            ["CARGO_REGISTRIES_X_INDEX", "https_proxy", "NO_PROXY", "SSL_CERT_FILE", "npm_config_registry"]
        {
            assert!(is_passed_on(name), "{name}");
        }
        for name in ["RUSTFLAGS", "CARGO_TARGET_DIR", "GITHUB_TOKEN", "PATH", "HOME", "XDG_CACHE_HOME"] {
            assert!(!is_passed_on(name), "{name}");
        }
    }

    #[test]
    fn the_nearer_cargo_configuration_has_precedence_and_compiler_settings_stay_here() {
        let directory = tempfile::tempdir().unwrap();
        let files = ["a.toml", "b.toml"].map(|name| directory.path().join(name));
        fs::write(&files[0], "[net]\nretry = 5\n[build]\nrustc-wrapper = \"sccache\"\n").unwrap();
        fs::write(&files[1], "[net]\nretry = 1\noffline = false\n[source.crates-io]\nreplace-with = \"x\"\n")
            .unwrap();
        let table: toml::Table = cargo_configuration(&files).unwrap().parse().unwrap();
        assert_eq!(table["net"]["retry"].as_integer(), Some(5));
        assert_eq!(table["net"]["offline"].as_bool(), Some(false));
        assert_eq!(table["source"]["crates-io"]["replace-with"].as_str(), Some("x"));
        assert!(!table.contains_key("build"));
    }
}
