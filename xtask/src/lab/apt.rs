//! Packages and sources of other Debian releases, from the machine's mirror, through a private apt root: the machine's apt
//! state is not used.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Result};
use crate::lab::cache::LabCache;
use crate::tools;

/// The Debian release used in place of Fedora: its compiler and rpm have the same age.
pub(crate) const SUITE: &str = "trixie";
/// Suites with the sources of OpenZFS releases.
const SOURCE_SUITES: [&str; 3] = [SUITE, "trixie-backports", "sid"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A private apt root with fresh lists.
pub(crate) struct Apt {
    directory: tempfile::TempDir,
    mirror: String,
    log: PathBuf,
}

impl Apt {
    pub(crate) fn open(cache: &LabCache) -> Result<Self> {
        Self::of(cache, SUITE)
    }

    /// With the packages of another release.
    pub(crate) fn of(cache: &LabCache, suite: &str) -> Result<Self> {
        tools::need(&[("apt-get", "apt"), ("setpriv", "util-linux"), ("dpkg-deb", "dpkg")])?;
        let apt = Self { directory: cache.scratch()?, mirror: mirror()?, log: cache.log("apt") };
        let root = apt.directory.path();
        for directory in ["state", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::write(root.join("status"), "")?;
        let mut sources = format!("deb [signed-by={KEYRING}] {} {suite} main\n", apt.mirror);
        for suite in SOURCE_SUITES {
            let _ = writeln!(sources, "deb-src [signed-by={KEYRING}] {} {suite} contrib", apt.mirror);
        }
        fs::write(root.join("sources.list"), sources)?;
        let at = root.display();
        let configuration = format!(
            "Dir::State \"{at}/state\";\nDir::State::Lists \"{at}/lists\";\nDir::State::status \"{at}/status\";\n\
             Dir::Cache \"{at}/cache\";\nDir::Etc::sourcelist \"{at}/sources.list\";\nDir::Etc::sourceparts \"-\";\n\
             Dir::Etc::preferencesparts \"-\";\nAcquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\n"
        );
        fs::write(root.join("apt.conf"), configuration)?;
        tools::run_logged("apt-get update (private)", &apt.command("apt-get", &["update"], root), &apt.log)?;
        Ok(apt)
    }

    pub(crate) fn mirror(&self) -> &str {
        &self.mirror
    }

    /// Downloads a binary package and unpacks it into `directory`.
    pub(crate) fn unpack(&self, package: &str, directory: &Path) -> Result {
        let inside = tempfile::tempdir_in(self.directory.path())?;
        let download = self.command("apt-get", &["download", package], inside.path());
        tools::run_logged(&format!("downloading {package}"), &download, &self.log)?;
        self.unpack_debs(inside.path(), directory)
    }

    /// Downloads binary packages with their dependencies and unpacks them into `directory`. Nothing is configured.
    pub(crate) fn unpack_with_dependencies(&self, packages: &[&str], directory: &Path) -> Result {
        let mut arguments = vec!["install", "--yes", "--download-only", "--no-install-recommends"];
        arguments.extend(packages);
        let download = self.command("apt-get", &arguments, self.directory.path());
        tools::run_logged(&format!("downloading {}", packages.join(", ")), &download, &self.log)?;
        self.unpack_debs(&self.directory.path().join("cache/archives"), directory)
    }

    fn unpack_debs(&self, from: &Path, directory: &Path) -> Result {
        let debs: Vec<PathBuf> = fs::read_dir(from)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .collect();
        if debs.is_empty() {
            return Err("apt-get downloaded no .deb".into());
        }
        for deb in debs {
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("--extract").arg(&deb).arg(directory);
            tools::run_logged(&format!("unpacking {}", deb.display()), &unpack, &self.log)?;
        }
        Ok(())
    }

    /// Downloads a file of a source package by its name and checksum to `to`.
    ///
    /// Not `apt-get source`: a mirror may still have the tarball of a release without its packaging.
    pub(crate) fn source_file(&self, package: &str, file: &str, sha256: &str, to: &Path) -> Result {
        let output = self.command("apt-cache", &["showsrc", package], self.directory.path()).output()?;
        let listing = String::from_utf8_lossy(&output.stdout).into_owned();
        let place = listing
            .split("\n\n")
            .filter(|stanza| {
                stanza.contains(&format!(" {sha256} ")) && stanza.contains(&format!(" {file}\n"))
            })
            .find_map(|stanza| stanza.lines().find_map(|line| line.strip_prefix("Directory: ")))
            .context(format_args!(
                "no source package {package} on the mirror has {file} with sha256 {sha256}"
            ))?;
        let url = format!("{}/{place}/{file}", self.mirror.trim_end_matches('/'));
        let expected = format!("SHA256:{sha256}");
        let to = to.to_str().context("the path is not UTF-8")?;
        let download = self.command(
            "/usr/lib/apt/apt-helper",
            &["download-file", &url, to, &expected],
            self.directory.path(),
        );
        tools::run_logged(&format!("downloading {file}"), &download, &self.log)
    }

    fn command(&self, program: &str, arguments: &[&str], directory: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(directory)
            .env("APT_CONFIG", self.directory.path().join("apt.conf"));
        command.env("LC_ALL", "C");
        command
    }
}

/// The Debian archive in the machine's apt sources: the first one with a `main` that is not for security updates.
pub(crate) fn mirror() -> Result<String> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"])
        .output()?;
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    listing
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?, words.next()?))
        })
        .find(|(address, suite, component)| {
            *component == "main"
                && !suite.contains("security")
                && address.trim_end_matches('/').ends_with("/debian")
        })
        .map(|(address, ..)| address.to_owned())
        .context("the machine's apt sources name no Debian archive, from which the lab takes its packages")
}
