//! The workflows of `.github` as GitHub would run them, against the lab: a target that fails, the next run, a run with
//! nothing to do, the cleanup.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::error::Result;
use crate::lab::environment;
use crate::lab::make::kernel::Kernels;
use crate::lab::make::openzfs;
use crate::lab::play::program::Program;
use crate::lab::play::publisher::{KeylessServices, repository};
use crate::lab::play::workflow_runner::{Executor, JobConclusions, RunLine, SimulatedRun};
use crate::lab::serve::{http, issues};
use crate::report::Report;
use crate::tools;

/// Limit for a scheduled run with nothing to do: requests, bytes.
const NOTHING_TO_DO: (u64, u64) = (12, 400 * 1024);
/// Limit for its CPU time, compiled with optimisations.
const PROCESSOR: Duration = Duration::from_millis(60);
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Each step builds on the one before.
pub(crate) fn all(report: &mut Report, program: &Program, run: &Path, kernels: &Kernels) {
    let mut lab = None;
    report.step("GitHub's side of a run", || {
        tools::need(&[("qemu-system-x86_64", "qemu-system-x86")])?;
        let _ = fs::remove_file(run.join(issues::FILE));
        lab = Some(WorkflowScenario::open(program, run, kernels)?);
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

/// The program, and what GitHub keeps between runs.
struct WorkflowScenario<'a> {
    program: &'a Program,
    run: &'a Path,
    kernels: &'a Kernels,
    sigstore: KeylessServices,
    /// A repository of this run alone.
    repository: String,
    number: u64,
    /// The file that upstream removes after `plan`.
    drops: Option<String>,
    /// Requests, bytes and CPU time of the run.
    cost: (u64, u64, Duration),
}

struct FinishedRun {
    conclusions: JobConclusions,
    summary: String,
}

impl<'a> WorkflowScenario<'a> {
    fn open(program: &'a Program, run: &'a Path, kernels: &'a Kernels) -> Result<Self> {
        let _ = fs::remove_file(run.join(http::GONE));
        Ok(Self {
            program,
            run,
            kernels,
            sigstore: KeylessServices::start(program.path("trusted_root.json"))?,
            repository: repository("workflows"),
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
            "1 failed, 1 promoted, 1 not built",
            &self.kernels.current,
            &self.kernels.newer,
            "kernel-devel is missing",
            "provenance, SBOM, signature",
        ])?;
        self.verifies(&self.kernels.current, 0)?;
        self.verifies(&self.kernels.newer, 1)?;
        self.issues(&[("kernel-devel-missing", "open"), ("unsupported", "open")])?;
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

    fn start(&mut self, file: &str, event: &str, inputs: &Value) -> Result<FinishedRun> {
        let number = self.number;
        self.number += 1;
        self.cost = (0, 0, Duration::ZERO);
        let directory = self.program.path(&format!("run-{number}"));
        fs::create_dir_all(&directory)?;
        let given = json!({
            "github": {"event_name": event, "ref": "refs/heads/main", "repository": "owner/zfs-kmods",
                       "token": "ghs_lab"},
            "vars": {"ZFS_KMODS_IMAGE": format!("docker://{}", self.repository), "ZFS_KMODS_ARCHES": "x86_64"},
            "secrets": {},
        });
        let environment = [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_ACTOR", "owner"),
            ("GITHUB_EVENT_NAME", event),
            ("GITHUB_REF", "refs/heads/main"),
            ("GITHUB_REF_NAME", "main"),
            ("GITHUB_REPOSITORY", "owner/zfs-kmods"),
            ("GITHUB_RUN_ID", &(1000 + number).to_string()),
            ("GITHUB_RUN_ATTEMPT", "1"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_SHA", COMMIT),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let workflows = tools::workspace().join(".github/workflows");
        let mut run =
            SimulatedRun { workflows: &workflows, directory: &directory, given, environment, executor: self };
        let inputs =
            if event == "workflow_dispatch" { run.dispatched(file, inputs)? } else { inputs.clone() };
        let conclusions = run.workflow(file, &inputs)?;
        let _ = fs::remove_file(self.run.join(http::GONE));
        let summary = fs::read_to_string(directory.join("summary.md")).unwrap_or_default();
        Ok(FinishedRun { conclusions, summary })
    }

    /// Verifies the image for a kernel as a user who trusts the repository.
    fn verifies(&self, kernel: &str, code: i32) -> Result {
        let image = format!("docker://{}:zfs-{}_kernel-{kernel}", self.repository, openzfs::VERSION);
        let arguments = ["verify", &image, "--identity-repo", "owner/zfs-kmods"];
        self.program.run_with(&arguments, &self.sigstore.environment())?.expect(code).map(drop)
    }

    /// Exactly these issues exist, and a closed one has one comment.
    fn issues(&self, expected: &[(&str, &str)]) -> Result {
        let all = issues::read(&self.run.join(issues::FILE))?;
        let mut seen = Vec::new();
        for issue in &all {
            let class = issue["body"].as_str().and_then(|body| body.split(' ').nth(2));
            seen.push((class.unwrap_or_default(), issue["state"].as_str().unwrap_or_default()));
        }
        seen.sort_unstable();
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

impl Executor for WorkflowScenario<'_> {
    fn run(&mut self, line: &RunLine<'_>) -> Result<i32> {
        let mut environment = self.sigstore.environment();
        if !line.may_have_identity {
            environment.retain(|(name, _)| !name.starts_with("ACTIONS_ID_TOKEN"));
        }
        // The later of two values counts.
        environment.extend(line.environment.clone());
        let lab = environment::variables(self.run);
        environment.extend(lab.into_iter().map(|(name, value)| (name.to_owned(), value)));
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

impl FinishedRun {
    fn ends(&self, expected: &[(&str, &str)]) -> Result {
        for (job, result) in expected {
            let jobs = &self.conclusions;
            if !jobs.contains(&((*job).to_owned(), result)) {
                return Err(format!("the job {job} did not end with {result}: {jobs:?}").into());
            }
        }
        Ok(())
    }

    fn says(&self, words: &[&str]) -> Result {
        match words.iter().find(|word| !self.summary.contains(**word)) {
            Some(word) => Err(format!("the summary does not contain `{word}`:\n{}", self.summary).into()),
            None => Ok(()),
        }
    }
}
