use std::collections::BTreeMap;

use jiff::civil::Date;
use kmod_compat::KernelRelease;

use crate::publisher::Publisher;

#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) days: usize,
    /// Days on which a release of a followed line supports stable's kernel.
    possible: usize,
    /// Days on which `stable` has an image for stable's kernel.
    pub(crate) matching: usize,
    /// Days from a kernel's first day in stable to its first day at the tag `stable`. `None`: it never got there, though a
    /// release supported it.
    lags: BTreeMap<(usize, KernelRelease), Option<i64>>,
    histories: usize,
    pub(crate) builds: usize,
    pub(crate) failed_builds: usize,
}

impl Figures {
    pub(crate) const HEADER: &'static str = "\
| policy | days | supported | `stable` matches | kernels without an image | lag median | p95 | max | builds | failed builds |
|---|---|---|---|---|---|---|---|---|---|";

    /// Once a day, after the run.
    pub(crate) fn count(&mut self, publisher: &Publisher, day: Date) {
        let Some(change) = publisher.history.kernel("stable", day, 0) else { return };
        self.days += 1;
        let lines = publisher.history.lines(day);
        let supported = publisher
            .history
            .released(day)
            .any(|release| lines.contains(&release.version.line()) && release.supports(&change.kernel));
        self.possible += usize::from(supported);
        let lag = self.lags.entry((0, change.kernel.clone()));
        let stable = publisher.registry.at(&"stable".parse().unwrap());
        if stable.is_some_and(|(_, image)| image.target.kernel == change.kernel) {
            self.matching += 1;
            lag.or_insert(None).get_or_insert((day - change.date).get_days().into());
        } else if supported {
            lag.or_insert(None);
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.histories += 1;
        let kernels = other.lags.into_iter().map(|((_, kernel), lag)| ((self.histories, kernel), lag));
        self.lags.extend(kernels);
        for (sum, more) in [
            (&mut self.days, other.days),
            (&mut self.possible, other.possible),
            (&mut self.matching, other.matching),
            (&mut self.builds, other.builds),
            (&mut self.failed_builds, other.failed_builds),
        ] {
            *sum += more;
        }
    }

    pub(crate) fn row(&self, name: &str) -> String {
        let mut lags: Vec<_> = self.lags.values().flatten().copied().collect();
        lags.sort_unstable();
        let at =
            |share: usize| lags.get((lags.len() * share / 100).min(lags.len() - 1)).copied().unwrap_or(0);
        let never = self.lags.values().filter(|lag| lag.is_none()).count();
        format!(
            "| {name} | {} | {} | {} | {never} | {} | {} | {} | {} | {} |",
            self.days,
            self.possible,
            self.matching,
            at(50),
            at(95),
            at(100),
            self.builds,
            self.failed_builds
        )
    }
}
