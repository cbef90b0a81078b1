//! One run a day: observe, reconcile, and execute the plan as the commands do.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use kmod_builder::model::Digest;
use kmod_builder::model::image::Tag;
use kmod_builder::model::inputs::SourceImageRef;
use kmod_builder::model::reconcile::{
    Action, BootTestFact, DesiredState, FollowedSource, MissingInput, ObservedState, ReconcileOptions,
    ReconcilePlan, RollbackNote, SourceState, TargetPlan, reconcile,
};
use kmod_compat::{
    Arch, CompatMatrix, Incompatibility, IncompatibilityCause, KernelRelease, Verdict, ZfsVersion,
};

use crate::faults::Faults;
use crate::history::History;
use crate::registry::{Recipe, Registry};

pub(crate) const STREAMS: [&str; 3] = ["stable", "testing", "next"];

/// What the publisher follows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Of this program.
    Reconcile,
    /// Other streams than `stable` are not built.
    StableOnly,
    /// A new release stops its line until a row is added by hand, a week later.
    HoldUnknownRelease,
    /// An older release is never used.
    NewestReleaseOnly,
}

/// The engine, or one with a planted bug.
pub(crate) type Planner = fn(&DesiredState, &ObservedState, &CompatMatrix, ReconcileOptions) -> ReconcilePlan;

pub(crate) fn engine(
    desired: &DesiredState,
    observed: &ObservedState,
    matrix: &CompatMatrix,
    options: ReconcileOptions,
) -> ReconcilePlan {
    reconcile(desired, observed, |zfs, kernel| matrix.verdict(zfs, kernel), options)
}

/// The run was killed.
struct Killed;

pub(crate) struct Publisher<'a> {
    pub(crate) history: &'a History,
    pub(crate) faults: &'a Faults,
    pub(crate) policy: Policy,
    pub(crate) planner: Planner,
    pub(crate) registry: Registry,
    pub(crate) recipe: Recipe,
    matrices: BTreeMap<(usize, Vec<ZfsVersion>), CompatMatrix>,
    /// Writes until the run is killed.
    budget: Option<usize>,
    /// Executes the plan of another publisher.
    is_second: bool,
}

/// The result of a day's run.
pub(crate) struct Run {
    pub(crate) desired: DesiredState,
    /// Made after the run.
    pub(crate) after: ReconcilePlan,
    /// Nothing disturbed the run.
    pub(crate) is_whole: bool,
}

pub(crate) fn morning(day: Date) -> Timestamp {
    day.at(6, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp()
}

impl<'a> Publisher<'a> {
    pub(crate) fn new(history: &'a History, faults: &'a Faults, policy: Policy, planner: Planner) -> Self {
        let (registry, matrices) = (Registry::default(), BTreeMap::new());
        Self {
            history,
            faults,
            policy,
            planner,
            registry,
            recipe: 0,
            matrices,
            budget: None,
            is_second: false,
        }
    }

    pub(crate) fn streams(&self) -> &'static [&'static str] {
        if self.policy == Policy::StableOnly { &STREAMS[..1] } else { &STREAMS }
    }

    /// What the stream ships on a day, rolled back or not.
    pub(crate) fn kernel(&self, stream: &str, day: Date) -> Option<&'a KernelRelease> {
        let nth = usize::from(stream == "stable" && self.faults.is_rolled_back(day));
        self.history.kernel(stream, day, nth).map(|change| &change.kernel)
    }

    fn desired(&self, day: Date, matrix: &CompatMatrix) -> DesiredState {
        let image: SourceImageRef = SourceImageRef {
            image: format!("quay.io/fedora/fedora-coreos@{}", Digest::of(b"")).parse().unwrap(),
            version: None,
        };
        let sources: Vec<_> = self
            .streams()
            .iter()
            .filter_map(|stream| {
                let kernel = self.kernel(stream, day)?.clone();
                Some(FollowedSource {
                    name: (*stream).to_owned(),
                    channel: Some(stream.parse().unwrap()),
                    arch: Arch::X86_64,
                    state: SourceState::Kernel { kernel, fedora: None, image: image.clone() },
                })
            })
            .collect();
        let lines = self.history.lines(day);
        let mut releases: Vec<_> = self.history.released(day).map(|release| release.version).collect();
        if matches!(self.policy, Policy::NewestReleaseOnly | Policy::HoldUnknownRelease) {
            let newest = |line| releases.iter().copied().filter(|zfs| zfs.line() == line).max();
            releases = lines.iter().filter_map(|line| newest(*line)).collect();
        }
        let week_ago = day - jiff::Span::new().days(7);
        DesiredState::new(&sources, lines, &releases, |zfs, kernel| {
            let is_new = !self.history.released(week_ago).any(|release| release.version == zfs);
            if self.policy == Policy::HoldUnknownRelease && is_new {
                let cause = IncompatibilityCause::UnverifiedRelease { reasons: None };
                return Ok(Verdict::Incompatible(Incompatibility { zfs, kernel: kernel.clone(), cause }));
            }
            Ok(matrix.verdict(zfs, kernel))
        })
    }

    fn matrix(&mut self, day: Date) -> CompatMatrix {
        let excluded = self.faults.excluded(self.history, day);
        let key = (self.history.released(day).count(), excluded.clone());
        self.matrices.entry(key).or_insert_with(|| self.history.matrix(day, &excluded)).clone()
    }

    /// Plans as `plan` does: a build whose inputs are missing waits.
    fn plan(&self, day: Date, desired: &DesiredState, matrix: &CompatMatrix) -> ReconcilePlan {
        let is_recalled = |target: &kmod_builder::model::Target| matches!(matrix.verdict(target.zfs, &target.kernel), Verdict::Incompatible(reason) if reason.is_exclusion());
        let observed = self.registry.observe(desired, self.recipe, is_recalled);
        let options = ReconcileOptions { now: morning(day), force: false };
        let mut plan = (self.planner)(desired, &observed, matrix, options);
        let builds = |planned: &&TargetPlan| {
            planned.steps.iter().any(|step| matches!(step, Action::Build { .. }))
                && self.faults.headers_are_missing(&planned.target, day)
        };
        for target in
            plan.targets.iter().filter(builds).map(|planned| planned.target.clone()).collect::<Vec<_>>()
        {
            plan.wait(&target, MissingInput::KernelDevel, "kernel-devel is not there yet");
        }
        plan
    }

    /// `None` on a day without an answer of the registry.
    pub(crate) fn run(&mut self, day: Date) -> Option<Run> {
        if self.faults.updates.contains(&day) {
            self.recipe += 1;
        }
        if self.faults.registry_is_down(day) {
            return None;
        }
        let matrix = self.matrix(day);
        let desired = self.desired(day, &matrix);
        let plan = self.plan(day, &desired, &matrix);
        self.budget = self.faults.kill(day);
        let mut is_whole = self.execute(&plan, day).is_ok();
        self.budget = None;
        if self.faults.has_second_publisher(day) {
            self.is_second = true;
            is_whole &= self.execute(&plan, day).is_ok();
            self.is_second = false;
        }
        is_whole &= !self.faults.is_untestable(day);
        let after = self.plan(day, &desired, &matrix);
        Some(Run { desired, after, is_whole })
    }

    /// Counts a write. Fails if the run is killed before it.
    fn write(&mut self) -> Result<(), Killed> {
        match &mut self.budget {
            Some(0) => Err(Killed),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn execute(&mut self, plan: &ReconcilePlan, day: Date) -> Result<(), Killed> {
        for planned in &plan.targets {
            self.steps(planned, day)?;
        }
        Ok(())
    }

    fn steps(&mut self, planned: &TargetPlan, day: Date) -> Result<(), Killed> {
        let (target, now, recipe) = (&planned.target, morning(day), self.recipe);
        let mut digest = planned.image.clone();
        for step in &planned.steps {
            if let Action::Build { .. } = step {
                self.write()?;
                if self.faults.build_fails(target, day) {
                    self.registry.fail_build(target, recipe, now);
                    return Ok(());
                }
                let built = self.registry.add(target, recipe);
                self.write()?;
                self.registry.set_candidate(target, recipe, &built, !self.is_second);
                digest = Some(built);
                continue;
            }
            let Some(digest) = &digest else { return Ok(()) };
            self.write()?;
            let Some(image) = self.registry.images.get_mut(digest) else { return Ok(()) };
            match step {
                Action::BootTest { .. } if self.faults.is_untestable(day) => return Ok(()),
                Action::BootTest { .. } => {
                    let failure =
                        self.faults.boot_fails(target, day).then(|| "the pool did not come back".into());
                    image.boot_tests.push(BootTestFact { finished: now, failure });
                    if !image.passed_last() {
                        return Ok(());
                    }
                }
                Action::Promote { tags, .. } => {
                    if !image.passed_last() || image.withdrawn.is_some() {
                        return Ok(());
                    }
                    image.is_promoted = true;
                    for tag in [target.tag()].iter().chain(tags) {
                        self.write()?;
                        self.registry.tags.insert(tag.clone(), digest.clone());
                    }
                }
                Action::NoteRollback { tags, .. } => {
                    self.note(tags, &RollbackNote { to: target.clone(), seen: now })?;
                }
                Action::ClearRollback { tags, .. } => image.rollbacks.retain(|tag, _| !tags.contains(tag)),
                Action::Withdraw { reason } => image.withdrawn = Some(reason.clone()),
                Action::Reinstate => image.withdrawn = None,
                Action::Sign | Action::Build { .. } => {}
            }
        }
        Ok(())
    }

    fn note(&mut self, tags: &[Tag], note: &RollbackNote) -> Result<(), Killed> {
        for tag in tags {
            self.write()?;
            let there = self.registry.tags.get(tag).cloned();
            if let Some(image) = there.and_then(|digest| self.registry.images.get_mut(&digest)) {
                image.rollbacks.insert(tag.clone(), note.clone());
            }
        }
        Ok(())
    }
}
