//! What must hold after each day. Computed from the history and the repository, without the engine.

use std::collections::BTreeMap;

use jiff::civil::Date;
use kmod_builder::model::Target;
use kmod_builder::model::image::Tag;
use kmod_builder::model::reconcile::{ChannelStatus, DesiredChannel};
use kmod_compat::{KernelRelease, ZfsLine};

use crate::faults::Faults;
use crate::figures::Figures;
use crate::history::History;
use crate::publisher::{Planner, Policy, Publisher, Run, morning};

pub(crate) struct Played {
    /// Sentences.
    pub(crate) violations: Vec<String>,
    pub(crate) figures: Figures,
    /// A run was killed before its last write.
    pub(crate) was_killed: bool,
}

struct Observer<'a, 'b> {
    publisher: &'b Publisher<'a>,
    day: Date,
    violations: &'b mut Vec<String>,
}

/// Runs the publisher on each day of the history.
pub(crate) fn play(history: &History, faults: &Faults, policy: Policy, planner: Planner) -> Played {
    play_until(history, faults, policy, planner, history.days().1)
}

pub(crate) fn play_until(
    history: &History,
    faults: &Faults,
    policy: Policy,
    planner: Planner,
    last: Date,
) -> Played {
    let mut publisher = Publisher::new(history, faults, policy, planner);
    let (mut violations, mut figures) = (Vec::new(), Figures::default());
    // Whole runs since the channel's tag should go back.
    let mut sightings: BTreeMap<String, (Target, u32)> = BTreeMap::new();
    let (mut day, mut was_killed) = (history.days().0, false);
    while day <= last {
        let moved = faults.moved_by_hand.contains(&day) && move_by_hand(&mut publisher, day);
        let run = publisher.run(day);
        was_killed |= faults.kill(day).is_some() && run.as_ref().is_some_and(|run| !run.is_whole);
        let mut observer = Observer { publisher: &publisher, day, violations: &mut violations };
        observer.safe(moved && run.as_ref().is_none_or(|run| !run.is_whole));
        if let Some(run) = run.filter(|run| run.is_whole) {
            observer.right(&run, &mut sightings);
        }
        figures.count(&publisher, day);
        day = day.tomorrow().unwrap();
    }
    for ((target, recipe), builds) in &publisher.registry.builds {
        if *builds > 1 {
            violations.push(format!("{target} was built {builds} times from the recipe {recipe}"));
        }
    }
    figures.builds = publisher.registry.builds.values().sum();
    figures.failed_builds = publisher.registry.failed_builds.values().map(Vec::len).sum();
    Played { violations, figures, was_killed }
}

/// Points `stable` to the oldest image in the repository.
fn move_by_hand(publisher: &mut Publisher, _day: Date) -> bool {
    let images = publisher.registry.images.iter().filter(|(_, image)| image.is_promoted);
    let Some((digest, _)) = images.min_by_key(|(_, image)| image.target.kernel.clone()) else { return false };
    let digest = digest.clone();
    publisher.registry.tags.insert("stable".parse().unwrap(), digest);
    true
}

impl Observer<'_, '_> {
    fn violation(&mut self, text: &str) {
        self.violations.push(format!("{}: {text}", self.day));
    }

    /// On every day: a channel has only images that were promoted after a passed test.
    fn safe(&mut self, moved: bool) {
        let is_channel = |tag: &Tag| !tag.as_str().starts_with("zfs-") || !tag.as_str().contains("_kernel-");
        let tags = self.publisher.registry.tags.keys();
        let tags: Vec<_> =
            tags.filter(|tag| is_channel(tag) && !tag.as_str().starts_with("candidate-")).collect();
        for tag in tags {
            let found = self
                .publisher
                .registry
                .at(tag)
                .map(|(_, image)| (image.is_promoted, image.boot_tests.is_empty()));
            if !moved && found != Some((true, false)) {
                self.violation(&format!("{tag} points to an image that is not proven"));
            }
        }
    }

    /// After a run that nothing disturbed.
    fn right(&mut self, run: &Run, sightings: &mut BTreeMap<String, (Target, u32)>) {
        if let Some(planned) = run.after.targets.iter().find(|planned| !planned.steps.is_empty()) {
            let (target, steps) = (&planned.target, &planned.steps);
            self.violation(&format!("a second run has steps for {target}: {steps:?}"));
        }
        for (channel, planned) in run.desired.channels.iter().zip(&run.after.channels) {
            let Some(kernel) = self.publisher.kernel(&channel.source, self.day) else { continue };
            if self.publisher.policy != Policy::Reconcile {
                continue;
            }
            let oracle = self.newest_usable(channel.line, kernel);
            let name = channel.name();
            let wrong = oracle.as_ref().and_then(|target| self.wrong_tag(channel, target));
            if wrong.is_none() {
                sightings.remove(&name);
            }
            let excuse = match (&oracle, &wrong, &planned.status) {
                (None, _, ChannelStatus::NotBuilt(_)) | (Some(_), None, ChannelStatus::Right) => Ok(()),
                (Some(target), Some(_), ChannelStatus::Waiting { .. }) => {
                    check(self.publisher.faults.headers_are_missing(target, self.day))
                }
                (Some(target), Some(_), ChannelStatus::BackingOff(backoff)) => {
                    let distance = backoff.next.duration_since(morning(self.day)).as_hours();
                    check(distance <= 24 * 7 && self.has_failed(target))
                }
                (Some(target), Some(_), ChannelStatus::RollbackSeen { .. }) => {
                    let seen = sightings.entry(name.clone()).or_insert_with(|| (target.clone(), 0));
                    if seen.0 != *target {
                        *seen = (target.clone(), 0);
                    }
                    seen.1 += 1;
                    let runs = seen.1;
                    check(runs == 1)
                }
                (_, _, status) => Err(format!("{status:?}")),
            };
            if let Err(status) = excuse {
                self.violation(&format!(
                    "{name} should have {oracle:?}; wrong is {wrong:?}; its status is {status}"
                ));
            }
        }
    }

    fn newest_usable(&self, line: ZfsLine, kernel: &KernelRelease) -> Option<Target> {
        let excluded = self.publisher.faults.excluded(self.publisher.history, self.day);
        let of_line = self.publisher.history.released(self.day).filter(|release| {
            release.version.line() == line && release.supports(kernel) && !excluded.contains(&release.version)
        });
        let zfs = of_line.map(|release| release.version).max()?;
        Some(Target { zfs, kernel: kernel.clone() })
    }

    /// The first tag of the channel that has not the proven image of the target.
    fn wrong_tag(&self, channel: &DesiredChannel, target: &Target) -> Option<Tag> {
        let is_right = |tag: &Tag| {
            self.publisher.registry.at(tag).is_some_and(|(_, image)| {
                image.target == *target && image.passed_last() && image.withdrawn.is_none()
            })
        };
        channel.tags(target).into_iter().find(|tag| !is_right(tag))
    }

    fn has_failed(&self, target: &Target) -> bool {
        let registry = &self.publisher.registry;
        let builds = registry.failed_builds.keys().any(|(failed, _)| failed == target);
        let tests = registry.images.values().filter(|image| image.target == *target);
        builds || tests.flat_map(|image| &image.boot_tests).any(|test| test.failure.is_some())
    }
}

fn check(holds: bool) -> Result<(), String> {
    if holds { Ok(()) } else { Err("an excuse that does not hold".to_owned()) }
}
