//! The reconciliation engine against the history of Fedora CoreOS and OpenZFS from 2019 to 2024: one run a day, with
//! faults. `cargo xtask simulate` runs it for 200 seeds and prints the table of docs/simulation.md.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "the table is printed with --nocapture")]

mod checks;
mod faults;
mod figures;
mod history;
mod publisher;
mod registry;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use kmod_builder::model::reconcile::{Action, DesiredState, ObservedState, ReconcileOptions, ReconcilePlan};
use kmod_compat::CompatMatrix;

use checks::{play, play_until};
use faults::Faults;
use figures::Figures;
use history::History;
use publisher::{Policy, engine};

/// `cargo xtask simulate` sets 200.
fn seeds() -> u64 {
    std::env::var("SIMULATE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(3)
}

#[test]
fn every_channel_is_right_or_has_one_open_reason_on_every_day() {
    let history = History::read();
    let (next, days, builds, kills) = <(AtomicU64, AtomicUsize, AtomicUsize, AtomicUsize)>::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds() {
                break;
            }
            let faults = Faults::of(seed, &history);
            let played = play(&history, &faults, Policy::Reconcile, engine);
            let shown: Vec<_> = played.violations.iter().take(5).collect();
            assert!(shown.is_empty(), "seed {seed}: {} violations: {shown:#?}", played.violations.len());
            days.fetch_add(played.figures.days, Ordering::Relaxed);
            builds.fetch_add(played.figures.builds, Ordering::Relaxed);
            kills.fetch_add(faults.killed_runs(), Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let [days, builds, kills] = [days, builds, kills].map(AtomicUsize::into_inner);
    println!("{} seeds, {days} days, {kills} killed runs, {builds} builds, 0 violations", seeds());
}

/// In the first six weeks, in which kernels are built, promoted, and move from `testing` to `stable`.
#[test]
fn a_run_that_is_killed_after_any_write_is_completed_by_the_next_one() {
    let history = History::read();
    let (first, _) = history.days();
    let last = first + jiff::Span::new().days(45);
    let mut days = first;
    let mut tried = 0;
    while days <= last {
        for writes in 0..30 {
            let faults = Faults::killed(days, writes);
            let played = play_until(&history, &faults, Policy::Reconcile, engine, days.tomorrow().unwrap());
            assert_eq!(played.violations, Vec::<String>::new(), "killed on {days} after {writes} writes");
            if !played.was_killed {
                break;
            }
            tried += 1;
        }
        days = days.tomorrow().unwrap();
    }
    assert!(tried > 40, "{tried}");
    println!("{tried} runs were killed, each before another write");
}

#[test]
fn the_policies_are_compared_on_the_same_history() {
    let history = History::read();
    println!("{}", Figures::HEADER);
    let seeded: Vec<_> = (0..seeds().min(20)).map(|seed| Faults::of(seed, &history)).collect();
    for (name, worlds) in [("no faults", vec![Faults::default()]), ("with faults", seeded)] {
        let of = |policy| {
            let mut figures = Figures::default();
            for faults in &worlds {
                figures.add(play(&history, faults, policy, engine).figures);
            }
            figures
        };
        let ours = of(Policy::Reconcile);
        println!("{}", ours.row(&format!("reconcile, {name}")));
        for (policy, label) in [
            (Policy::StableOnly, "build on stable only"),
            (Policy::HoldUnknownRelease, "hold on unknown release"),
            (Policy::NewestReleaseOnly, "newest release only"),
        ] {
            let theirs = of(policy);
            println!("{}", theirs.row(&format!("{label}, {name}")));
            assert!(ours.matching >= theirs.matching, "{label}, {name}");
        }
    }
}

/// The fault of the engine before: a kernel that moves to another stream is up to date, and no tag moves.
fn ignoring_channels(
    desired: &DesiredState,
    observed: &ObservedState,
    matrix: &CompatMatrix,
    options: ReconcileOptions,
) -> ReconcilePlan {
    let mut plan = engine(desired, observed, matrix, options);
    for target in &mut plan.targets {
        if !target.steps.iter().any(|step| matches!(step, Action::Build { .. })) {
            target.steps.retain(|step| !matches!(step, Action::Promote { .. }));
        }
    }
    plan
}

#[test]
fn an_engine_that_ignores_channels_is_found() {
    let history = History::read();
    let played = play(&history, &Faults::default(), Policy::Reconcile, ignoring_channels);
    let found = played.violations.first().unwrap();
    assert!(found.contains("stable"), "{found}");
}
