//! Four weeks of a publisher, with the workflows and a registry: a kernel goes from testing to stable, a boot test fails,
//! upstream rolls back, promotions are killed.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{fs, path::Path};

use serde_json::json;

use crate::error::{Context as _, Result};
use crate::lab::cache::{self, LabCache};
use crate::lab::make::coreos::{CoreOs, LabRelease};
use crate::lab::make::kernel::Kernels;
use crate::lab::make::openzfs;
use crate::lab::play::program::Program;
use crate::lab::play::verifiers::Verifiers;
use crate::lab::play::workflow_scenario::{FakeClock, FinishedRun, WorkflowScenario};
use crate::lab::play::{building, retention};
use crate::lab::serve::github::{self, NewRelease};
use crate::lab::serve::release_manager::ReleaseManager;
use crate::lab::serve::{coreos_streams, issues, services};
use crate::report::Report;
use crate::tools;

/// Limit for moving a channel to an image that is proven already.
const PROMOTION: Duration = Duration::from_mins(1);
/// In hours.
const DAY: u32 = 24;

/// `whole`: also what compiles another release of OpenZFS.
pub(crate) fn all(
    report: &mut Report,
    program: &Program,
    cache: &LabCache,
    run: &Path,
    kernels: &Kernels,
    coreos: &CoreOs,
    whole: bool,
) {
    let mut month = None;
    report.step("an empty repository", || {
        tools::need(&[("qemu-system-x86_64", "qemu-system-x86")])?;
        month = Some(Month::open(program, cache, run, kernels, coreos)?);
        Ok(String::new())
    });
    let Some(mut month) = month else { return };
    let _all = report.step("day 0: a kernel is in stable and testing", || month.first_day())
        && report.step("an hour later: a newer one appears in testing, and its boot test fails", || {
            month.boot_test_fails()
        })
        && report.step("12 hours later: it is neither compiled nor tested again", || month.backs_off())
        && report.step("day 3: only its boot test is repeated", || month.boot_test_passes())
        && report.step("day 15: it goes to stable, and promotions are killed after each tag", || {
            month.killed_promotions()
        })
        && report
            .step("day 15: the stable tags move with no build and no upload", || month.moves_to_stable())
        && report.step("day 16: nothing to do", || month.nothing_to_do())
        && report.step("day 20: upstream rolls back, which is noted", || month.rollback_is_seen())
        && report.step("12 hours later: the channel goes back", || month.rolls_back());
    if report.is_good() && whole {
        let _all = report
            .step("day 22: a release without a row appears, and is used", || month.release_appears(cache))
            && report.step("day 23: it is recalled, and the channels fall back", || month.recall())
            && report.step("day 24: it is reinstated", || month.reinstate());
    }
    month.end();
}

struct Month<'a> {
    scenario: WorkflowScenario<'a>,
    verifiers: Verifiers,
    coreos: &'a CoreOs,
    run: &'a Path,
    /// Distinguishes the releases of a stream.
    shipped: u32,
}

impl<'a> Month<'a> {
    fn open(
        program: &'a Program,
        cache: &LabCache,
        run: &'a Path,
        kernels: &'a Kernels,
        coreos: &'a CoreOs,
    ) -> Result<Self> {
        let _ = fs::remove_file(run.join(issues::FILE));
        let mut scenario = WorkflowScenario::open("month", program, run, kernels)?;
        scenario.clock = Some(FakeClock { library: retention::faketime(cache)?, hours: 0 });
        let verifiers = Verifiers::fetch(cache)?;
        Ok(Self { run: scenario.run, scenario, verifiers, coreos, shipped: 0 })
    }

    fn first_day(&mut self) -> Result<String> {
        self.ship("testing", false)?;
        let left = self.day(0)?;
        left.ends(&[
            ("plan", "success"),
            ("target 1/build", "success"),
            ("target 1/promote 1", "success"),
            ("target 1/promote 2", "success"),
        ])?;
        self.points(&["stable", "testing", "zfs-2.4_stable", "fedora-43_testing"], false)?;
        Ok("built once, promoted to both".to_owned())
    }

    fn boot_test_fails(&mut self) -> Result<String> {
        self.ship("testing", true)?;
        let configuration = self.scenario.program.path("impatient.toml");
        fs::write(&configuration, "[boot-test]\ntimeout = \"2s\"\n")?;
        let variable = ("ZFS_KMODS_CONFIG".to_owned(), configuration.display().to_string());
        self.scenario.variables = vec![variable];
        // Its result has the machine's own time.
        let left = self.day(1)?;
        self.scenario.variables.clear();
        left.ends(&[
            ("target 1/build", "success"),
            ("target 1/boot-test", "failure"),
            ("target 1/promote", "skipped"),
        ])?;
        self.points(&["stable", "testing"], false)?;
        self.open_issues(&["boot"])
    }

    fn backs_off(&mut self) -> Result<String> {
        let left = self.day(12)?;
        left.ends(&[("target", "skipped"), ("report", "failure")])?;
        left.says(&["backing-off"])?;
        self.open_issues(&["boot"])
    }

    fn boot_test_passes(&mut self) -> Result<String> {
        let left = self.day(3 * DAY)?;
        left.ends(&[
            ("target 1/build", "skipped"),
            ("target 1/boot-test", "success"),
            ("target 1/promote 1", "success"),
            ("report", "success"),
        ])?;
        self.points(&["stable"], false)?;
        self.points(&["testing", "zfs-2.4_testing", "fedora-43_testing"], true)?;
        self.open_issues(&[])?;
        Ok("promoted to testing".to_owned())
    }

    fn killed_promotions(&mut self) -> Result<String> {
        const TAGS: [&str; 3] = ["stable", "zfs-2.4_stable", "fedora-43_stable"];
        self.ship("stable", true)?;
        // The audit tag is the first one.
        for killed_after in 1..=TAGS.len() {
            self.scenario.killed_after = Some(killed_after);
            let left = self.day(15 * DAY)?;
            self.scenario.killed_after = None;
            left.ends(&[("target 1/promote 1", "failure")])?;
            let (moved, others) = TAGS.split_at(killed_after - 1);
            self.points(moved, true)?;
            self.points(others, false)?;
            let left = self.day(15 * DAY)?;
            left.ends(&[("target 1/build", "skipped"), ("target 1/promote 1", "success")])?;
            self.points(&TAGS, true)?;
            // Somebody moves them back by hand.
            for tag in TAGS {
                self.move_by_hand(tag)?;
            }
        }
        Ok(format!("{} killed, each completed by the next run", TAGS.len()))
    }

    fn moves_to_stable(&mut self) -> Result<String> {
        let before = services::uploads(self.run)?;
        let left = self.day(15 * DAY)?;
        left.ends(&[
            ("target 1/build", "skipped"),
            ("target 1/boot-test", "skipped"),
            ("target 1/promote 1", "success"),
        ])?;
        self.points(&["stable", "zfs-2.4_stable", "fedora-43_stable", "testing"], true)?;
        let uploads = services::uploads(self.run)? - before;
        let time = self.scenario.commands.iter().find(|(command, _)| command == "promote");
        let time = time.context("nothing was promoted")?.1;
        if uploads > 0 || time > PROMOTION {
            return Err(format!("{uploads} uploads, {} s", time.as_secs()).into());
        }
        Ok(format!("{:.1} s, no upload", time.as_secs_f64()))
    }

    fn nothing_to_do(&mut self) -> Result<String> {
        let mut requests = Vec::new();
        for hours in [16 * DAY, 16 * DAY + 1] {
            let left = self.day(hours)?;
            left.ends(&[("target", "skipped"), ("report", "success")])?;
            requests.push(self.scenario.cost.0);
        }
        Ok(format!("{} requests, then {}", requests[0], requests[1]))
    }

    fn rollback_is_seen(&mut self) -> Result<String> {
        self.ship("stable", false)?;
        self.ship("testing", false)?;
        let left = self.day(20 * DAY)?;
        left.ends(&[("target 1/promote 1", "success"), ("target 1/promote 2", "success")])?;
        self.points(&["stable", "zfs-2.4_stable", "fedora-43_stable", "testing"], true)?;
        let again = self.day(20 * DAY + 1)?;
        again.ends(&[("target", "skipped")])?;
        Ok("no tag moves, also in another run an hour later".to_owned())
    }

    fn rolls_back(&mut self) -> Result<String> {
        let left = self.day(20 * DAY + 13)?;
        left.ends(&[("target 1/build", "skipped"), ("target 1/promote 1", "success")])?;
        self.points(&["stable", "zfs-2.4_stable", "fedora-43_stable", "testing"], false)?;
        let again = self.day(21 * DAY)?;
        again.ends(&[("target", "skipped"), ("report", "success")])?;
        Ok("both have the older kernel again".to_owned())
    }

    fn release_appears(&mut self, cache: &LabCache) -> Result<String> {
        let tarball = openzfs::next_tarball(cache, &openzfs::tarball(cache)?)?;
        let (content, www) = (fs::read(&tarball)?, self.run.join("www"));
        let sha256 = cache::digest(&content);
        let manager = ReleaseManager::new()?;
        let pins = self.scenario.program.path("openzfs-keys.toml");
        self.scenario.variables = manager.publish(&www, &pins)?;
        let signed = manager.sign(&format!("{sha256}  zfs-{}.tar.gz\n", openzfs::NEXT))?;
        coreos_streams::add_openzfs(self.run, openzfs::NEXT, &tarball, &signed)?;
        let meta = openzfs::set_version(&openzfs::meta(&openzfs::tarball(cache)?)?);
        let size = content.len() as u64;
        let new = NewRelease { version: openzfs::NEXT, meta: &meta, sha256: &sha256, size };
        github::add_release(&www.join("github"), &new)?;
        let left = self.day(22 * DAY)?;
        left.ends(&[
            ("target 1/build", "success"),
            ("target 1/boot-test", "success"),
            ("target 1/promote 1", "success"),
            ("target 1/promote 2", "success"),
        ])?;
        self.has_release(openzfs::NEXT)?;
        Ok(format!("OpenZFS {} is in stable and testing", openzfs::NEXT))
    }

    fn recall(&mut self) -> Result<String> {
        const REASON: &str = "it damages pools";
        let configuration = self.scenario.program.path("recall.toml");
        let source = "https://example.org/issues/1";
        let row = format!(
            "[[exclude]]\nzfs = \"{}\"\nreason = \"{REASON}\"\nsource = \"{source}\"\n",
            openzfs::NEXT
        );
        fs::write(&configuration, row)?;
        let variable = ("ZFS_KMODS_CONFIG".to_owned(), configuration.display().to_string());
        self.scenario.variables.push(variable);
        let left = self.day(23 * DAY)?;
        let jobs: Vec<_> = left.conclusions.iter().filter(|(_, result)| *result == "success").collect();
        for job in ["/recall", "/promote 1", "/promote 2"] {
            if !jobs.iter().any(|(name, _)| name.ends_with(job)) {
                return Err(format!("no job {job}: {jobs:?}").into());
            }
        }
        self.points(&["stable", "testing", "zfs-2.4_stable"], false)?;
        self.open_issues(&["withdrawn"])?;
        let image = self.next_image();
        let (verify, variables) =
            (["verify", &image, "--identity-repo", "owner/zfs-kmods"], self.environment());
        let refused = self.scenario.program.run_with(&verify, &variables)?.expect(3)?;
        refused.mentions(&[REASON])?;
        let digest =
            self.tags()?.get(&next_tag(self.scenario.kernels)).cloned().context("its tag is gone")?;
        let pinned = format!("docker://{}@{digest}", self.scenario.repository);
        let promote = ["promote", &pinned, "--identity-repo", "owner/zfs-kmods"];
        self.scenario.program.run_with(&promote, &variables)?.expect(3)?;
        let again = self.day(23 * DAY + 1)?;
        again.ends(&[("target", "skipped")])?;
        Ok("verify names the reason, promote refuses it".to_owned())
    }

    fn reinstate(&mut self) -> Result<String> {
        self.scenario.variables.retain(|(name, _)| name != "ZFS_KMODS_CONFIG");
        let left = self.day(24 * DAY)?;
        left.ends(&[
            ("target 1/recall", "success"),
            ("target 1/build", "skipped"),
            ("target 1/boot-test", "skipped"),
            ("target 1/promote 1", "success"),
        ])?;
        self.has_release(openzfs::NEXT)?;
        self.open_issues(&[])?;
        Ok("with neither a build nor a boot test".to_owned())
    }

    fn next_image(&self) -> String {
        format!("docker://{}:{}", self.scenario.repository, next_tag(self.scenario.kernels))
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut all = self.scenario.keyless();
        all.extend(self.scenario.variables.clone());
        all
    }

    /// Stable and testing have this release for the current kernel.
    fn has_release(&self, version: &str) -> Result {
        let all = self.tags()?;
        let tag = format!("zfs-{version}_kernel-{}", self.scenario.kernels.current);
        let own = all.get(&tag).context(format_args!("no tag {tag}"))?;
        match ["stable", "testing", "fedora-43_stable"].iter().find(|tag| all.get(**tag) != Some(own)) {
            Some(tag) => Err(format!("{tag} does not point to {own}: {all:?}").into()),
            None => Ok(()),
        }
    }

    /// A scheduled run after so many hours.
    fn day(&mut self, hours: u32) -> Result<FinishedRun> {
        if let Some(clock) = &mut self.scenario.clock {
            clock.hours = hours;
        }
        self.scenario.start("publish.yml", "schedule", &json!({}))
    }

    /// The stream gets a new release with the newer or the current kernel.
    fn ship(&mut self, stream: &'static str, newer: bool) -> Result {
        let with_kernel = if newer { "testing" } else { "stable" };
        let release = self.coreos.releases.iter().find(|release| release.stream == with_kernel);
        let release = release.context("no release with the kernel")?;
        self.shipped += 1;
        let kind = if stream == "stable" { 3 } else { 2 };
        let version = format!("43.202612{:02}.{kind}.0", self.shipped);
        coreos_streams::ship(self.run, &LabRelease { stream, version, ..release.clone() })
    }

    /// All these tags point to the image of the newer or the current kernel.
    fn points(&self, tags: &[&str], newer: bool) -> Result {
        let kernels = self.scenario.kernels;
        let kernel = if newer { &kernels.newer } else { &kernels.current };
        let all = self.tags()?;
        let own = all.get(&building::tag(kernel)).context("the image has no tag of its own")?;
        match tags.iter().find(|tag| all.get(**tag) != Some(own)) {
            Some(tag) => Err(format!("{tag} does not point to the image for {kernel}: {all:?}").into()),
            None => Ok(()),
        }
    }

    fn move_by_hand(&self, tag: &str) -> Result {
        let from = format!("{}:{}", self.scenario.repository, building::tag(&self.scenario.kernels.current));
        self.verifiers.tag(&from, tag)
    }

    fn tags(&self) -> Result<BTreeMap<String, String>> {
        self.verifiers.tags(&self.scenario.repository)
    }

    /// Besides the one about the kernel of `next`.
    fn open_issues(&self, expected: &[&str]) -> Result<String> {
        let mut open = self.scenario.open_issues()?;
        open.retain(|kind| kind != "unsupported");
        if open == expected {
            Ok(format!("open issues: {open:?}"))
        } else {
            Err(format!("open: {open:?}").into())
        }
    }

    /// The lab's releases, for later steps.
    fn end(&self) {
        for release in &self.coreos.releases {
            let _ = coreos_streams::ship(self.run, release);
        }
    }
}

/// The tag of the image of [`openzfs::NEXT`].
fn next_tag(kernels: &Kernels) -> String {
    format!("zfs-{}_kernel-{}", openzfs::NEXT, kernels.current)
}
