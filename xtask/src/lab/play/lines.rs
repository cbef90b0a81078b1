//! Two lines of OpenZFS, several kernels and an old lock, all on a branch: each image gets its own tags.

use std::collections::BTreeMap;
use std::{fs, path::Path};

use serde_json::json;

use crate::error::{Context as _, Result};
use crate::lab::cache::{self, LabCache};
use crate::lab::make::kernel::Kernels;
use crate::lab::make::openzfs;
use crate::lab::play::program::Program;
use crate::lab::play::verifiers::Verifiers;
use crate::lab::play::workflow_scenario::WorkflowScenario;
use crate::lab::serve::github::{self, NewRelease};
use crate::lab::serve::{coreos_streams, issues};
use crate::report::Report;
use crate::tools;

/// As tags contain it: the digits keep branches apart.
const BRANCH: &str = "two-lines";

pub(crate) fn all(report: &mut Report, program: &Program, cache: &LabCache, run: &Path, kernels: &Kernels) {
    let mut lines = None;
    report.step("a second line of OpenZFS", || {
        tools::need(&[("qemu-system-x86_64", "qemu-system-x86")])?;
        let _ = fs::remove_file(run.join(issues::FILE));
        let tarball = openzfs::older_tarball(cache)?;
        let content = fs::read(&tarball)?;
        // Its row in the matrix has the checksum; no signature is needed.
        coreos_streams::add_openzfs(run, openzfs::OLDER, &tarball, "")?;
        let meta = openzfs::meta_of(&tarball, openzfs::OLDER)?;
        let (sha256, size) = (cache::digest(&content), content.len() as u64);
        let new = NewRelease { version: openzfs::OLDER, meta: &meta, sha256: &sha256, size };
        github::add_release(&run.join("www/github"), &new)?;
        let mut scenario = WorkflowScenario::open("lines", program, run, kernels)?;
        let configuration = program.path("lines.toml");
        fs::write(&configuration, "lines = [\"2.4\", \"2.3\"]\n")?;
        scenario.variables = vec![("ZFS_KMODS_CONFIG".to_owned(), configuration.display().to_string())];
        lines = Some(TwoLines { scenario, verifiers: Verifiers::fetch(cache)?, lock: String::new() });
        Ok(format!("{} and {}", openzfs::VERSION, openzfs::OLDER))
    });
    let Some(mut lines) = lines else { return };
    let _all = report.step("two lines and two kernels on a branch", || lines.branch())
        && report.step("an old lock on the branch", || lines.lock())
        && report.step("two lines for users", || lines.main());
}

struct TwoLines<'a> {
    scenario: WorkflowScenario<'a>,
    verifiers: Verifiers,
    /// The inputs of the older line's first build.
    lock: String,
}

impl TwoLines<'_> {
    fn branch(&mut self) -> Result<String> {
        BRANCH.clone_into(&mut self.scenario.branch);
        let left = self.scenario.start("publish.yml", "push", &json!({}))?;
        let failed = left.conclusions.iter().find(|(_, result)| *result == "failure");
        if let Some((job, _)) = failed {
            return Err(format!("{job} failed: {:?}", left.conclusions).into());
        }
        let tags = self.tags()?;
        let kernels = self.scenario.kernels;
        let mut own = 0;
        for kernel in [&kernels.current, &kernels.newer] {
            for version in [openzfs::VERSION, openzfs::OLDER] {
                Self::find(&tags, &format!("-zfs-{version}_kernel-{kernel}"))?;
                own += 1;
            }
        }
        let channel = Self::find(&tags, "")?;
        let first = Self::find(&tags, &format!("-zfs-{}_kernel-{}", openzfs::VERSION, kernels.current))?;
        let older = Self::find(&tags, "-zfs-2.3")?;
        let first_of_older =
            Self::find(&tags, &format!("-zfs-{}_kernel-{}", openzfs::OLDER, kernels.current))?;
        if (channel, older) != (first, first_of_older) {
            return Err(format!("the channels of the branch are {channel} and {older}").into());
        }
        if let Some(tag) = tags.keys().find(|tag| tag.starts_with("zfs-") || *tag == "stable") {
            return Err(format!("the branch has the tag {tag}").into());
        }
        let file = format!("images/zfs-{}_kernel-{}.inputs.json", openzfs::OLDER, kernels.current);
        self.lock = self.scenario.file_of_job("build", &file)?;
        Ok(format!("{own} images with their own tags, two channels"))
    }

    /// The channels stay where they are.
    fn lock(&mut self) -> Result<String> {
        let before = self.tags()?;
        let left = self.scenario.start("publish.yml", "workflow_dispatch", &json!({"inputs": self.lock}))?;
        left.ends(&[("branch-target 1/build", "success"), ("branch-target 1/promote 1", "success")])?;
        let after = self.tags()?;
        for end in ["", "-zfs-2.3"] {
            if Self::find(&before, end)? != Self::find(&after, end)? {
                return Err(format!("the channel {BRANCH}{end} moved").into());
            }
        }
        Ok("its own tag only".to_owned())
    }

    fn main(&mut self) -> Result<String> {
        "main".clone_into(&mut self.scenario.branch);
        let left = self.scenario.start("publish.yml", "schedule", &json!({}))?;
        left.ends(&[("plan", "success"), ("report", "success")])?;
        let tags = self.tags()?;
        let kernel = &self.scenario.kernels.current;
        for (channel, version) in [("stable", openzfs::VERSION), ("zfs-2.3_stable", openzfs::OLDER)] {
            let own = tags.get(&format!("zfs-{version}_kernel-{kernel}"));
            if own.is_none() || own != tags.get(channel) {
                return Err(format!("{channel} does not point to OpenZFS {version}: {tags:?}").into());
            }
        }
        Ok("stable and zfs-2.3_stable".to_owned())
    }

    fn tags(&self) -> Result<BTreeMap<String, String>> {
        self.verifiers.tags(&self.scenario.repository)
    }

    /// The digest of the branch's tag with this end.
    fn find<'t>(tags: &'t BTreeMap<String, String>, end: &str) -> Result<&'t String> {
        let is_wanted = |tag: &str| {
            let rest = tag.strip_prefix("beta-").and_then(|rest| rest.strip_suffix(end));
            rest.is_some_and(|branch| !branch.contains('-'))
        };
        let found = tags.iter().find(|(tag, _)| is_wanted(tag));
        Ok(found.context(format_args!("the branch has no tag that ends with `{end}`: {tags:?}"))?.1)
    }
}
