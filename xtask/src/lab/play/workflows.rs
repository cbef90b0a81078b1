//! The workflows of `.github` as GitHub would run them, against the lab: a target that fails, the next run, a run with
//! nothing to do, the cleanup.

use std::{fs, time::Duration};

use serde_json::json;

use crate::error::{Context as _, Result};
use crate::lab::cache::LabCache;
use crate::lab::make::kernel::Kernels;
use crate::lab::play::program::Program;
use crate::lab::play::verifiers::{KeyPair, LabImage, Verifiers};
use crate::lab::play::workflow_scenario::WorkflowScenario;
use crate::lab::serve::issues;
use crate::report::Report;
use crate::tools;

/// Limit for a scheduled run with nothing to do, in a registry without the referrers API: requests, bytes. Two images with
/// three channel tags each, and three streams.
const NOTHING_TO_DO: (u64, u64) = (22, 400 * 1024);
/// Limit for its CPU time, compiled with optimisations.
const PROCESSOR: Duration = Duration::from_millis(60);

/// Each step builds on the one before.
pub(crate) fn all(report: &mut Report, program: &Program, cache: &LabCache, kernels: &Kernels) {
    let run = cache.run();
    let (mut lab, mut of_branch, mut users) = (None, None, None);
    report.step("GitHub's side of a run", || {
        tools::need(&[("qemu-system-x86_64", "qemu-system-x86")])?;
        let _ = fs::remove_file(run.join(issues::FILE));
        let verifiers = Verifiers::fetch(cache)?;
        let key = verifiers.key_pair(&program.path("keys"))?;
        for (scenario, name) in [(&mut lab, "workflows"), (&mut of_branch, "branch")] {
            let opened = scenario.insert(WorkflowScenario::open(name, program, &run, kernels)?);
            opened.store_key(&key)?;
        }
        users = Some(Users { verifiers, key });
        Ok("issues, an identity, a key for main, empty repositories".to_owned())
    });
    let (Some(mut lab), Some(mut of_branch), Some(users)) = (lab, of_branch, users) else { return };
    let good = report.step("publish.yml, one of two targets fails", || lab.one_fails(&users))
        && report.step("publish.yml, the next good run", || lab.next_good_run())
        && report.step("publish.yml, nothing to do", || lab.nothing_to_do());
    if good {
        report.step("cleanup.yml, by the schedule and by hand", || lab.cleanup());
        report.step("publish.yml, by hand for a branch", || of_branch.branch(&users));
    }
}

/// Users with the README's policy.
struct Users {
    verifiers: Verifiers,
    key: KeyPair,
}

impl WorkflowScenario<'_> {
    fn one_fails(&mut self, users: &Users) -> Result<String> {
        self.drops = Some(format!("/kernel-devel-{}.rpm", self.kernels.newer));
        let left = self.start("publish.yml", "schedule", &json!({}))?;
        self.drops = None;
        left.ends(&[
            ("plan", "success"),
            ("target 1/build", "success"),
            ("target 1/boot-test", "success"),
            ("target 1/sign", "success"),
            ("target 1/promote 1", "success"),
            ("target 2/build", "failure"),
            ("target 2/boot-test", "skipped"),
            ("target 2/sign", "skipped"),
            ("target 2/promote", "skipped"),
            ("report", "failure"),
        ])?;
        left.says(&[
            "1 failed, 1 promoted, 1 not built",
            &self.kernels.current,
            &self.kernels.newer,
            "kernel-devel is missing",
            "provenance, SBOM, signature",
        ])?;
        self.verifies(&self.kernels.current, 0)?;
        self.verifies(&self.kernels.newer, 1)?;
        self.issues(&[("kernel-devel-missing", "open"), ("unsupported", "open")])?;
        let tags = users.verifiers.tags(&self.repository)?;
        let digest = tags.get("stable").context("no tag `stable`")?;
        users.verifiers.accept(&LabImage { repository: &self.repository, digest }, &users.key)?;
        Ok(format!("{} is promoted, {} is an issue", self.kernels.current, self.kernels.newer))
    }

    fn next_good_run(&mut self) -> Result<String> {
        let left = self.start("publish.yml", "schedule", &json!({}))?;
        left.ends(&[("plan", "success"), ("target 1/promote 1", "success"), ("report", "success")])?;
        left.says(&["1 promoted, 1 up to date, 1 not built", &self.kernels.newer])?;
        self.verifies(&self.kernels.newer, 0)?;
        self.issues(&[("kernel-devel-missing", "closed"), ("unsupported", "open")])?;
        Ok("the other target is promoted, its issue is closed".to_owned())
    }

    fn nothing_to_do(&mut self) -> Result<String> {
        // The first such run reads the evidence of the last promotion; later runs find nothing new.
        let mut days = Vec::new();
        for _ in 0..2 {
            let left = self.start("publish.yml", "schedule", &json!({}))?;
            left.ends(&[("plan", "success"), ("target", "skipped"), ("report", "success")])?;
            left.says(&["2 up to date, 1 not built"])?;
            self.issues(&[("kernel-devel-missing", "closed"), ("unsupported", "open")])?;
            let (requests, bytes, processor) = self.cost;
            let kib = bytes.div_ceil(1024);
            days.push(format!("{requests} requests, {kib} KiB, {} ms of CPU", processor.as_millis()));
        }
        let (requests, bytes, processor) = self.cost;
        let program = if cfg!(debug_assertions) { "not optimised" } else { "optimised" };
        let cost = format!("{} ({program}; the day before: {})", days[1], days[0]);
        let too_slow = !cfg!(debug_assertions) && processor > PROCESSOR;
        if requests > NOTHING_TO_DO.0 || bytes > NOTHING_TO_DO.1 || too_slow {
            return Err(format!("{cost}: above the limit for a run with nothing to do").into());
        }
        Ok(cost)
    }

    fn cleanup(&mut self) -> Result<String> {
        let scheduled = self.start("cleanup.yml", "schedule", &json!({}))?;
        scheduled.ends(&[("cleanup", "success"), ("report", "success")])?;
        if scheduled.summary.contains("dry run") {
            return Err("the scheduled run was a dry run".into());
        }
        let by_hand = self.start("cleanup.yml", "workflow_dispatch", &json!({"older-than": "1d"}))?;
        by_hand.ends(&[("cleanup", "success"), ("report", "success")])?;
        by_hand.says(&["this was a dry run"])?;
        for kernel in [&self.kernels.current, &self.kernels.newer] {
            self.verifies(kernel, 0)?;
        }
        Ok("no needed image is deleted, and the summary names the dry run".to_owned())
    }

    /// Alone in its repository, because the same inputs give the image that `main` has signed.
    fn branch(&mut self, users: &Users) -> Result<String> {
        "fix".clone_into(&mut self.branch);
        let left = self.start("publish.yml", "workflow_dispatch", &json!({"streams": "stable"}))?;
        left.ends(&[
            ("plan", "success"),
            ("target", "skipped"),
            ("branch-target 1/build", "success"),
            ("branch-target 1/boot-test", "success"),
            ("branch-target 1/sign", "skipped"),
            ("branch-target 1/promote 1", "success"),
            ("report", "success"),
        ])?;
        let tags = users.verifiers.tags(&self.repository)?;
        if let Some(tag) = tags.keys().find(|tag| tag.starts_with("zfs-") || *tag == "stable") {
            return Err(format!("the branch has the tag {tag}").into());
        }
        let (tag, digest) =
            tags.iter().find(|(tag, _)| tag.starts_with("beta-fix")).context("no tag of the branch")?;
        self.verifies_tag(tag, &["--identity-ref", "refs/heads/fix"], 0)?;
        self.verifies_tag(tag, &[], 3)?;
        // What `stable` would point to, if somebody moved it.
        users.verifiers.check_unsigned(&LabImage { repository: &self.repository, digest }, &users.key)?;
        Ok("its own tags; the README's policy and `verify` refuse its image".to_owned())
    }
}
