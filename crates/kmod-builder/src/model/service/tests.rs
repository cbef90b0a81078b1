use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const GOOD: &str = "zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64";
const OTHER: &str = "zfs-2.4.3_kernel-6.17.9-300.fc43.x86_64";
const HELD: &str = "zfs-2.4.3_kernel-7.3.0-300.fc44.x86_64";
const RUN: Option<&str> = Some("https://github.com/owner/zfs-kmods/actions/runs/7");

fn record(verb: &str, target: Option<&str>, failure: Option<Failure>, shown: Value) -> Record {
    let began: Timestamp = "2026-11-20T06:00:00Z".parse().unwrap();
    Record {
        verb: verb.into(),
        arguments: vec![verb.into()],
        target: target.map(str::to_owned),
        ending: if failure.is_some() { Ending::Failed } else { Ending::Done },
        failure,
        began,
        ended: began + jiff::SignedDuration::from_secs(75),
        shown: vec![shown],
    }
}

fn failure(class: Class, message: &str) -> Failure {
    Failure { class, message: message.into(), help: None }
}

fn plan() -> Record {
    let target = |tag: &str, decision: &str, streams: &[&str]| {
        json!({"tag": tag, "arch": "x86_64", "streams": streams, "decision": decision,
               "reason": format!("because {decision}"), "inputs": {"zfs": "2.4.3"}})
    };
    let targets = [
        target(GOOD, "build", &["stable"]),
        target(OTHER, "build", &["testing", "next"]),
        target(HELD, "held", &["next"]),
    ];
    record("plan", None, None, json!({"targets": targets, "unknown": []}))
}

fn went_well(tag: &str) -> Vec<Record> {
    let digest = format!("sha256:{}", "a".repeat(64));
    let published =
        json!({"image": format!("docker://ghcr.io/o/z@{digest}"), "digest": digest, "signed": true});
    vec![
        record(
            "build",
            Some(tag),
            None,
            json!({"decision": "built", "digest": digest, "published": published}),
        ),
        record("boot-test", Some(tag), None, json!({"result": "passed"})),
        record("promote", Some(tag), None, json!({})),
    ]
}

/// A run in which one target fails to build.
fn records() -> Vec<Record> {
    let mut all = vec![plan()];
    all.extend(went_well(GOOD));
    all.push(record(
        "build",
        Some(OTHER),
        Some(failure(Class::Build, "stage `kmod` | ```\n@owner <b>")),
        Value::Null,
    ));
    all
}

fn found(number: u64, wanted: &Wanted, open: bool) -> Found {
    Found { number, marker: wanted.marker.clone(), open, body: wanted.body.clone() }
}

#[test]
fn one_failure_leaves_the_others_alone() {
    let results = results(Goal::Promote, false, &records());
    assert!(results.complete && !results.is_good());
    let classes: Vec<_> = results.all().map(|trouble| (&*trouble.target, trouble.class)).collect();
    assert_eq!(classes, [(OTHER, Class::Build), (HELD, Class::Held)]);
    let good = &results.targets[0];
    assert!(good.promoted && good.signed == Some(true) && good.boot_test.as_deref() == Some("passed"));
    let text = summary(&results, &Asked { event: Some("schedule".into()), ..Asked::default() }, &Ok(vec![]));
    insta::assert_snapshot!(text);
}

#[test]
fn a_job_without_a_record_is_lost_and_never_fine() {
    let all = records();
    for missing in ["build", "boot-test", "promote"] {
        let left: Vec<_> = all
            .iter()
            .filter(|record| !(record.verb == missing && record.target.as_deref() == Some(GOOD)))
            .cloned()
            .collect();
        let results = results(Goal::Promote, false, &left);
        let trouble = &results.targets[0].troubles[0];
        assert_eq!(trouble.class, Class::Lost, "{missing}");
        assert!(trouble.message.contains(missing), "{}", trouble.message);
    }
    let nothing = results(Goal::Promote, false, &[]);
    assert_eq!(nothing.troubles[0].class, Class::Lost);
    assert!(!nothing.is_good() && !nothing.complete);
    assert!(!results(Goal::Cleanup, false, &[]).is_good());
    let untested: Vec<_> = all.into_iter().filter(|record| record.verb != "promote").collect();
    assert!(results(Goal::BootTest, false, &untested).targets[0].troubles.is_empty());
}

#[test]
fn what_upstream_did_not_say_is_told_place_by_place() {
    let shown = json!({"targets": [], "unknown": [{"place": "next (x86_64)", "reason": "no answer"}]});
    let plan = record("plan", None, Some(failure(Class::Other, "something could not be found out")), shown);
    let results = results(Goal::Promote, false, &[plan]);
    let classes: Vec<_> = results.all().map(|trouble| (&*trouble.target, trouble.class)).collect();
    assert_eq!(classes, [("next (x86_64)", Class::Upstream)]);
    assert!(!results.complete);
}

#[test]
fn issues_are_opened_updated_closed_and_opened_again() {
    let bad = results(Goal::Promote, false, &records());
    let wanted_now = wanted(&bad, RUN);
    assert_eq!(wanted_now.len(), 2);
    let opened = steps(&bad, &wanted_now, &[], true);
    assert!(matches!(&opened[..], [Step::Open(build), Step::Open(held)]
        if build.marker.class == Class::Build && held.marker.class == Class::Held));

    let open: Vec<_> = (10..).zip(&wanted_now).map(|(number, wanted)| found(number, wanted, true)).collect();
    // The same run again changes nothing; the next one writes the link of its own page, and leaves what is held alone.
    assert_eq!(steps(&bad, &wanted_now, &open, true), []);
    let tomorrow = wanted(&bad, Some("https://github.com/owner/zfs-kmods/actions/runs/8"));
    assert!(matches!(&steps(&bad, &tomorrow, &open, true)[..], [Step::Update(10, _)]));

    let mut records = vec![plan()];
    records.extend(went_well(GOOD));
    records.extend(went_well(OTHER));
    let half = results(Goal::Promote, false, &records);
    assert_eq!(half.targets[1].troubles[0].message, "`promote` has left 1 of 2 records");
    records.push(record("promote", Some(OTHER), None, json!({"channel": "next"})));
    let good = results(Goal::Promote, false, &records);
    let wanted_then = wanted(&good, RUN);
    assert_eq!(steps(&good, &wanted_then, &open, true), [Step::Close(10, "It went well.".into())]);

    let closed = [found(10, &wanted_now[0], false), open[1].clone()];
    assert!(matches!(&steps(&bad, &tomorrow, &closed, true)[..], [Step::Reopen(10, _)]));
}

#[test]
fn a_run_that_shows_nothing_closes_nothing() {
    let bad = results(Goal::Promote, false, &records());
    let all = wanted(&bad, RUN);
    let boot = Wanted { marker: Marker { class: Class::Boot, target: OTHER.into() }, ..all[0].clone() };
    let gone = Wanted {
        marker: Marker { class: Class::Build, target: "zfs-2.4.2_kernel-6".into() },
        ..all[0].clone()
    };
    let cleanup =
        Wanted { marker: Marker { class: Class::Permission, target: "cleanup".into() }, ..all[0].clone() };
    let mut issues: Vec<_> = (1..).zip(&all).map(|(number, wanted)| found(number, wanted, true)).collect();
    issues.extend([found(20, &boot, true), found(21, &gone, true), found(22, &cleanup, true)]);
    // A build that fails says nothing of the boot test before; a run for some streams nothing of other targets.
    assert_eq!(steps(&bad, &all, &issues, false), []);
    let closed = steps(&bad, &all, &issues, true);
    assert!(matches!(&closed[..], [Step::Close(21, _)]), "{closed:?}");
    let cleaned = results(Goal::Cleanup, false, &[record("cleanup", None, None, Value::Null)]);
    let closed = steps(&cleaned, &[], &issues, true);
    assert!(matches!(&closed[..], [Step::Close(22, _)]), "{closed:?}");
    let blind = results(Goal::Promote, false, &[]);
    assert!(
        steps(&blind, &wanted(&blind, RUN), &issues, true).iter().all(|step| matches!(step, Step::Open(_)))
    );
}

#[test]
fn a_target_that_comes_further_has_other_trouble() {
    let mut records = records();
    records.retain(|record| record.target.as_deref() != Some(GOOD));
    records.push(record("build", Some(GOOD), None, json!({})));
    records.push(record(
        "boot-test",
        Some(GOOD),
        Some(failure(Class::Boot, "panic")),
        json!({"result": "failed"}),
    ));
    let results = results(Goal::Promote, false, &records);
    let all = wanted(&results, RUN);
    let before = Wanted { marker: Marker { class: Class::Build, target: GOOD.into() }, ..all[0].clone() };
    let mut issues: Vec<_> = (1..).zip(&all).map(|(number, wanted)| found(number, wanted, true)).collect();
    issues.push(found(9, &before, true));
    let steps = steps(&results, &all, &issues, false);
    assert_eq!(steps, [Step::Close(9, "It came further this time; now the boot test failed.".into())]);
}

#[test]
fn of_two_issues_about_the_same_the_younger_goes() {
    let bad = results(Goal::Promote, false, &records());
    let all = wanted(&bad, RUN);
    let issues = [found(5, &all[0], true), found(4, &all[0], true), found(3, &all[1], true)];
    assert_eq!(duplicates(&issues), [Step::Close(5, "This is the same as #4.".into())]);
    assert_eq!(steps(&bad, &all, &issues, true), duplicates(&issues));
}

#[test]
fn words_of_others_stay_words() {
    let bad = results(Goal::Promote, false, &records());
    let body = &wanted(&bad, RUN)[0].body;
    assert_eq!(Marker::of(body), Some(Marker { class: Class::Build, target: OTHER.into() }));
    assert!(body.contains("\n````text\n") && body.contains("\n````\n"), "{body}");
    // Only the first line is ours.
    assert_eq!(Marker::of(&format!("hello\n{body}")), None);
    let line = annotation(bad.all().next().unwrap());
    assert!(line.starts_with("::error title=zfs-2.4.3_kernel-6.17.9-300.fc43.x86_64%3A the build failed::"));
    assert!(!line.contains('\n') && line.contains("%0A@owner"), "{line}");
}

#[test]
fn the_matrix_holds_complete_inputs() {
    let plan = plan().shown;
    let of = |channel| -> Vec<(&str, Value)> {
        outputs("plan", &plan, channel)
            .into_iter()
            .map(|(name, value)| (name, serde_json::from_str(&value).unwrap()))
            .collect()
    };
    let job = |tag: &str, channel: &str, channels: &[&str]| json!({"tag": tag, "runner": "ubuntu-24.04", "channel": channel, "channels": channels, "inputs": {"zfs": "2.4.3"}});
    let include =
        json!({"include": [job(GOOD, "stable", &["stable"]), job(OTHER, "testing", &["testing", "next"])]});
    assert_eq!(of(None), [("build", json!(true)), ("matrix", include)]);
    assert_eq!(of(Some("beta-x"))[1].1["include"][0]["channel"], "beta-x");
    assert_eq!(outputs("plan", &[], None)[0], ("build", "false".into()));
    let built = &went_well(GOOD)[0].shown;
    let outputs = outputs("build", built, None);
    assert_eq!(outputs[0].0, "digest");
    assert!(outputs[1].1.starts_with("docker://ghcr.io/o/z@sha256:"), "{outputs:?}");
    for (_, value) in outputs {
        assert!(!value.contains('\n'));
    }
}

proptest! {
    /// Whatever stands there already: after the steps there is one open issue for each trouble, and none is doubled.
    #[test]
    fn afterwards_there_is_exactly_one(states in proptest::collection::vec((0_usize..3, any::<bool>()), 0..8)) {
        let bad = results(Goal::Promote, false, &records());
        let all = wanted(&bad, RUN);
        let foreign = Wanted { marker: Marker { class: Class::Lost, target: GOOD.into() }, ..all[0].clone() };
        let kinds = [&all[0], &all[1], &foreign];
        let mut issues: Vec<_> =
            (1..).zip(&states).map(|(number, (kind, open))| found(number, kinds[*kind], *open)).collect();
        for step in steps(&bad, &all, &issues, true) {
            match step {
                Step::Open(wanted) => issues.push(found(100 + issues.len() as u64, &wanted, true)),
                Step::Update(number, _) | Step::Reopen(number, _) | Step::Close(number, _) => {
                    let issue = issues.iter_mut().find(|issue| issue.number == number).unwrap();
                    issue.open = !matches!(step, Step::Close(..));
                }
            }
        }
        let mut open: Vec<_> = issues.iter().filter(|issue| issue.open).map(|issue| issue.marker.clone()).collect();
        open.sort();
        let mut expected: Vec<_> = all.iter().map(|wanted| wanted.marker.clone()).collect();
        expected.sort();
        prop_assert_eq!(open, expected);
        prop_assert_eq!(steps(&bad, &all, &issues, true), []);
    }
}
