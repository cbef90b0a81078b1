use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use super::invariants::broken;
use super::random::{inventory, now, policies, stores};
use crate::model::cleanup::{Inventory, RetentionPlan, RetentionPolicy, StoredManifest};

const CASES: u32 = 10_000;

fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
}

/// Shown also by tests that pass.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").unwrap();
}

fn decide(all: &[StoredManifest], policy: &RetentionPolicy) -> RetentionPlan {
    RetentionPlan::decide("oci:store", &inventory(all), policy, now())
}

fn check(
    all: &[StoredManifest],
    policy: &RetentionPolicy,
    plan: &RetentionPlan,
) -> Result<(), TestCaseError> {
    broken(all, policy, plan).map_err(TestCaseError::fail)
}

#[test]
fn nothing_kept_needs_anything_deleted() {
    let (manifests, deleted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let outcome = runner(CASES).run(&(stores(), policies()), |(all, policy)| {
        let plan = decide(&all, &policy);
        check(&all, &policy, &plan)?;

        // The order in which a store lists its manifests does not matter.
        let reversed: Vec<StoredManifest> = all.iter().rev().cloned().collect();
        prop_assert_eq!(&plan, &decide(&reversed, &policy));

        // After the plan was carried out, the next plan deletes nothing.
        let left: Vec<StoredManifest> =
            plan.kept().iter().map(|entry| inventory(&all).find(&entry.digest).unwrap().clone()).collect();
        let again = decide(&left, &policy);
        prop_assert_eq!(again.deletions(), &[]);

        manifests.fetch_add(all.len(), Ordering::Relaxed);
        deleted.fetch_add(plan.deletions().len(), Ordering::Relaxed);
        Ok(())
    });
    outcome.unwrap();
    let (manifests, deleted) = (manifests.into_inner(), deleted.into_inner());
    say(&format!(
        "{CASES} random stores with {manifests} manifests, {deleted} of them deleted: no invariant broken"
    ));
    assert!(
        deleted > manifests / 10 && deleted < manifests * 9 / 10,
        "too few or too many deletions for a useful test"
    );
}

#[test]
fn a_stored_plan_reads_back_equal() {
    let outcome = runner(500).run(&(stores(), policies()), |(all, policy)| {
        let plan = decide(&all, &policy);
        let text = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(plan, serde_json::from_str(&text).unwrap());
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn the_next_run_finishes_an_interrupted_one() {
    let outcome =
        runner(1_000).run(&(stores(), policies(), any::<prop::sample::Index>()), |(all, policy, stop)| {
            let plan = decide(&all, &policy);
            let done = stop.index(plan.deletions().len() + 1);
            let gone: Vec<_> = plan.deletions()[..done].iter().map(|entry| &entry.digest).collect();
            let left: Vec<StoredManifest> =
                all.iter().filter(|stored| !gone.contains(&&stored.digest)).cloned().collect();
            let again = decide(&left, &policy);
            check(&left, &policy, &again)?;
            // The interruption deletes nothing that the first plan kept.
            let kept = |plan: &RetentionPlan| {
                plan.kept().iter().map(|entry| entry.digest.clone()).collect::<Vec<_>>()
            };
            let lost = kept(&plan).into_iter().find(|digest| !kept(&again).contains(digest));
            prop_assert_eq!(lost, None);
            Ok(())
        });
    outcome.unwrap();
}

#[test]
fn a_clock_that_jumps_loses_nothing_that_is_protected() {
    let jumps = prop_oneof![Just(-400_i64), Just(-1), Just(1), Just(400), Just(40_000)];
    let outcome = runner(1_000).run(&(stores(), policies(), jumps), |(all, policy, days)| {
        let when = now() + SignedDuration::from_hours(days * 24);
        let plan = RetentionPlan::decide("oci:store", &inventory(&all), &policy, when);
        check(&all, &policy, &plan)
    });
    outcome.unwrap();
}

/// Checks that the property detects a missing closure.
#[test]
fn without_the_closure_the_property_fails() {
    let outcome = runner(CASES).run(&(stores(), policies()), |(all, policy)| {
        let inventory: Inventory = inventory(&all);
        let plan = RetentionPlan::decide_by("oci:store", &inventory, &policy, now(), |_, roots| roots);
        check(&all, &policy, &plan)
    });
    let Err(TestError::Fail(reason, (all, _))) = outcome else { panic!("not noticed: {outcome:?}") };
    say(&format!("without the closure, with {} manifests: {reason}", all.len()));
    assert!(reason.message().contains("is kept and needs"), "{reason}");
}
