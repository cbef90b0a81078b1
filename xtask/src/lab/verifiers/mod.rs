//! Programs that others wrote and that check what the program publishes: cosign, skopeo's policy, sigstore-go, and
//! oras, which only looks. All of them are Debian's, of the release that is being developed: cosign 3 is only there,
//! and stable's skopeo has signatures compiled out.

mod readme;
mod tamper;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use readme::Signatures;
use serde_json::Value;

use crate::{
    error::{Context, Result},
    lab::{
        apt::Apt,
        cache::{Cache, Key},
    },
    tools,
};

/// Where the programs are from.
const SUITE: &str = "sid";
/// Programs without dependencies, and the packages that hold them.
const STATIC: [&str; 3] = ["cosign", "oras", "sigstore-go"];
/// Skopeo needs its own release's libraries, so it runs in a root file system of its own.
const WITH_LIBRARIES: [&str; 3] = ["skopeo", "bash", "coreutils"];
/// Who may use a key that is made here: anybody who reads this.
const PASSWORD: &str = "the lab's";

/// The programs, unpacked.
pub(crate) struct Verifiers {
    root: PathBuf,
}

/// A key pair for signing images.
pub(crate) struct KeyPair {
    /// Cosign's encrypted key, for `--key`.
    pub(crate) private: PathBuf,
    /// For whoever checks.
    pub(crate) public: PathBuf,
}

impl KeyPair {
    /// What opens the private key; for `COSIGN_PASSWORD`.
    pub(crate) const PASSWORD: &str = PASSWORD;
}

/// An image in the lab's registry.
pub(crate) struct Image<'a> {
    /// Host and repository: `127.0.0.1:5855/zfs-kmods`.
    pub(crate) repository: &'a str,
    /// The digest of its manifest.
    pub(crate) digest: &'a str,
}

impl Image<'_> {
    fn pinned(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }

    /// A tag that is made of the digest: the referrers' index without, the signatures with `.sig`.
    fn tag(&self, suffix: &str) -> String {
        format!("{}:{}{suffix}", self.repository, self.digest.replace(':', "-"))
    }
}

/// What a program said about an image: its name, and why it refused if it did.
type Verdict = (String, std::result::Result<(), String>);

impl Verifiers {
    /// Fetches the programs, or takes them from the cache.
    pub(crate) fn fetch(cache: &Cache) -> Result<Self> {
        tools::need(&[("chroot", "coreutils")])?;
        let words = STATIC.iter().chain(&WITH_LIBRARIES);
        let key = words.fold(Key::new().with(SUITE), Key::with);
        let root = cache.entry("verifiers", key, |directory| {
            let apt = Apt::of(cache, SUITE)?;
            for package in STATIC {
                apt.unpack(package, &directory.join("static"))?;
            }
            let root = directory.join("skopeo");
            apt.unpack_with_dependencies(&WITH_LIBRARIES, &root)?;
            for name in ["bin", "lib", "lib64", "sbin"] {
                if !root.join(name).exists() {
                    std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name))?;
                }
            }
            fs::create_dir_all(root.join("dev"))?;
            fs::create_dir_all(root.join("work"))?;
            // A file is enough, and needs no device node, which not every file system may hold.
            fs::write(root.join("dev/null"), "")?;
            Ok(())
        })?;
        Ok(Self { root })
    }

    /// Makes a key pair in an empty directory.
    pub(crate) fn key_pair(&self, directory: &Path) -> Result<KeyPair> {
        fs::create_dir_all(directory)?;
        let mut command = self.program("cosign");
        command.arg("generate-key-pair").env("COSIGN_PASSWORD", PASSWORD).current_dir(directory);
        succeeded("cosign generate-key-pair", &run(&mut command)?)?;
        Ok(KeyPair { private: directory.join("cosign.key"), public: directory.join("cosign.pub") })
    }

    /// Makes sure that every program accepts the image with the right key, and none with another one, and none after
    /// one character of the evidence was changed.
    pub(crate) fn check(&self, image: &Image<'_>, key: &KeyPair, other: &KeyPair) -> Result<String> {
        let accepted = self.accept(image, key)?;
        all_refuse("another key", &self.verdicts(image, &other.public)?)?;
        let refused = self.while_changed(image, || self.verdicts(image, &key.public))?;
        all_refuse("changed evidence", &refused)?;
        Ok(format!("{accepted} programs accept it, and refuse another key and changed evidence"))
    }

    /// Makes sure that every program accepts the image with this key. Returns how many did.
    pub(crate) fn accept(&self, image: &Image<'_>, key: &KeyPair) -> Result<usize> {
        let verdicts = self.verdicts(image, &key.public)?;
        match verdicts.iter().find(|(_, verdict)| verdict.is_err()) {
            Some((program, Err(reason))) => {
                Err(format!("{program} refuses {}: {reason}", image.pinned()).into())
            }
            _ => Ok(verdicts.len()),
        }
    }

    /// Does something while one character of each piece of the image's evidence is another one.
    pub(crate) fn while_changed<T>(&self, image: &Image<'_>, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let changed = tamper::change(self, image)?;
        let done = work();
        changed.restore()?;
        done
    }

    /// Every tag of a repository, and the digest that it points to.
    pub(crate) fn tags(&self, repository: &str) -> Result<BTreeMap<String, String>> {
        let ask = |arguments: &[&str]| -> Result<String> {
            let output = run(self.program("oras").args(arguments).arg("--plain-http"))?;
            succeeded("oras", &output)?;
            Ok(String::from_utf8(output.stdout)?)
        };
        let tags = ask(&["repo", "tags", repository])?;
        tags.lines()
            .map(|tag| {
                let digest = ask(&["resolve", &format!("{repository}:{tag}")])?;
                Ok((tag.to_owned(), digest.trim().to_owned()))
            })
            .collect()
    }

    /// Makes sure that every program refuses an image that nobody signed.
    pub(crate) fn check_unsigned(&self, image: &Image<'_>, key: &KeyPair) -> Result<String> {
        all_refuse("an unsigned image", &self.verdicts(image, &key.public)?)?;
        Ok("refused by all".to_owned())
    }

    /// The predicate types of the evidence that oras finds.
    pub(crate) fn discover(&self, image: &Image<'_>) -> Result<Vec<String>> {
        let kind = |entry: &Value| {
            entry["annotations"]["dev.sigstore.bundle.predicateType"].as_str().map(str::to_owned)
        };
        let mut kinds: Vec<_> = self.referring(image)?.iter().filter_map(kind).collect();
        kinds.sort();
        Ok(kinds)
    }

    /// The digests of all that refers to an image, as oras finds them.
    pub(crate) fn referrers(&self, image: &Image<'_>) -> Result<Vec<String>> {
        let digest = |entry: &Value| entry["digest"].as_str().map(str::to_owned);
        Ok(self.referring(image)?.iter().filter_map(digest).collect())
    }

    fn referring(&self, image: &Image<'_>) -> Result<Vec<Value>> {
        let mut command = self.program("oras");
        command.args(["discover", "--plain-http", "--format", "json", &image.pinned()]);
        let output = run(&mut command)?;
        succeeded("oras discover", &output)?;
        let tree: Value = serde_json::from_slice(&output.stdout)?;
        let entries = tree["referrers"].as_array().or_else(|| tree["manifests"].as_array());
        Ok(entries.context("oras shows no referrers")?.clone())
    }

    /// Whether a registry has the manifest of this digest.
    pub(crate) fn is_there(&self, image: &Image<'_>) -> Result<bool> {
        let output = run(self.program("oras").args(["resolve", "--plain-http", &image.pinned()]))?;
        match last_line(&output) {
            _ if output.status.success() => Ok(true),
            said if said.contains("not found") => Ok(false),
            said => Err(format!("oras resolve: {said}").into()),
        }
    }

    /// Makes sure that sigstore-go accepts a bundle that a workflow signed, and not as that of another workflow.
    pub(crate) fn check_keyless(
        &self,
        bundle: &Path,
        digest: &str,
        workflow: &str,
        trusted_root: &Path,
    ) -> Result<String> {
        let verdict = |identity: &str| {
            let mut command = self.program("sigstore-go-verification");
            command
                .args(["-artifact-digest", digest.trim_start_matches("sha256:")])
                .args(["-expectedIssuer", "https://token.actions.githubusercontent.com"])
                .args(["-expectedSAN", identity])
                .arg("-trustedrootJSONpath")
                .args([trusted_root, bundle]);
            run(&mut command)
        };
        succeeded("sigstore-go", &verdict(workflow)?)?;
        if verdict(&format!("{workflow}-other"))?.status.success() {
            return Err("sigstore-go accepts the bundle as that of another workflow".into());
        }
        Ok("accepted by sigstore-go for its workflow only".to_owned())
    }

    fn verdicts(&self, image: &Image<'_>, key: &Path) -> Result<Vec<Verdict>> {
        let readme = Signatures::read(image.repository, image.digest, &key.display().to_string())?;
        let mut verdicts = Vec::new();
        for arguments in readme.commands("cosign")? {
            let mut command = self.program("cosign");
            // The lab's registry has no certificate.
            command.args(&arguments).arg("--allow-http-registry");
            let name = arguments.iter().take_while(|word| !word.starts_with("--key")).cloned();
            verdicts.push((format!("cosign {}", name.collect::<Vec<_>>().join(" ")), verdict(&mut command)?));
        }
        verdicts.push(("skopeo".to_owned(), self.skopeo(image, key)?));
        Ok(verdicts)
    }

    /// What podman, bootc and rpm-ostree do before they pull.
    fn skopeo(&self, image: &Image<'_>, key: &Path) -> Result<std::result::Result<(), String>> {
        let root = self.root.join("skopeo");
        let work = tempfile::tempdir_in(root.join("work"))?;
        let inside = format!("/{}", work.path().strip_prefix(&root)?.display());
        let key_inside = format!("{inside}/key.pub");
        let readme = Signatures::read(image.repository, image.digest, &key_inside)?;
        fs::copy(key, work.path().join("key.pub"))?;
        fs::write(work.path().join("policy.json"), readme.block("json")?)?;
        fs::create_dir(work.path().join("registries.d"))?;
        fs::write(work.path().join("registries.d/zfs-kmods.yaml"), readme.block("yaml")?)?;
        let mut command = Command::new("chroot");
        command.arg(&root).args(["/usr/bin/skopeo", "--policy", &format!("{inside}/policy.json")]);
        command.args(["--registries.d", &format!("{inside}/registries.d"), "copy", "--quiet"]);
        command.args(["--src-tls-verify=false", &format!("docker://{}", image.pinned())]);
        command.arg(format!("dir:{inside}/copy")).env("TMPDIR", &inside).env("HOME", &inside);
        verdict(&mut command)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.root.join("static/usr/bin").join(name));
        // None of them may keep or find anything in the user's home.
        command.env("HOME", self.root.join("home"));
        command
    }
}

fn run(command: &mut Command) -> Result<Output> {
    tools::tied(command).stdin(Stdio::null()).output().context(command.get_program().display())
}

fn verdict(command: &mut Command) -> Result<std::result::Result<(), String>> {
    let output = run(command)?;
    Ok(if output.status.success() { Ok(()) } else { Err(last_line(&output)) })
}

fn succeeded(what: &str, output: &Output) -> Result {
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{what}: {}", last_line(output)).into())
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing").to_owned()
}

fn all_refuse(what: &str, verdicts: &[Verdict]) -> Result {
    match verdicts.iter().find(|(_, verdict)| verdict.is_ok()) {
        Some((program, _)) => Err(format!("{program} accepts {what}").into()),
        None => Ok(()),
    }
}
