use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kmod_compat::{CompatMatrix, ZfsLine, ZfsVersion};

use super::*;
use crate::model::image::Tag;
use crate::model::inputs::SourceImageRef;
use crate::model::promote::TaggedImage;
use crate::model::{Digest, Target};

const OLD: &str = "6.17.8-300.fc43.x86_64";
const NEW: &str = "6.17.9-300.fc43.x86_64";

mod rollback;

fn matrix(exclusion: &str) -> CompatMatrix {
    let row = |version: &str, max: &str| {
        format!(
            "[[release]]\nversion = \"{version}\"\nlinux_min = \"4.18\"\nlinux_max = \"{max}\"\n\
             source = \"https://example.org/{version}\"\n"
        )
    };
    let rows = [row("2.3.5", "6.17"), row("2.4.3", "6.17"), row("2.4.4", "6.18")].concat();
    let policy = "[policy]\nline = \"2.4\"\nunknown_release = \"hold\"\n";
    CompatMatrix::parse("test", &format!("{policy}{rows}{exclusion}")).unwrap()
}

const EXCLUDED: &str =
    "[[exclude]]\nzfs = \"2.4.4\"\nreason = \"it loses data\"\nsource = \"https://example.org/1\"\n";

/// A world of sources, releases and a repository, in which a plan is made.
struct World {
    matrix: CompatMatrix,
    lines: Vec<ZfsLine>,
    releases: Vec<ZfsVersion>,
    sources: Vec<(&'static str, Result<&'static str, SourceState>)>,
    observed: ObservedState,
    now: Timestamp,
    force: bool,
}

fn target(zfs: &str, kernel: &str) -> Target {
    Target { zfs: zfs.parse().unwrap(), kernel: kernel.parse().unwrap() }
}

fn digest(target: &Target) -> Digest {
    Digest::of(target.to_string().as_bytes())
}

fn image(target: &Target) -> ObservedImage {
    ObservedImage {
        digest: digest(target),
        evidence: EvidenceTrust::Trusted,
        is_current: true,
        unacceptable: None,
        boot_tests: Vec::new(),
        is_promoted: false,
        withdrawn: None,
        noted: BTreeSet::new(),
    }
}

fn proven(target: &Target) -> ObservedTarget {
    let own = ObservedImage { is_promoted: true, ..image(target) };
    ObservedTarget { own: Some(own), ..ObservedTarget::default() }
}

impl World {
    /// `stable` ships the old kernel and `testing` the new one; nothing is published.
    fn new() -> Self {
        Self {
            matrix: matrix(""),
            lines: vec!["2.4".parse().unwrap()],
            releases: ["2.3.5", "2.4.3", "2.4.4"].map(|zfs| zfs.parse().unwrap()).to_vec(),
            sources: vec![("stable", Ok(OLD)), ("testing", Ok(NEW))],
            observed: ObservedState::default(),
            now: "2026-11-21T06:00:00Z".parse().unwrap(),
            force: false,
        }
    }

    fn desired(&self) -> DesiredState {
        let image = || SourceImageRef {
            image: format!("quay.io/fedora/fedora-coreos@{}", Digest::of(b"")).parse().unwrap(),
            version: None,
        };
        let sources: Vec<_> = self
            .sources
            .iter()
            .map(|(name, state)| FollowedSource {
                name: (*name).to_owned(),
                channel: Some(name.parse().unwrap()),
                arch: kmod_compat::Arch::X86_64,
                state: match state {
                    Ok(kernel) => {
                        SourceState::Kernel { kernel: kernel.parse().unwrap(), fedora: None, image: image() }
                    }
                    Err(state) => state.clone(),
                },
            })
            .collect();
        DesiredState::new(&sources, &self.lines, &self.releases, |zfs, kernel| {
            Ok(self.matrix.verdict(zfs, kernel))
        })
    }

    /// Targets and tags that a test did not set are observed to be missing.
    fn plan(&self) -> ReconcilePlan {
        let desired = self.desired();
        let mut observed = self.observed.clone();
        for wanted in &desired.targets {
            observed.targets.entry(wanted.target.clone()).or_insert_with(|| Ok(ObservedTarget::default()));
        }
        for channel in &desired.channels {
            for tag in channel.wanted.iter().flat_map(|target| channel.tags(target)) {
                observed.tags.entry(tag).or_insert(Ok(None));
            }
        }
        let options = ReconcileOptions { now: self.now, force: self.force };
        reconcile(&desired, &observed, |zfs, kernel| self.matrix.verdict(zfs, kernel), options)
    }

    /// Publishes and promotes the target, and points the tags to it.
    fn publish(&mut self, target: &Target, tags: &[&str]) {
        self.observed.targets.insert(target.clone(), Ok(proven(target)));
        self.point(target, tags);
    }

    fn point(&mut self, target: &Target, tags: &[&str]) {
        for tag in tags {
            let there = TaggedImage { digest: digest(target), target: Ok(target.clone()) };
            self.observed.tags.insert(tag.parse().unwrap(), Ok(Some(there)));
        }
    }

    fn set(&mut self, target: &Target, observed: ObservedTarget) {
        self.observed.targets.insert(target.clone(), Ok(observed));
    }
}

/// `TARGET: STEPS` or its status, for each target.
fn steps(plan: &ReconcilePlan) -> Vec<String> {
    let step = |step: &Action| match step {
        Action::Promote { tags, .. }
        | Action::NoteRollback { tags, .. }
        | Action::ClearRollback { tags, .. } => {
            let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
            format!("{} {}", step.as_str(), tags.join(" ")).trim().to_owned()
        }
        _ => step.as_str().to_owned(),
    };
    let target = |planned: &TargetPlan| {
        let steps: Vec<_> = planned.steps.iter().map(step).collect();
        let status = match &planned.status {
            TargetStatus::Pending => steps.join(", "),
            TargetStatus::UpToDate => "up-to-date".to_owned(),
            TargetStatus::BackingOff(backoff) => format!("backing off after {}", backoff.attempts),
            TargetStatus::Waiting { .. } => "waiting".to_owned(),
            TargetStatus::Withdrawn { .. } => "withdrawn".to_owned(),
            TargetStatus::NotBuilt(not_built) => not_built.kind.as_str().to_owned(),
            TargetStatus::Unknown { .. } => "unknown".to_owned(),
        };
        format!("{} {}: {status}", planned.target.zfs, planned.target.kernel.version())
    };
    plan.targets.iter().map(target).collect()
}

const STABLE: [&str; 3] = ["stable", "zfs-2.4_stable", "fedora-43_stable"];
const TESTING: [&str; 3] = ["testing", "zfs-2.4_testing", "fedora-43_testing"];

#[test]
fn an_empty_repository_is_filled_and_then_nothing_is_left_to_do() {
    let mut world = World::new();
    assert_eq!(
        steps(&world.plan()),
        [
            "2.4.4 6.17.8: build, boot-test, promote stable zfs-2.4_stable fedora-43_stable",
            "2.4.4 6.17.9: build, boot-test, promote testing zfs-2.4_testing fedora-43_testing",
        ]
    );
    world.publish(&target("2.4.4", OLD), &STABLE);
    world.publish(&target("2.4.4", NEW), &TESTING);
    let plan = world.plan();
    assert!(!plan.has_steps(), "{plan:?}");
    assert!(plan.channels.iter().all(|channel| channel.status == ChannelStatus::Right), "{plan:?}");
}

#[test]
fn a_kernel_that_moves_to_stable_is_only_promoted() {
    let mut world = World::new();
    world.publish(&target("2.4.4", OLD), &STABLE);
    world.publish(&target("2.4.4", NEW), &TESTING);
    world.sources = vec![("stable", Ok(NEW)), ("testing", Ok(NEW))];
    assert_eq!(steps(&world.plan()), ["2.4.4 6.17.9: promote stable zfs-2.4_stable fedora-43_stable"]);
    // Killed after the first tag.
    world.point(&target("2.4.4", NEW), &["stable"]);
    assert_eq!(steps(&world.plan()), ["2.4.4 6.17.9: promote zfs-2.4_stable fedora-43_stable"]);
}

#[test]
fn a_release_that_may_not_be_used_does_not_stop_the_older_one() {
    let mut world = World::new();
    world.releases.push("2.4.5".parse().unwrap());
    assert!(steps(&world.plan())[0].starts_with("2.4.4 6.17.8: build"));
}

#[test]
fn an_older_line_has_channels_of_its_own() {
    let mut world = World::new();
    world.sources.truncate(1);
    world.lines = vec!["2.4".parse().unwrap(), "2.3".parse().unwrap()];
    assert_eq!(
        steps(&world.plan()),
        [
            "2.4.4 6.17.8: build, boot-test, promote stable zfs-2.4_stable fedora-43_stable",
            "2.3.5 6.17.8: build, boot-test, promote zfs-2.3_stable",
        ]
    );
}

#[test]
fn a_failed_boot_test_is_repeated_with_growing_distance_and_nothing_is_built() {
    let mut world = World::new();
    world.sources.truncate(1);
    let wanted = target("2.4.4", OLD);
    let failed = |hours: i64| BootTestFact {
        finished: world.now - SignedDuration::from_hours(hours),
        failure: Some("the pool did not come back".into()),
    };
    let candidate = |tests: Vec<BootTestFact>| ObservedTarget {
        candidate: Some(ObservedImage { boot_tests: tests, ..image(&wanted) }),
        ..ObservedTarget::default()
    };
    for (tests, expected) in [
        (vec![], "boot-test, promote stable zfs-2.4_stable fedora-43_stable"),
        (vec![failed(2)], "backing off after 1"),
        (vec![failed(23)], "boot-test, promote stable zfs-2.4_stable fedora-43_stable"),
        (vec![failed(23), failed(47)], "backing off after 2"),
        (vec![failed(47), failed(71)], "boot-test, promote stable zfs-2.4_stable fedora-43_stable"),
        // A time in the future counts as now.
        (vec![failed(-1000)], "backing off after 1"),
    ] {
        let mut world = World { observed: ObservedState::default(), ..World::new() };
        world.sources.truncate(1);
        world.set(&wanted, candidate(tests.clone()));
        assert_eq!(steps(&world.plan()), [format!("2.4.4 6.17.8: {expected}")], "{tests:?}");
    }
    // With other inputs the candidate is superseded.
    let stale = ObservedImage { is_current: false, boot_tests: vec![failed(2)], ..image(&wanted) };
    world.set(&wanted, ObservedTarget { candidate: Some(stale), ..ObservedTarget::default() });
    assert!(steps(&world.plan())[0].starts_with("2.4.4 6.17.8: build, boot-test"));
}

#[test]
fn a_failed_build_is_repeated_with_growing_distance() {
    let mut world = World::new();
    world.sources.truncate(1);
    let failed = |hours: &[i64]| ObservedTarget {
        failed_builds: hours
            .iter()
            .map(|hours| FailedAttempt {
                at: World::new().now - SignedDuration::from_hours(*hours),
                reason: "error: unknown type".into(),
            })
            .collect(),
        ..ObservedTarget::default()
    };
    for (hours, waits) in [
        (&[2][..], true),
        (&[23], false),
        (&[23, 47], true),
        (&[160, 300, 400, 500, 600], true),
        (&[170, 300, 400, 500], false),
    ] {
        world.set(&target("2.4.4", OLD), failed(hours));
        let steps = steps(&world.plan());
        assert_eq!(steps[0].contains("backing off"), waits, "{hours:?}: {steps:?}");
    }
    world.force = true;
    world.set(&target("2.4.4", OLD), failed(&[2]));
    assert!(steps(&world.plan())[0].contains(": build, boot-test"));
}

#[test]
fn a_proven_image_stays_right_with_other_inputs_and_a_later_failure_unproves_it() {
    let mut world = World::new();
    world.sources.truncate(1);
    let wanted = target("2.4.4", OLD);
    world.publish(&wanted, &STABLE);
    let own = |change: &dyn Fn(&mut ObservedImage)| {
        let mut observed = proven(&wanted);
        observed.own.as_mut().map(change);
        observed
    };
    for (change, expected) in [
        (&(|own: &mut ObservedImage| own.is_current = false) as &dyn Fn(&mut ObservedImage), "up-to-date"),
        (&|own| own.is_promoted = false, "boot-test"),
        (&|own| own.evidence = EvidenceTrust::Rotated, "sign"),
        (
            &|own| own.unacceptable = Some("its recipe is listed as faulty".into()),
            "build, boot-test, promote stable zfs-2.4_stable fedora-43_stable",
        ),
        (
            &|own| own.evidence = EvidenceTrust::Untrusted("nothing is attached".into()),
            "build, boot-test, promote stable zfs-2.4_stable fedora-43_stable",
        ),
        (&|own| own.withdrawn = Some("it loses data".into()), "reinstate"),
        (
            &|own| {
                let finished = "2026-01-01T00:00:00Z".parse().unwrap();
                own.boot_tests = vec![BootTestFact { finished, failure: Some("oops".into()) }];
            },
            "boot-test",
        ),
    ] {
        world.set(&wanted, own(change));
        assert_eq!(steps(&world.plan()), [format!("2.4.4 6.17.8: {expected}")]);
    }
}

#[test]
fn an_unproven_image_at_its_own_tag_is_tested_and_not_built_again() {
    let mut world = World::new();
    world.sources.truncate(1);
    let wanted = target("2.4.4", OLD);
    let untested = ObservedImage { is_current: false, ..image(&wanted) };
    world.set(&wanted, ObservedTarget { own: Some(untested), ..ObservedTarget::default() });
    assert_eq!(
        steps(&world.plan()),
        ["2.4.4 6.17.8: boot-test, promote stable zfs-2.4_stable fedora-43_stable"]
    );
}

#[test]
fn a_recall_moves_the_channels_back_at_once_and_withdraws_the_images() {
    let mut world = World::new();
    world.sources.truncate(1);
    let (older, recalled) = (target("2.4.3", OLD), target("2.4.4", OLD));
    world.publish(&older, &[]);
    world.publish(&recalled, &STABLE);
    world.matrix = matrix(EXCLUDED);
    assert_eq!(
        steps(&world.plan()),
        ["2.4.3 6.17.8: promote stable zfs-2.4_stable fedora-43_stable", "2.4.4 6.17.8: withdraw"]
    );
    // No other release supports the kernel: the channel stays.
    world.releases = vec!["2.4.4".parse().unwrap()];
    world.observed.targets.remove(&older);
    let plan = world.plan();
    assert_eq!(steps(&plan), ["2.4.4 6.17.8: withdraw"]);
    assert!(matches!(plan.channels[0].status, ChannelStatus::NotBuilt(_)), "{plan:?}");
    // The exclusion is removed.
    world.matrix = matrix("");
    let mut withdrawn = proven(&recalled);
    withdrawn.own.as_mut().unwrap().withdrawn = Some("it loses data".into());
    world.set(&recalled, withdrawn.clone());
    assert_eq!(steps(&world.plan()), ["2.4.4 6.17.8: reinstate"]);
    world.sources.clear();
    assert_eq!(steps(&world.plan()), ["2.4.4 6.17.8: reinstate"]);
}

#[test]
fn a_tag_moved_by_hand_comes_back() {
    let mut world = World::new();
    world.sources.truncate(1);
    let wanted = target("2.4.4", OLD);
    world.publish(&wanted, &STABLE);
    let foreign = TaggedImage { digest: Digest::of(b"foreign"), target: Err("it has no labels".into()) };
    world.observed.tags.insert("stable".parse().unwrap(), Ok(Some(foreign)));
    assert_eq!(steps(&world.plan()), ["2.4.4 6.17.8: promote stable"]);
}

#[test]
fn what_is_unknown_leads_to_no_write() {
    let mut world = World::new();
    world.publish(&target("2.4.4", OLD), &STABLE);
    world.observed.targets.insert(target("2.4.4", NEW), Err("the registry is down".into()));
    assert_eq!(steps(&world.plan()), ["2.4.4 6.17.8: up-to-date", "2.4.4 6.17.9: unknown"]);
    world.observed.tags.insert("stable".parse().unwrap(), Err("timed out".into()));
    let plan = world.plan();
    assert_eq!(steps(&plan)[0], "2.4.4 6.17.8: up-to-date");
    assert!(matches!(&plan.channels[0].status, ChannelStatus::Unknown { reason } if reason == "timed out"));
    world.sources = vec![("stable", Err(SourceState::Gone { reason: "it answered 404".into() }))];
    let plan = world.plan();
    assert!(!plan.has_steps());
    assert!(matches!(plan.channels[0].status, ChannelStatus::SourceGone { .. }));
}
