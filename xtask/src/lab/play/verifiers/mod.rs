//! cosign, skopeo, sigstore-go and oras, which check what the program publishes. They come from Debian sid: cosign 3 is
//! only there, and stable's skopeo has signatures compiled out.

mod readme;
mod tamper;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use readme::ReadmeSignatures;
use serde_json::Value;

use crate::error::{Context, Result};
use crate::lab::apt::Apt;
use crate::lab::cache::{CacheKey, LabCache};
use crate::tools;

const SUITE: &str = "sid";
/// Packages with static programs.
const STATIC: [&str; 3] = ["cosign", "oras", "sigstore-go"];
/// skopeo needs the libraries of its release and runs in a root of its own.
const WITH_LIBRARIES: [&str; 3] = ["skopeo", "bash", "coreutils"];

pub(crate) struct Verifiers {
    root: PathBuf,
}

pub(crate) struct KeyPair {
    /// Cosign's encrypted key, for `--key`.
    pub(crate) private: PathBuf,
    /// For verifiers.
    pub(crate) public: PathBuf,
}

impl KeyPair {
    /// For `COSIGN_PASSWORD`.
    pub(crate) const PASSWORD: &str = "the lab's";
}

pub(crate) struct LabImage<'a> {
    /// Host and repository: `127.0.0.1:5855/zfs-kmods`.
    pub(crate) repository: &'a str,
    pub(crate) digest: &'a str,
}

impl LabImage<'_> {
    fn pinned(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }

    /// The digest as a tag: of the referrers index without a suffix, of the signatures with `.sig`.
    fn tag(&self, suffix: &str) -> String {
        format!("{}:{}{suffix}", self.repository, self.digest.replace(':', "-"))
    }
}

/// The program's name, and its reason if it rejects the image.
type VerifierResult = (String, std::result::Result<(), String>);

impl Verifiers {
    pub(crate) fn fetch(cache: &LabCache) -> Result<Self> {
        tools::need(&[("chroot", "coreutils")])?;
        let words = STATIC.iter().chain(&WITH_LIBRARIES);
        let key = words.fold(CacheKey::new().with(SUITE), CacheKey::with);
        let root = cache.entry("verifiers", key, |directory| {
            let apt = Apt::of(cache, SUITE)?;
            for package in STATIC {
                apt.unpack(package, &directory.join("static"))?;
            }
            let root = directory.join("skopeo");
            apt.unpack_with_dependencies(&WITH_LIBRARIES, &root)?;
            for name in ["bin", "lib", "lib64", "sbin"].into_iter().filter(|name| !root.join(name).exists()) {
                std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name))?;
            }
            fs::create_dir_all(root.join("dev"))?;
            fs::create_dir_all(root.join("work"))?;
            // A file, because some file systems do not allow device nodes.
            Ok(fs::write(root.join("dev/null"), "")?)
        })?;
        Ok(Self { root })
    }

    pub(crate) fn key_pair(&self, directory: &Path) -> Result<KeyPair> {
        fs::create_dir_all(directory)?;
        let mut command = self.program("cosign");
        command.env("COSIGN_PASSWORD", KeyPair::PASSWORD).current_dir(directory);
        tools::output(command.arg("generate-key-pair"))?;
        Ok(KeyPair { private: directory.join("cosign.key"), public: directory.join("cosign.pub") })
    }

    /// Every program accepts the image with its key; none with another key, or after a character of the evidence changed.
    pub(crate) fn check(&self, image: &LabImage<'_>, key: &KeyPair, other: &KeyPair) -> Result<String> {
        let accepted = self.accept(image, key)?;
        all_refuse("another key", &self.verdicts(image, &other.public)?)?;
        let refused = self.while_changed(image, || self.verdicts(image, &key.public))?;
        all_refuse("changed evidence", &refused)?;
        Ok(format!("{accepted} programs accept it, and reject another key and changed evidence"))
    }

    /// Every program accepts the image with this key. Returns the number of programs.
    pub(crate) fn accept(&self, image: &LabImage<'_>, key: &KeyPair) -> Result<usize> {
        let verdicts = self.verdicts(image, &key.public)?;
        for (program, verdict) in &verdicts {
            verdict.as_ref().context(format_args!("{program} rejects {}", image.pinned()))?;
        }
        Ok(verdicts.len())
    }

    /// Runs `work` while one character of each piece of the image's evidence is changed.
    pub(crate) fn while_changed<T>(
        &self,
        image: &LabImage<'_>,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let changed = tamper::change(self, image)?;
        let done = work();
        changed.restore()?;
        done
    }

    /// Every tag of a repository with its digest.
    pub(crate) fn tags(&self, repository: &str) -> Result<BTreeMap<String, String>> {
        let tags = self.oras(&["repo", "tags"], repository)?;
        let resolve = |tag: &str| {
            let digest = self.oras(&["resolve"], &format!("{repository}:{tag}"))?;
            Ok((tag.to_owned(), digest.trim().to_owned()))
        };
        tags.lines().map(resolve).collect()
    }

    /// Points a tag to an image: `HOST/NAME:TAG`.
    pub(crate) fn tag(&self, image: &str, tag: &str) -> Result {
        self.oras(&["tag", image], tag).map(drop)
    }

    /// Every program rejects an unsigned image.
    pub(crate) fn check_unsigned(&self, image: &LabImage<'_>, key: &KeyPair) -> Result<String> {
        all_refuse("an unsigned image", &self.verdicts(image, &key.public)?)?;
        Ok("rejected by all".to_owned())
    }

    pub(crate) fn discover(&self, image: &LabImage<'_>) -> Result<Vec<String>> {
        let kind = |entry: &Value| {
            entry["annotations"]["dev.sigstore.bundle.predicateType"].as_str().map(str::to_owned)
        };
        let mut kinds: Vec<_> = self.referring(image)?.iter().filter_map(kind).collect();
        kinds.sort();
        Ok(kinds)
    }

    /// The digests of an image's referrers.
    pub(crate) fn referrers(&self, image: &LabImage<'_>) -> Result<Vec<String>> {
        let digest = |entry: &Value| entry["digest"].as_str().map(str::to_owned);
        Ok(self.referring(image)?.iter().filter_map(digest).collect())
    }

    fn referring(&self, image: &LabImage<'_>) -> Result<Vec<Value>> {
        let tree: Value =
            serde_json::from_str(&self.oras(&["discover", "--format", "json"], &image.pinned())?)?;
        let entries = tree["referrers"].as_array().or_else(|| tree["manifests"].as_array());
        Ok(entries.context("oras lists no referrers")?.clone())
    }

    pub(crate) fn is_there(&self, image: &LabImage<'_>) -> Result<bool> {
        match self.oras(&["resolve"], &image.pinned()) {
            Ok(_) => Ok(true),
            Err(error) if error.to_string().contains("not found") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// sigstore-go accepts a bundle for the workflow that signed it, and rejects it for another one.
    pub(crate) fn check_keyless(
        &self,
        bundle: &Path,
        digest: &str,
        workflow: &str,
        trusted_root: &Path,
    ) -> Result<String> {
        let check = |identity: &str| {
            let mut command = self.program("sigstore-go-verification");
            command.args(["-artifact-digest", digest.trim_start_matches("sha256:")]);
            command.args(["-expectedIssuer", "https://token.actions.githubusercontent.com"]);
            command.args(["-expectedSAN", identity, "-trustedrootJSONpath"]).args([trusted_root, bundle]);
            verdict(&command)
        };
        check(workflow)??;
        if check(&format!("{workflow}-other"))?.is_ok() {
            return Err("sigstore-go accepts the bundle as that of another workflow".into());
        }
        Ok("accepted by sigstore-go for its workflow only".to_owned())
    }

    fn verdicts(&self, image: &LabImage<'_>, key: &Path) -> Result<Vec<VerifierResult>> {
        let readme = ReadmeSignatures::read(image.repository, image.digest, &key.display().to_string())?;
        let mut verdicts = Vec::new();
        for arguments in readme.commands("cosign")? {
            let mut command = self.program("cosign");
            // The lab's registry has no TLS.
            command.args(&arguments).arg("--allow-http-registry");
            let name = arguments.iter().take_while(|word| !word.starts_with("--key")).cloned();
            verdicts.push((format!("cosign {}", name.collect::<Vec<_>>().join(" ")), verdict(&command)?));
        }
        verdicts.push(("skopeo".to_owned(), self.skopeo(image, key)?));
        Ok(verdicts)
    }

    /// The check that podman, bootc and rpm-ostree do before a pull.
    fn skopeo(&self, image: &LabImage<'_>, key: &Path) -> Result<std::result::Result<(), String>> {
        let root = self.root.join("skopeo");
        let work = tempfile::tempdir_in(root.join("work"))?;
        let inside = format!("/{}", work.path().strip_prefix(&root)?.display());
        let key_inside = format!("{inside}/key.pub");
        let readme = ReadmeSignatures::read(image.repository, image.digest, &key_inside)?;
        fs::copy(key, work.path().join("key.pub"))?;
        fs::write(work.path().join("policy.json"), readme.block("json")?)?;
        fs::create_dir(work.path().join("registries.d"))?;
        fs::write(work.path().join("registries.d/zfs-kmods.yaml"), readme.block("yaml")?)?;
        let mut command = Command::new("chroot");
        command.arg(&root).args(["/usr/bin/skopeo", "--policy", &format!("{inside}/policy.json")]);
        command.args(["--registries.d", &format!("{inside}/registries.d"), "copy", "--quiet"]);
        command.args(["--src-tls-verify=false", &format!("docker://{}", image.pinned())]);
        command.arg(format!("dir:{inside}/copy")).env("TMPDIR", &inside).env("HOME", &inside);
        verdict(&command)
    }

    /// oras does something with `name` in the lab's registry, which has no TLS.
    fn oras(&self, arguments: &[&str], name: &str) -> Result<String> {
        tools::text(self.program("oras").args(arguments).args(["--plain-http", name]))
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.root.join("static/usr/bin").join(name));
        // Nothing is read from or written to the user's home.
        command.env("HOME", self.root.join("home"));
        command
    }
}

/// A program that cannot be started is an error, not a rejection.
fn verdict(command: &Command) -> Result<std::result::Result<(), String>> {
    let output = tools::tied(command).stdin(Stdio::null()).output()?;
    Ok(if output.status.success() { Ok(()) } else { Err(tools::last_line(&output.stderr)) })
}

fn all_refuse(what: &str, verdicts: &[VerifierResult]) -> Result {
    match verdicts.iter().find(|(_, verdict)| verdict.is_ok()) {
        Some((program, _)) => Err(format!("{program} accepts {what}").into()),
        None => Ok(()),
    }
}
