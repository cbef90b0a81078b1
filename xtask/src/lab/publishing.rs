//! What the lab has the program publish, and what programs that others wrote think of it.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    error::{Context, Result},
    lab::{
        cache::Cache,
        kernel::Kernels,
        program::Program,
        proving, retention, steps,
        verifiers::{Image, KeyPair, Verifiers},
        world::REGISTRY,
    },
    report::Report,
    tools,
};

/// The workflow that the stand-in of GitHub speaks for.
const WORKFLOW: &str = "https://github.com/owner/zfs-kmods/.github/workflows/build.yaml@refs/heads/main";

/// How many requests it may take to find out that all is published.
const AGAIN: u64 = 12;

/// Runs the steps.
pub(crate) fn all(report: &mut Report, program: &Program, cache: &Cache, kernels: &Kernels) {
    let mut made = None;
    report.step("programs of others", || {
        let verifiers = Verifiers::fetch(cache)?;
        let key = verifiers.key_pair(&program.path("key"))?;
        let other = verifiers.key_pair(&program.path("other-key"))?;
        made = Some((verifiers, key, other));
        Ok("cosign, skopeo, oras, sigstore-go".to_owned())
    });
    let Some((verifiers, key, other)) = made else { return };
    // Of this run alone: what an earlier one signed is signed with other keys.
    let repository = |name: &str| format!("{REGISTRY}/owner/{name}-{}", std::process::id());
    let (signed, unsigned, keyless) = (repository("signed"), repository("unsigned"), repository("keyless"));
    let sent = report.step("publish", || {
        let report = publish(program, &kernels.current, &signed, &with_key(&key)?, &[])?;
        Ok(format!("{} steps", report["steps"]))
    });
    if !sent {
        return;
    }
    report.step("publish again", || {
        match publish(program, &kernels.current, &signed, &with_key(&key)?, &[])? {
            report if report["steps"] == 0 && report["requests"].as_u64() > Some(AGAIN) => {
                Err(format!("{} requests for nothing to do", report["requests"]).into())
            }
            report if report["steps"] == 0 => {
                Ok(format!("nothing to do, found out in {} requests", report["requests"]))
            }
            report => Err(format!("{} steps were done again", report["steps"]).into()),
        }
    });
    report.step("verify what is published", || {
        let image = format!("docker://{signed}:{}", steps::tag(&kernels.current));
        let check = |key: &KeyPair, code| {
            let key = key.public.to_string_lossy();
            program.run(&["verify", &image, "--public-key", &key])?.expect(code)
        };
        check(&key, 0)?;
        check(&other, 3)?;
        Ok("with its key, and not with another".to_owned())
    });
    report.step("others accept and refuse it", || {
        let digest = digest(program, &signed, &kernels.current)?;
        let image = Image { repository: &signed, digest: &digest };
        let kinds = verifiers.discover(&image)?;
        Ok(format!("{}; oras finds {} referrers", verifiers.check(&image, &key, &other)?, kinds.len()))
    });
    report.step("nothing is published twice", || {
        let key = key.public.to_string_lossy();
        let repository = format!("docker://{signed}");
        let arguments = [
            "plan",
            "--streams",
            "stable,testing",
            "--image",
            &repository,
            "--public-key",
            &key,
            "--format",
            "json",
        ];
        let plan = program.run(&arguments)?.expect(0)?.json()?;
        let decisions: Vec<_> = plan["targets"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|target| target["decision"].as_str())
            .collect();
        match decisions[..] {
            ["up-to-date", "build"] => Ok("stable is up to date, testing to build".to_owned()),
            _ => Err(format!("decisions are {decisions:?}").into()),
        }
    });
    report.step("an unsigned image", || {
        publish(program, &kernels.newer, &unsigned, &["--no-sign".to_owned()], &[])?;
        let digest = digest(program, &unsigned, &kernels.newer)?;
        verifiers.check_unsigned(&Image { repository: &unsigned, digest: &digest }, &key)
    });
    report.step("built again from its own inputs", || {
        let digest = digest(program, &signed, &kernels.current)?;
        let image = format!("docker://{signed}@{digest}");
        let again = program.run(&["build", "--inputs", &image, "--test", "--format", "json"])?.expect(0)?;
        match again.json()?["digest"].as_str() {
            Some(built) if built == digest => Ok(built.to_owned()),
            built => Err(format!("{digest} became {built:?}").into()),
        }
    });
    report.step("signed by a workflow", || workflow(program, &verifiers, &kernels.current, &keyless));
    let publisher = Publisher { repository: repository("proven"), key };
    proving::all(report, program, &verifiers, &publisher, kernels);
    retention::all(report, program, cache, &verifiers, &publisher, kernels);
}

/// Where images are published, and with which key.
pub(crate) struct Publisher {
    repository: String,
    key: KeyPair,
}

impl Publisher {
    /// Host and name, without a tag.
    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    pub(crate) fn key(&self) -> &KeyPair {
        &self.key
    }

    pub(crate) fn image<'a>(&'a self, digest: &'a str) -> Image<'a> {
        Image { repository: &self.repository, digest }
    }

    /// What has the program sign with the key.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        vec![
            ("ZFS_KMODS_KEY".to_owned(), self.key.private.display().to_string()),
            ("COSIGN_PASSWORD".to_owned(), KeyPair::PASSWORD.to_owned()),
        ]
    }
}

fn with_key(key: &KeyPair) -> Result<[String; 2]> {
    let file = key.private.to_str().context("the key's path")?;
    Ok(["--key".to_owned(), file.to_owned()])
}

/// Publishes the image for a kernel and returns what the program reports.
fn publish(
    program: &Program,
    kernel: &str,
    repository: &str,
    signing: &[String],
    environment: &[(String, String)],
) -> Result<Value> {
    let (from, to) = (steps::image(kernel), format!("docker://{repository}"));
    let mut arguments = vec!["publish", "--from", &from, "--to", &to, "--format", "json"];
    arguments.extend(signing.iter().map(String::as_str));
    let password = [("COSIGN_PASSWORD".to_owned(), KeyPair::PASSWORD.to_owned())];
    let environment: Vec<_> = password.iter().chain(environment).cloned().collect();
    program.run_with(&arguments, &environment)?.expect(0)?.json()
}

/// The digest under a kernel's tag.
fn digest(program: &Program, repository: &str, kernel: &str) -> Result<String> {
    let image = format!("docker://{repository}:{}", steps::tag(kernel));
    steps::digest_in(&program.run(&["attestations", &image, "--format", "json"])?.expect(0)?)
}

/// Publishes as a workflow of GitHub Actions would, and has the result checked.
fn workflow(program: &Program, verifiers: &Verifiers, kernel: &str, repository: &str) -> Result<String> {
    let stand_in = StandIn::start(program, "sigstore")?;
    let environment = stand_in.environment()?;
    let root = stand_in.directory.join("trusted_root.json");
    publish(program, kernel, repository, &[], &environment)?;
    let image = format!("docker://{repository}:{}", steps::tag(kernel));
    let verify = |owner: &str| program.run_with(&["verify", &image, "--identity-repo", owner], &environment);
    verify("owner/zfs-kmods")?.expect(0)?;
    verify("somebody/else")?.expect(3)?;
    let evidence = program.path("evidence");
    let listed = program
        .run(&["attestations", &image, "--format", "json", "--download", &evidence.to_string_lossy()])?
        .expect(0)?
        .json()?;
    let file = listed["attestations"][0]["file"].as_str().context("no file")?;
    let digest = digest(program, repository, kernel)?;
    verifiers.check_keyless(&PathBuf::from(file), &digest, WORKFLOW, &root)
}

/// Sigstore's and GitHub's side of signing without a key, on this machine; ended when dropped.
pub(super) struct StandIn {
    process: Child,
    directory: PathBuf,
}

impl StandIn {
    /// Starts it, with its files in a directory of that name.
    pub(super) fn start(program: &Program, name: &str) -> Result<Self> {
        let directory = program.path(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory)?;
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["run", "--quiet", "--locked", "--package", "sigstore-stand-in", "--", "127.0.0.1:0"])
            .arg(&directory)
            .current_dir(tools::workspace());
        let process = tools::tied(&command).stdin(Stdio::null()).spawn()?;
        let stand_in = Self { process, directory };
        let begun = Instant::now();
        // It may have to be compiled first.
        while !stand_in.directory.join("environment").exists() {
            if begun.elapsed() > Duration::from_mins(5) {
                return Err("the stand-in of Sigstore does not start".into());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(stand_in)
    }

    /// What a job of a workflow has that may ask for its identity, and the addresses of the services.
    pub(super) fn environment(&self) -> Result<Vec<(String, String)>> {
        let text = fs::read_to_string(self.directory.join("environment"))?;
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut environment: Vec<_> = text.lines().filter_map(pair).collect();
        let value = |name: &str| {
            let found = environment.iter().find(|(of, _)| of == name);
            found.map(|(_, value)| value.clone()).context(format_args!("no {name}"))
        };
        let (url, timestamp) = (value("STAND_IN")?, value("STAND_IN_TIMESTAMP")?);
        let root = self.directory.join("trusted_root.json");
        environment.extend([
            ("ZFS_KMODS_FULCIO_URL".to_owned(), url.clone()),
            ("ZFS_KMODS_REKOR_URL".to_owned(), url),
            ("ZFS_KMODS_TIMESTAMP_URL".to_owned(), timestamp),
            ("ZFS_KMODS_TRUSTED_ROOT".to_owned(), root.display().to_string()),
        ]);
        Ok(environment)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // `cargo run` replaces itself by the program, so this ends the program.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
