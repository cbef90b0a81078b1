//! The faults of one seed, all known before the first day.

use std::collections::BTreeSet;
use std::ops::Range;

use jiff::civil::Date;
use kmod_builder::model::Target;
use kmod_compat::{KernelRelease, ZfsVersion};

use crate::history::History;

type Days = Range<Date>;

#[derive(Default)]
pub(crate) struct Faults {
    /// The pair does not compile.
    broken_builds: Vec<(KernelRelease, Days)>,
    failing_boots: Vec<(KernelRelease, Days)>,
    missing_headers: Vec<(KernelRelease, Days)>,
    /// `stable` ships the kernel before.
    rollbacks: Vec<Days>,
    recalls: Vec<(ZfsVersion, Days)>,
    registry_down: BTreeSet<Date>,
    /// The run is killed after as many writes.
    kills: Vec<(Date, usize)>,
    /// A second run executes the plan that the first one made.
    second_publisher: BTreeSet<Date>,
    untestable: BTreeSet<Date>,
    pub(crate) moved_by_hand: BTreeSet<Date>,
    /// The publisher updates the program, which changes the inputs of every build.
    pub(crate) updates: BTreeSet<Date>,
}

fn during<T>(all: &[(T, Days)], day: Date, matches: impl Fn(&T) -> bool) -> bool {
    all.iter().any(|(of, days)| days.contains(&day) && matches(of))
}

impl Faults {
    pub(crate) fn of(seed: u64, history: &History) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut faults = Self::default();
        let (first, last) = history.days();
        let days = |from: Date, count: i64| from..from + jiff::Span::new().days(count);
        for change in &history.kernels {
            match random.u32(0..60) {
                0 => faults.broken_builds.push((change.kernel.clone(), days(change.date, random.i64(1..40)))),
                1 | 2 => faults.failing_boots.push((change.kernel.clone(), days(change.date, 7))),
                3..=5 => faults.missing_headers.push((change.kernel.clone(), days(change.date, 2))),
                6 if change.stream == "stable" => {
                    let from = change.date + jiff::Span::new().days(random.i64(1..9));
                    // One day is an outdated mirror.
                    faults.rollbacks.push(days(from, *random.choice(&[1, 3, 6]).unwrap()));
                }
                _ => {}
            }
        }
        for release in &history.releases {
            if random.u32(0..12) == 0 {
                let from = release.date + jiff::Span::new().days(random.i64(5..60));
                faults.recalls.push((release.version, days(from, random.i64(10..400))));
            }
        }
        let mut day = first;
        while day <= last {
            match random.u32(0..400) {
                0..=3 => drop(faults.registry_down.insert(day)),
                4..=19 => faults.kills.push((day, random.usize(0..14))),
                20..=25 => drop(faults.second_publisher.insert(day)),
                26..=29 => drop(faults.untestable.insert(day)),
                30..=33 => drop(faults.moved_by_hand.insert(day)),
                34..=37 => drop(faults.updates.insert(day)),
                _ => {}
            }
            day = day.tomorrow().unwrap();
        }
        faults
    }

    /// One run is killed after as many writes.
    pub(crate) fn killed(day: Date, writes: usize) -> Self {
        Self { kills: vec![(day, writes)], ..Self::default() }
    }

    pub(crate) fn killed_runs(&self) -> usize {
        self.kills.len()
    }

    pub(crate) fn build_fails(&self, target: &Target, day: Date) -> bool {
        during(&self.broken_builds, day, |kernel| *kernel == target.kernel)
    }

    pub(crate) fn boot_fails(&self, target: &Target, day: Date) -> bool {
        during(&self.failing_boots, day, |kernel| *kernel == target.kernel)
    }

    pub(crate) fn headers_are_missing(&self, target: &Target, day: Date) -> bool {
        during(&self.missing_headers, day, |kernel| *kernel == target.kernel)
    }

    pub(crate) fn is_rolled_back(&self, day: Date) -> bool {
        self.rollbacks.iter().any(|days| days.contains(&day))
    }

    pub(crate) fn excluded(&self, history: &History, day: Date) -> Vec<ZfsVersion> {
        let of = history.released(day).map(|release| release.version);
        of.filter(|zfs| during(&self.recalls, day, |recalled| recalled == zfs)).collect()
    }

    pub(crate) fn registry_is_down(&self, day: Date) -> bool {
        self.registry_down.contains(&day)
    }

    pub(crate) fn kill(&self, day: Date) -> Option<usize> {
        self.kills.iter().find(|(of, _)| *of == day).map(|(_, writes)| *writes)
    }

    pub(crate) fn has_second_publisher(&self, day: Date) -> bool {
        self.second_publisher.contains(&day)
    }

    pub(crate) fn is_untestable(&self, day: Date) -> bool {
        self.untestable.contains(&day)
    }
}
