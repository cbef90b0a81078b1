//! Publishing and signing, checked by the program and by the other verifiers.

use std::path::PathBuf;

use serde_json::Value;

use crate::error::{Context, Result};
use crate::lab::cache::LabCache;
use crate::lab::make::kernel::Kernels;
use crate::lab::play::building;
use crate::lab::play::program::Program;
use crate::lab::play::publisher::{KeylessServices, repository};
use crate::lab::play::verifiers::{KeyPair, LabImage, Verifiers};
use crate::report::Report;

/// The workflow of [`fake_sigstore::claims`].
const WORKFLOW: &str = "https://github.com/owner/zfs-kmods/.github/workflows/build.yaml@refs/heads/main";

/// Limit of requests for a publish with nothing to do.
const AGAIN: u64 = 12;

pub(crate) fn all(
    report: &mut Report,
    program: &Program,
    cache: &LabCache,
    kernels: &Kernels,
) -> Option<(Verifiers, KeyPair)> {
    let mut made = None;
    report.step("verifiers", || {
        let verifiers = Verifiers::fetch(cache)?;
        let key = verifiers.key_pair(&program.path("key"))?;
        let other = verifiers.key_pair(&program.path("other-key"))?;
        made = Some((verifiers, key, other));
        Ok("cosign, skopeo, oras, sigstore-go".to_owned())
    });
    let (verifiers, key, other) = made?;
    let (signed, unsigned, keyless) = (repository("signed"), repository("unsigned"), repository("keyless"));
    let sent = report.step("publish", || {
        let report = publish(program, &kernels.current, &signed, &with_key(&key)?, &[])?;
        Ok(format!("{} steps", report["steps"]))
    });
    if !sent {
        return None;
    }
    report.step("publish again", || {
        match publish(program, &kernels.current, &signed, &with_key(&key)?, &[])? {
            report if report["steps"] == 0 && report["requests"].as_u64() > Some(AGAIN) => {
                Err(format!("{} requests with nothing to do", report["requests"]).into())
            }
            report if report["steps"] == 0 => Ok(format!("nothing to do, {} requests", report["requests"])),
            report => Err(format!("{} steps were done again", report["steps"]).into()),
        }
    });
    report.step("verify what is published", || {
        let image = format!("docker://{signed}:{}", building::tag(&kernels.current));
        let check = |key: &KeyPair, code| {
            let key = key.public.to_string_lossy();
            program.run(&["verify", &image, "--public-key", &key])?.expect(code)
        };
        check(&key, 0)?;
        check(&other, 3)?;
        Ok("with its key only".to_owned())
    });
    report.step("verifiers accept and reject it", || {
        let digest = digest(program, &signed, &kernels.current)?;
        let image = LabImage { repository: &signed, digest: &digest };
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
            "--repository",
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
        verifiers.check_unsigned(&LabImage { repository: &unsigned, digest: &digest }, &key)
    });
    report.step("built again from its own inputs", || {
        let digest = digest(program, &signed, &kernels.current)?;
        let image = format!("docker://{signed}@{digest}");
        let again =
            program.run(&["build", "--inputs", &image, "--discard", "--format", "json"])?.expect(0)?;
        let again = again.json()?;
        match building::digest_of(&again["digest"]).or_else(|| building::digest_of(&again["image"])) {
            Some(built) if built == digest => Ok(built),
            built => Err(format!("{digest} was built again as {built:?}").into()),
        }
    });
    report.step("keyless signing", || workflow(program, &verifiers, &kernels.current, &keyless));
    Some((verifiers, key))
}

fn with_key(key: &KeyPair) -> Result<[String; 2]> {
    let file = key.private.to_str().context("the key's path")?;
    Ok(["--key".to_owned(), file.to_owned()])
}

/// Returns the program's report.
fn publish(
    program: &Program,
    kernel: &str,
    repository: &str,
    signing: &[String],
    environment: &[(String, String)],
) -> Result<Value> {
    let (from, to) = (building::image(kernel), format!("docker://{repository}"));
    let mut arguments = vec!["publish", "--from", &from, "--to", &to, "--format", "json"];
    arguments.extend(signing.iter().map(String::as_str));
    let password = [("COSIGN_PASSWORD".to_owned(), KeyPair::PASSWORD.to_owned())];
    let environment: Vec<_> = password.iter().chain(environment).cloned().collect();
    program.run_with(&arguments, &environment)?.expect(0)?.json()
}

/// The digest of a kernel's tag.
fn digest(program: &Program, repository: &str, kernel: &str) -> Result<String> {
    let image = format!("docker://{repository}:{}", building::tag(kernel));
    building::digest_in(&program.run(&["attestations", &image, "--format", "json"])?.expect(0)?)
}

/// Publishes with the identity of a workflow, and verifies the result.
fn workflow(program: &Program, verifiers: &Verifiers, kernel: &str, repository: &str) -> Result<String> {
    let root = program.path("trusted_root.json");
    let services = KeylessServices::start(root.clone())?;
    let environment = services.environment();
    publish(program, kernel, repository, &[], &environment)?;
    let image = format!("docker://{repository}:{}", building::tag(kernel));
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
