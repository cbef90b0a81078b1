//! The key in place of Fedora's, which signs the kernel packages.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Result};
use crate::lab::cache::{CacheKey, LabCache};
use crate::lab::make::fedora;
use crate::tools;

const USER: &str = "Fedora (stand-in of the lab)";

/// The directory with the key, and with the list of keys that the program accepts.
pub(crate) fn key(cache: &LabCache) -> Result<PathBuf> {
    cache.entry("fedora-key", CacheKey::new().with(USER).with(fedora::RELEASE), |directory| {
        tools::need(&[("gpg", "gnupg"), ("rpmsign", "rpm")])?;
        let home = home(directory);
        DirBuilder::new().mode(0o700).create(&home)?;
        let gpg = |arguments: &[&str]| {
            let mut gpg = Command::new("gpg");
            gpg.args(["--batch", "--homedir"]).arg(&home).args(arguments);
            gpg
        };
        let generate = ["--passphrase", "", "--quick-generate-key", USER, "rsa3072", "sign", "never"];
        tools::run_logged("making Fedora's key", &gpg(&generate), &cache.log("fedora-key"))?;
        let armor = String::from_utf8(tools::output(&gpg(&["--armor", "--export"]))?)?;
        let listed = String::from_utf8(tools::output(&gpg(&["--with-colons", "--list-keys"]))?)?;
        let fingerprint = listed.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap_or_default();
        let fingerprint = fingerprint.trim_matches(':');
        let list = format!(
            "[[key]]\nfedora = \"{}\"\nfingerprint = \"{fingerprint}\"\nsource = \"https://example.org/\"\n\
             armor = \"\"\"\n{armor}\"\"\"\n",
            fedora::RELEASE
        );
        fs::write(list_in(directory), list)?;
        // Its socket is in the directory, which is renamed.
        let mut end = Command::new("gpgconf");
        end.arg("--homedir").arg(&home).args(["--kill", "gpg-agent"]);
        tools::output(&end).context("ending gpg-agent").map(drop)
    })
}

/// For `ZFS_KMODS_FEDORA_KEYS`.
pub(crate) fn list_in(key: &Path) -> PathBuf {
    key.join("fedora-keys.toml")
}

fn home(key: &Path) -> PathBuf {
    key.join("gnupg")
}

pub(crate) fn sign(key: &Path, rpms: &[PathBuf], log: &Path) -> Result {
    let mut rpmsign = Command::new("rpmsign");
    let home = format!("_gpg_path {}", home(key).display());
    // Debian's rpm looks for gpg2, which its gnupg does not install.
    for define in [home, format!("_gpg_name {USER}"), "__gpg /usr/bin/gpg".to_owned()] {
        rpmsign.args(["--define", &define]);
    }
    rpmsign.arg("--addsign").args(rpms);
    tools::run_logged("signing the kernel packages", &rpmsign, log)
}
