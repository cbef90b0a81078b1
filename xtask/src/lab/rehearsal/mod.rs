//! The rehearsal: the jobs of the workflows in order, with the lines as they stand in the YAML, outputs, records, summary
//! and a matrix, against the lab instead of GitHub and Fedora.

mod expression;
mod run;
#[cfg(test)]
mod tests;
mod workflow;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use self::run::{Ended, Executor, Line, Run};
use super::{
    http, issues,
    kernel::Kernels,
    openzfs,
    program::Program,
    publishing::StandIn,
    world::{self, REGISTRY},
};
use crate::{error::Result, report::Report, tools};

/// What a scheduled run with nothing to do may cost: requests, bytes.
const NOTHING_TO_DO: (u64, u64) = (12, 400 * 1024);
/// And time on the processor, if it was compiled with optimisations.
const PROCESSOR: Duration = Duration::from_millis(60);
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Runs the steps. Each builds on the one before.
pub(crate) fn all(report: &mut Report, program: &Program, run: &Path, kernels: &Kernels) {
    let mut lab = None;
    report.step("GitHub's side of a run", || {
        tools::need(&[("qemu-system-x86_64", "qemu-system-x86")])?;
        let _ = fs::remove_file(run.join(issues::FILE));
        lab = Some(Lab::open(program, run, kernels)?);
        Ok("issues, an identity, an empty repository".to_owned())
    });
    let Some(mut lab) = lab else { return };
    let good = report.step("publish.yml, one of two targets fails", || lab.one_fails())
        && report.step("publish.yml, the next good run", || lab.next_good_run())
        && report.step("publish.yml, nothing to do", || lab.nothing_to_do());
    if good {
        report.step("cleanup.yml, by the schedule and by hand", || lab.cleanup());
    }
}

/// The program in the lab, and what GitHub would keep between runs.
struct Lab<'a> {
    program: &'a Program,
    run: &'a Path,
    kernels: &'a Kernels,
    stand_in: StandIn,
    /// Where the images go; of this rehearsal alone.
    repository: String,
    number: u64,
    /// What upstream drops as soon as the plan is made.
    drops: Option<String>,
    /// What the lines of the run cost so far: requests, bytes, time on the processor.
    cost: (u64, u64, Duration),
}

/// What is left of one run.
struct Left {
    ended: Ended,
    summary: String,
}

impl<'a> Lab<'a> {
    fn open(program: &'a Program, run: &'a Path, kernels: &'a Kernels) -> Result<Self> {
        let _ = fs::remove_file(run.join(http::GONE));
        Ok(Self {
            program,
            run,
            kernels,
            stand_in: StandIn::start(program, "rehearsal-sigstore")?,
            repository: format!("{REGISTRY}/owner/rehearsal-{}", std::process::id()),
            number: 1,
            drops: None,
            cost: (0, 0, Duration::ZERO),
        })
    }

    fn one_fails(&mut self) -> Result<String> {
        self.drops = Some(format!("/kernel-devel-{}.rpm", self.kernels.newer));
        let left = self.start("publish.yml", "schedule", &json!({}))?;
        self.drops = None;
        left.ends(&[
            ("plan", "success"),
            ("target 1/build", "success"),
            ("target 1/boot-test", "success"),
            ("target 1/promote 1", "success"),
            ("target 2/build", "failure"),
            ("target 2/boot-test", "skipped"),
            ("target 2/promote", "skipped"),
            ("report", "failure"),
        ])?;
        left.says(&[
            "1 failed, 1 promoted, 1 held",
            &self.kernels.current,
            &self.kernels.newer,
            "the kernel's headers are gone",
            "provenance, SBOM, signature",
        ])?;
        self.verifies(&self.kernels.current, 0)?;
        self.verifies(&self.kernels.newer, 1)?;
        self.issues(&[("headers-gone", "open"), ("held", "open")])?;
        Ok(format!("{} is promoted, {} is an issue", self.kernels.current, self.kernels.newer))
    }

    fn next_good_run(&mut self) -> Result<String> {
        let left = self.start("publish.yml", "schedule", &json!({}))?;
        left.ends(&[("plan", "success"), ("target 1/promote 1", "success"), ("report", "success")])?;
        left.says(&["1 promoted, 1 up to date, 1 held", &self.kernels.newer])?;
        self.verifies(&self.kernels.newer, 0)?;
        self.issues(&[("headers-gone", "closed"), ("held", "open")])?;
        Ok("the other one is promoted, its issue closed".to_owned())
    }

    fn nothing_to_do(&mut self) -> Result<String> {
        // On the first such day the evidence of what was promoted last is read; on all others nothing is new.
        let mut days = Vec::new();
        for _ in 0..2 {
            let left = self.start("publish.yml", "schedule", &json!({}))?;
            left.ends(&[("plan", "success"), ("target", "skipped"), ("report", "success")])?;
            left.says(&["2 up to date, 1 held"])?;
            self.issues(&[("headers-gone", "closed"), ("held", "open")])?;
            let (requests, bytes, processor) = self.cost;
            let kib = bytes.div_ceil(1024);
            days.push(format!("{requests} requests, {kib} KiB, {} ms of CPU", processor.as_millis()));
        }
        let (requests, bytes, processor) = self.cost;
        let program = if cfg!(debug_assertions) { "not optimised" } else { "optimised" };
        let cost = format!("{} ({program}; the day before: {})", days[1], days[0]);
        let too_slow = !cfg!(debug_assertions) && processor > PROCESSOR;
        if requests > NOTHING_TO_DO.0 || bytes > NOTHING_TO_DO.1 || too_slow {
            return Err(format!("{cost}: more than a run with nothing to do may cost").into());
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
        Ok("nothing is lost, and the summary says which was a dry run".to_owned())
    }

    /// Runs a workflow as GitHub would start it.
    fn start(&mut self, file: &str, event: &str, inputs: &Value) -> Result<Left> {
        let number = self.number;
        self.number += 1;
        self.cost = (0, 0, Duration::ZERO);
        let directory = self.program.path(&format!("run-{number}"));
        fs::create_dir_all(&directory)?;
        let given = json!({
            "github": {"event_name": event, "ref": "refs/heads/main", "repository": "owner/zfs-kmods",
                       "token": "ghs_stand_in"},
            "vars": {"ZFS_KMODS_IMAGE": format!("docker://{}", self.repository), "ZFS_KMODS_ARCHES": "x86_64"},
            "secrets": {},
        });
        let environment = [
            ("CI", "true".to_owned()),
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_ACTOR", "owner".to_owned()),
            ("GITHUB_EVENT_NAME", event.to_owned()),
            ("GITHUB_REF", "refs/heads/main".to_owned()),
            ("GITHUB_REF_NAME", "main".to_owned()),
            ("GITHUB_REPOSITORY", "owner/zfs-kmods".to_owned()),
            ("GITHUB_RUN_ID", (1000 + number).to_string()),
            ("GITHUB_RUN_ATTEMPT", "1".to_owned()),
            ("GITHUB_SERVER_URL", "https://github.com".to_owned()),
            ("GITHUB_SHA", COMMIT.to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        let workflows = folder();
        let mut run =
            Run { workflows: &workflows, directory: &directory, given, environment, executor: self };
        let inputs =
            if event == "workflow_dispatch" { run.dispatched(file, inputs)? } else { inputs.clone() };
        let ended = run.workflow(file, &inputs)?;
        let _ = fs::remove_file(self.run.join(http::GONE));
        Ok(Left { ended, summary: fs::read_to_string(directory.join("summary.md")).unwrap_or_default() })
    }

    /// Whether users find a proven image for a kernel: as somebody who trusts the repository sees it.
    fn verifies(&self, kernel: &str, code: i32) -> Result {
        let image = format!("docker://{}:zfs-{}_kernel-{kernel}", self.repository, openzfs::VERSION);
        let arguments = ["verify", &image, "--identity-repo", "owner/zfs-kmods"];
        self.program.run_with(&arguments, &self.stand_in.environment()?)?.expect(code)?;
        Ok(())
    }

    /// These issues there are and no others, in this order; and nobody was told the same twice.
    fn issues(&self, expected: &[(&str, &str)]) -> Result {
        let all = issues::read(&self.run.join(issues::FILE))?;
        let mut seen: Vec<(String, String)> = all
            .iter()
            .map(|issue| {
                let class = issue["body"].as_str().and_then(|body| body.split(' ').nth(2));
                (class.unwrap_or_default().to_owned(), issue["state"].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        seen.sort();
        let expected: Vec<_> =
            expected.iter().map(|(class, state)| ((*class).to_owned(), (*state).to_owned())).collect();
        if seen != expected {
            return Err(format!("the issues are {seen:?}, expected {expected:?}").into());
        }
        let comments = |issue: &Value| issue["comments_made"].as_array().map_or(0, Vec::len);
        match all.iter().find(|issue| comments(issue) != usize::from(issue["state"] == "closed")) {
            None => Ok(()),
            Some(issue) => Err(format!("{} has {} comments", issue["title"], comments(issue)).into()),
        }
    }
}

impl Executor for Lab<'_> {
    fn run(&mut self, line: &Line<'_>) -> Result<i32> {
        let mut environment: BTreeMap<String, String> = self.stand_in.environment()?.into_iter().collect();
        if !line.may_have_identity {
            environment.retain(|name, _| !name.starts_with("ACTIONS_ID_TOKEN"));
        }
        environment.extend(line.environment.clone());
        environment
            .extend(world::environment(self.run).into_iter().map(|(name, value)| (name.to_owned(), value)));
        let environment: Vec<_> = environment.into_iter().collect();
        let words: Vec<_> = line.words.iter().map(String::as_str).collect();
        crate::terminal::print_notice(format_args!("lab: job {}", line.job));
        let output = self.program.run_in(line.directory, &words, &environment)?;
        self.cost.0 += output.requests.0;
        self.cost.1 += output.requests.1;
        self.cost.2 += output.processor;
        if let (Some("plan"), Some(gone)) = (words.first().copied(), &self.drops) {
            fs::write(self.run.join(http::GONE), gone)?;
        }
        Ok(output.code)
    }
}

impl Left {
    fn ends(&self, expected: &[(&str, &str)]) -> Result {
        for (job, result) in expected {
            if self.ended.of(job) != Some(*result) {
                return Err(format!("{job} should end with {result}: {:?}", self.ended.jobs).into());
            }
        }
        Ok(())
    }

    fn says(&self, words: &[&str]) -> Result {
        let missing = words.iter().find(|word| !self.summary.contains(**word));
        missing.map_or(Ok(()), |word| {
            Err(format!("the summary does not say `{word}`:\n{}", self.summary).into())
        })
    }
}

/// The files of the workflows.
fn folder() -> PathBuf {
    tools::workspace().join(".github/workflows")
}
