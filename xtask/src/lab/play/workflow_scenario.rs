//! What GitHub keeps between runs of the workflows: issues, an identity, a repository. Runs `.github/workflows` in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{Context as _, Result};
use crate::lab::environment;
use crate::lab::make::kernel::Kernels;
use crate::lab::make::openzfs;
use crate::lab::play::program::Program;
use crate::lab::play::publisher::{KeylessServices, repository};
use crate::lab::play::verifiers::KeyPair;
use crate::lab::play::workflow_runner::{
    Executor, JobConclusions, JobEnvironment, RepositorySettings, RunLine, SimulatedRun,
};
use crate::lab::serve::{http, issues};
use crate::{terminal, tools};

/// These start other programs, which must see the machine's clock.
const REAL_TIME: [&str; 2] = ["build", "boot-test"];
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The program, and what GitHub keeps between runs.
pub(crate) struct WorkflowScenario<'a> {
    pub(crate) program: &'a Program,
    pub(crate) run: &'a Path,
    pub(crate) kernels: &'a Kernels,
    sigstore: KeylessServices,
    /// Nothing is set up, until a scenario does.
    pub(crate) settings: RepositorySettings,
    /// A repository of this run alone.
    pub(crate) repository: String,
    number: u64,
    /// The clock of commands that neither build nor boot.
    pub(crate) clock: Option<FakeClock>,
    /// For every command.
    pub(crate) variables: Vec<(String, String)>,
    /// `promote` is killed after so many tags.
    pub(crate) killed_after: Option<usize>,
    /// Commands that ran, with their time: `promote`.
    pub(crate) commands: Vec<(String, Duration)>,
    /// `refs/heads/main`, or another branch.
    pub(crate) branch: String,
    /// The file that upstream removes after `plan`.
    pub(crate) drops: Option<String>,
    /// Requests, bytes and CPU time of the run.
    pub(crate) cost: (u64, u64, Duration),
}

pub(crate) struct FinishedRun {
    pub(crate) conclusions: JobConclusions,
    pub(crate) summary: String,
}

impl<'a> WorkflowScenario<'a> {
    /// `name` is that of the repository.
    pub(crate) fn open(
        name: &str,
        program: &'a Program,
        run: &'a Path,
        kernels: &'a Kernels,
    ) -> Result<Self> {
        let _ = fs::remove_file(run.join(http::GONE));
        Ok(Self {
            program,
            run,
            kernels,
            sigstore: KeylessServices::start(program.path(&format!("trusted_root-{name}.json")))?,
            settings: RepositorySettings::default(),
            repository: repository(name),
            number: 1,
            clock: None,
            variables: Vec::new(),
            killed_after: None,
            commands: Vec::new(),
            branch: "main".to_owned(),
            drops: None,
            cost: (0, 0, Duration::ZERO),
        })
    }

    /// Stores the key in the environment `signing`, which only `main` may use.
    pub(crate) fn store_key(&mut self, key: &KeyPair) -> Result {
        let secrets = [
            ("ZFS_KMODS_KEY", fs::read_to_string(&key.private)?),
            ("COSIGN_PASSWORD", KeyPair::PASSWORD.to_owned()),
        ];
        let signing = JobEnvironment {
            branches: Some(vec!["main".to_owned()]),
            secrets: secrets.map(|(name, value)| (name.to_owned(), value)).into(),
        };
        self.settings.environments.insert("signing".to_owned(), signing);
        Ok(())
    }

    pub(crate) fn start(&mut self, file: &str, event: &str, inputs: &Value) -> Result<FinishedRun> {
        let number = self.number;
        self.number += 1;
        self.cost = (0, 0, Duration::ZERO);
        self.commands.clear();
        let directory = self.program.path(&format!("run-{number}"));
        // Another scenario may have left one with the same number.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory)?;
        let given = json!({
            "github": {"event_name": event, "ref": format!("refs/heads/{}", self.branch), "repository": "owner/zfs-kmods",
                       "token": "ghs_lab"},
            "vars": {"ZFS_KMODS_IMAGE": format!("docker://{}", self.repository), "ZFS_KMODS_ARCHES": "x86_64"},
        });
        let environment = [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_ACTOR", "owner"),
            ("GITHUB_EVENT_NAME", event),
            ("GITHUB_REF", &format!("refs/heads/{}", self.branch)),
            ("GITHUB_REF_NAME", &self.branch),
            ("GITHUB_REPOSITORY", "owner/zfs-kmods"),
            ("GITHUB_RUN_ID", &(1000 + number).to_string()),
            ("GITHUB_RUN_ATTEMPT", "1"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_SHA", COMMIT),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let workflows = tools::workspace().join(".github/workflows");
        let program = self.program.executable().to_owned();
        let mut run = SimulatedRun {
            workflows: &workflows,
            directory: &directory,
            given,
            settings: self.settings.clone(),
            program: &program,
            environment,
            executor: self,
        };
        let inputs =
            if event == "workflow_dispatch" { run.dispatched(file, inputs)? } else { inputs.clone() };
        let conclusions = run.workflow(file, &inputs)?;
        let _ = fs::remove_file(self.run.join(http::GONE));
        let summary = fs::read_to_string(directory.join("summary.md")).unwrap_or_default();
        Ok(FinishedRun { conclusions, summary })
    }

    /// Verifies the image for a kernel as a user who trusts the repository.
    pub(crate) fn verifies(&self, kernel: &str, code: i32) -> Result {
        self.verifies_tag(&format!("zfs-{}_kernel-{kernel}", openzfs::VERSION), &[], code)
    }

    /// The same with other flags.
    pub(crate) fn verifies_tag(&self, tag: &str, flags: &[&str], code: i32) -> Result {
        let image = format!("docker://{}:{tag}", self.repository);
        let arguments = [&["verify", &image, "--identity-repo", "owner/zfs-kmods"], flags].concat();
        self.program.run_with(&arguments, &self.sigstore.environment())?.expect(code).map(drop)
    }

    /// What makes the program trust the workflow's identity.
    pub(crate) fn keyless(&self) -> Vec<(String, String)> {
        self.sigstore.environment()
    }

    /// A file that a job of the last run with this name left.
    pub(crate) fn file_of_job(&self, job: &str, file: &str) -> Result<String> {
        let jobs = self.program.path(&format!("run-{}/jobs", self.number - 1));
        let of_job =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(job));
        let directories = fs::read_dir(jobs)?.filter_map(|entry| Some(entry.ok()?.path())).filter(of_job);
        let found = directories.map(|directory| directory.join(file)).find(|path| path.exists());
        Ok(fs::read_to_string(found.context(format_args!("no job {job} left {file}"))?)?)
    }

    /// The kinds of the open issues, sorted.
    pub(crate) fn open_issues(&self) -> Result<Vec<String>> {
        let all = issues::read(&self.run.join(issues::FILE))?;
        let open = all.iter().filter(|issue| issue["state"] == "open");
        let kind = |issue: &Value| issue["body"].as_str()?.split(' ').nth(2).map(str::to_owned);
        let mut kinds: Vec<String> = open.filter_map(kind).collect();
        kinds.sort();
        Ok(kinds)
    }

    /// Exactly these issues exist, and a closed one has one comment.
    pub(crate) fn issues(&self, expected: &[(&str, &str)]) -> Result {
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

/// libfaketime, and the offset of its clock.
#[derive(Clone)]
pub(crate) struct FakeClock {
    pub(crate) library: PathBuf,
    pub(crate) hours: u32,
}

impl FakeClock {
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let library = self.library.display().to_string();
        let variables = [
            ("LD_PRELOAD", library),
            ("FAKETIME", format!("+{}h", self.hours)),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

impl Executor for WorkflowScenario<'_> {
    fn run(&mut self, line: &RunLine<'_>) -> Result<i32> {
        let mut environment = self.sigstore.environment_of(&format!("refs/heads/{}", self.branch));
        if !line.may_have_identity {
            environment.retain(|(name, _)| !name.starts_with("ACTIONS_ID_TOKEN"));
        }
        // The later of two values counts.
        environment.extend(line.environment.clone());
        let lab = environment::variables(self.run);
        environment.extend(lab.into_iter().map(|(name, value)| (name.to_owned(), value)));
        environment.extend(self.variables.clone());
        let command = line.words.first().cloned().unwrap_or_default();
        // Each job has a machine of its own. A build keeps the lab's cache, because it takes too long without.
        if !line.has_cache && !REAL_TIME.contains(&&*command) {
            let cache = line.directory.join("cache").display().to_string();
            environment.push(("ZFS_KMODS_CACHE".to_owned(), cache));
        }
        if let Some(clock) = self.clock.as_ref().filter(|_| !REAL_TIME.contains(&&*command)) {
            environment.extend(clock.variables());
        }
        let words: Vec<_> = line.words.iter().map(String::as_str).collect();
        terminal::print_detail(format_args!("lab: job {}", line.job));
        let killed_after = self.killed_after.filter(|_| command == "promote");
        let begun = Instant::now();
        let output = self.program.run_until(line.directory, &words, &environment, killed_after)?;
        self.commands.push((command, begun.elapsed()));
        self.cost.0 += output.requests.0;
        self.cost.1 += output.requests.1;
        self.cost.2 += output.processor;
        if let (Some("plan"), Some(gone)) = (words.first().copied(), &self.drops) {
            fs::write(self.run.join(http::GONE), gone)?;
            // Each job has a machine of its own.
            let _ = fs::remove_dir_all(self.run.join("program/downloads"));
        }
        Ok(output.code)
    }
}

impl FinishedRun {
    pub(crate) fn ends(&self, expected: &[(&str, &str)]) -> Result {
        for (job, result) in expected {
            let jobs = &self.conclusions;
            if !jobs.contains(&((*job).to_owned(), result)) {
                return Err(format!("the job {job} did not end with {result}: {jobs:?}").into());
            }
        }
        Ok(())
    }

    pub(crate) fn says(&self, words: &[&str]) -> Result {
        match words.iter().find(|word| !self.summary.contains(**word)) {
            Some(word) => Err(format!("the summary does not contain `{word}`:\n{}", self.summary).into()),
            None => Ok(()),
        }
    }
}
