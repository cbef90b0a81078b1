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

/// Limit of requests for a publish with nothing to do: one of them for each attachment.
const AGAIN: u64 = 13;

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
    let publish_signed = || {
        let file = key.private.to_string_lossy();
        publish(program, &kernels.current, &signed, &["--key", &file], &[])
    };
    if !report.step("publish", || Ok(format!("{} steps", publish_signed()?["steps"]))) {
        return None;
    }
    report.step("publish again", || match publish_signed()? {
        report if report["steps"] == 0 && report["requests"].as_u64() > Some(AGAIN) => {
            Err(format!("{} requests with nothing to do", report["requests"]).into())
        }
        report if report["steps"] == 0 => Ok(format!("nothing to do, {} requests", report["requests"])),
        report => Err(format!("{} steps were done again", report["steps"]).into()),
    });
    report.step("verify what is published", || {
        let image = format!("docker://{signed}:{}", building::candidate_tag(&kernels.current));
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
        let (repository, key) = (format!("docker://{signed}"), key.public.to_string_lossy());
        let plan = ["plan", "--streams", "stable,testing", "--format", "json"];
        let published = ["--repository", &repository, "--public-key", &key];
        let plan = program.done(&[&plan[..], &published].concat())?.json()?;
        let targets = plan["targets"].as_array().into_iter().flatten();
        let decisions: Vec<_> = targets.filter_map(|target| target["decision"].as_str()).collect();
        match decisions[..] {
            ["boot-test", "build"] => Ok("stable is to be tested, testing to be built".to_owned()),
            _ => Err(format!("decisions are {decisions:?}").into()),
        }
    });
    report.step("an unsigned image", || {
        publish(program, &kernels.newer, &unsigned, &["--no-sign"], &[])?;
        let digest = digest(program, &unsigned, &kernels.newer)?;
        verifiers.check_unsigned(&LabImage { repository: &unsigned, digest: &digest }, &key)
    });
    report.step("built again from its own inputs", || {
        let digest = digest(program, &signed, &kernels.current)?;
        let image = format!("docker://{signed}@{digest}");
        let arguments = ["build", "--inputs", &image, "--trust-inputs", "--discard", "--format", "json"];
        let again = program.done(&arguments)?;
        match building::digest_in(&again)? {
            built if built == digest => Ok(built),
            built => Err(format!("{digest} was built again as {built}").into()),
        }
    });
    report.step("keyless signing", || workflow(program, &verifiers, &kernels.current, &keyless));
    Some((verifiers, key))
}

/// Returns the program's report.
fn publish(
    program: &Program,
    kernel: &str,
    repository: &str,
    signing: &[&str],
    environment: &[(String, String)],
) -> Result<Value> {
    let (from, to) = (building::image(kernel), format!("docker://{repository}"));
    let arguments = [&["publish", "--from", &from, "--to", &to, "--format", "json"], signing].concat();
    let password = ("COSIGN_PASSWORD".to_owned(), KeyPair::PASSWORD.to_owned());
    program.run_with(&arguments, &[&[password], environment].concat())?.expect(0)?.json()
}

/// The digest of a kernel's tag.
fn digest(program: &Program, repository: &str, kernel: &str) -> Result<String> {
    let image = format!("docker://{repository}:{}", building::candidate_tag(kernel));
    building::digest_in(&program.done(&["attestations", &image, "--format", "json"])?)
}

/// Publishes with the identity of a workflow, and verifies the result.
fn workflow(program: &Program, verifiers: &Verifiers, kernel: &str, repository: &str) -> Result<String> {
    let root = program.path("trusted_root.json");
    let services = KeylessServices::start(root.clone())?;
    let environment = services.environment();
    publish(program, kernel, repository, &[], &environment)?;
    let image = format!("docker://{repository}:{}", building::candidate_tag(kernel));
    let verify = |owner: &str| program.run_with(&["verify", &image, "--identity-repo", owner], &environment);
    verify("owner/zfs-kmods")?.expect(0)?;
    verify("somebody/else")?.expect(3)?;
    let evidence = program.path("evidence");
    let (image, evidence) = (&image, &evidence.to_string_lossy());
    let arguments = ["attestations", image, "--format", "json", "--download", evidence];
    let listed = program.done(&arguments)?.json()?;
    let file = listed["attestations"][0]["file"].as_str().context("no file")?;
    let digest = digest(program, repository, kernel)?;
    verifiers.check_keyless(&PathBuf::from(file), &digest, WORKFLOW, &root)
}
