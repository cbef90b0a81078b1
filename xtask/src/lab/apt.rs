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
    pub(crate) mirror: String,
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
        let mut debs = tools::files_below(from)?;
        debs.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
        if debs.is_empty() {
            return Err("apt-get downloaded no .deb".into());
        }
        for deb in debs {
            let what = format!("unpacking {}", deb.display());
            let mut unpack = Command::new("dpkg-deb");
            tools::run_logged(&what, unpack.arg("--extract").arg(deb).arg(directory), &self.log)?;
        }
        Ok(())
    }

    /// Downloads a file of a source package by its name and checksum to `to`.
    ///
    /// Not `apt-get source`: a mirror may still have the tarball of a release without its packaging.
    pub(crate) fn source_file(&self, package: &str, file: &str, sha256: &str, to: &Path) -> Result {
        let root = self.directory.path();
        let output = self.command("apt-cache", &["showsrc", package], root).output()?;
        let listing = String::from_utf8_lossy(&output.stdout).into_owned();
        let has_file = |stanza: &&str| {
            [format!(" {sha256} "), format!(" {file}\n")].iter().all(|it| stanza.contains(it))
        };
        let directory =
            |text: &'_ str| text.lines().find_map(|line| line.strip_prefix("Directory: ")).map(str::to_owned);
        // The files of a former version stay in the directory for a while, but not in the list.
        let place =
            listing.split("\n\n").filter(has_file).find_map(directory).or_else(|| directory(&listing));
        let place = place.context(format_args!(
            "no source package {package} is on the mirror, which should have {file}"
        ))?;
        let url = format!("{}/{place}/{file}", self.mirror.trim_end_matches('/'));
        let to = to.to_str().context("the path is not UTF-8")?;
        let arguments = ["download-file", &url, to, &format!("SHA256:{sha256}")];
        let download = self.command("/usr/lib/apt/apt-helper", &arguments, root);
        tools::run_logged(&format!("downloading {file}"), &download, &self.log)
    }

    fn command(&self, program: &str, arguments: &[&str], directory: &Path) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).env("LC_ALL", "C");
        command.env("APT_CONFIG", self.directory.path().join("apt.conf"));
        command
    }
}

/// The Debian archive in the machine's apt sources: the first one with a `main` that is not for security updates.
pub(crate) fn mirror() -> Result<String> {
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
    let mut targets = Command::new("apt-get");
    let output = targets.args(["indextargets", "--format", format, "Created-By: Packages"]).output()?;
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let archive = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [address, suite, "main", ..] if !suite.contains("security") => {
            address.trim_end_matches('/').ends_with("/debian").then(|| address.to_owned())
        }
        _ => None,
    };
    listing
        .lines()
        .find_map(archive)
        .context("the machine's apt sources name no Debian archive, from which the lab takes its packages")
}
