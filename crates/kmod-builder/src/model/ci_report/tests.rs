use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::inputs::BuildInputs;
use crate::model::inputs::tests::inputs;
use crate::model::plan::{BuildDecision, NotBuilt, NotBuiltKind, Plan, PlannedTarget, UnresolvedSource};
use crate::model::{Digest, Target};

const GOOD: &str = "zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64";
const OTHER: &str = "zfs-2.4.3_kernel-6.17.9-300.fc43.x86_64";
const UNSUPPORTED: &str = "zfs-2.4.3_kernel-7.3.0-300.fc44.x86_64";
const RUN: Option<&str> = Some("https://github.com/owner/zfs-kmods/actions/runs/7");

fn record(
    command: &str,
    tag: Option<&str>,
    failure: Option<&Failure>,
    results: &[RecordedResult],
) -> CommandRecord {
    let record = json!({
        "command": command, "arguments": [command], "tag": tag, "failure": failure, "results": results,
        "status": if failure.is_some() { "failed" } else { "done" },
        "started_at": "2026-11-20T06:00:00Z", "ended_at": "2026-11-20T06:01:15Z",
    });
    serde_json::from_value(record).unwrap()
}

fn failure(kind: FindingKind, message: &str) -> Failure {
    Failure { kind, message: message.into(), help: None }
}

fn planned(
    tag: &str,
    sources: &[&str],
    decision: impl FnOnce(BuildInputs) -> BuildDecision,
) -> PlannedTarget {
    let target = Target::from_tag(&tag.parse().unwrap()).unwrap();
    let inputs = inputs().canonical_json().replace("6.17.8-300.fc43.x86_64", &target.kernel.to_string());
    let decision = decision(BuildInputs::parse(&inputs).unwrap());
    PlannedTarget {
        target,
        sources: sources.iter().map(|source| (*source).to_owned()).collect(),
        channels: None,
        decision,
    }
}

fn plan() -> CommandRecord {
    let build =
        |inputs| BuildDecision::Build { inputs: Box::new(inputs), reason: "because build".to_owned() };
    let not_built = |_| {
        let (kind, reason) = (NotBuiltKind::Unsupported, "because unsupported".to_owned());
        BuildDecision::NotBuilt(NotBuilt { kind, reason, verdict: json!({"class": "kernel-too-new"}) })
    };
    let targets = vec![
        planned(GOOD, &["stable"], build),
        planned(OTHER, &["testing", "next"], build),
        planned(UNSUPPORTED, &["next"], not_built),
    ];
    record("plan", None, None, &[RecordedResult::Plan(Plan::new(targets, Vec::new(), Vec::new()))])
}

fn image() -> RecordedResult {
    let digest = Digest::of(b"image");
    let reference = Some(format!("docker://ghcr.io/o/z@{digest}"));
    RecordedResult::Image { digest, reference, signed: Some(true) }
}

fn boot_test(result: &str) -> RecordedResult {
    RecordedResult::BootTest { result: result.to_owned(), reason: None }
}

fn all_succeeded(tag: &str) -> Vec<CommandRecord> {
    vec![
        record("build", Some(tag), None, &[image()]),
        record("boot-test", Some(tag), None, &[boot_test("passed")]),
        record("promote", Some(tag), None, &[]),
    ]
}

/// A run in which one target fails to build.
fn records() -> Vec<CommandRecord> {
    let mut all = vec![plan()];
    all.extend(all_succeeded(GOOD));
    all.push(record(
        "build",
        Some(OTHER),
        Some(&failure(FindingKind::Build, "stage `kmod` | ```\n@owner <b>")),
        &[],
    ));
    all
}

fn found(number: u64, wanted: &DesiredIssue, open: bool) -> ExistingIssue {
    ExistingIssue { number, marker: wanted.marker.clone(), open, body: wanted.body.clone() }
}

fn report(records: &[CommandRecord]) -> RunReport {
    RunReport::new(LastStage::Promote, false, records)
}

fn issue(number: u64, kind: FindingKind, subject: &str) -> ExistingIssue {
    let marker = Marker { kind, subject: subject.to_owned() };
    ExistingIssue { number, marker, open: true, body: String::new() }
}

#[test]
fn one_failure_leaves_the_others_alone() {
    let results = report(&records());
    assert!(results.complete && !results.is_good());
    let classes: Vec<_> = results.all().map(|finding| (&*finding.subject, finding.kind)).collect();
    assert_eq!(classes, [(OTHER, FindingKind::Build), (UNSUPPORTED, FindingKind::Unsupported)]);
    let good = &results.targets[0];
    assert!(good.promoted && good.signed == Some(true) && good.boot_test.as_deref() == Some("passed"));
    let text = summary(
        &results,
        &RunTrigger { event: Some("schedule".into()), ..RunTrigger::default() },
        &Ok(vec![]),
    );
    insta::assert_snapshot!(text);
}

#[test]
fn a_job_without_a_record_is_a_failure() {
    let all = records();
    for missing in ["build", "boot-test", "promote"] {
        let left: Vec<_> = all
            .iter()
            .filter(|record| !(record.command == missing && record.tag.as_deref() == Some(GOOD)))
            .cloned()
            .collect();
        let results = report(&left);
        let finding = &results.targets[0].findings[0];
        assert_eq!(finding.kind, FindingKind::Lost, "{missing}");
        assert!(finding.message.contains(missing), "{}", finding.message);
    }
    let nothing = report(&[]);
    assert_eq!(nothing.findings[0].kind, FindingKind::Lost);
    assert!(!nothing.is_good() && !nothing.complete);
    assert!(!RunReport::new(LastStage::Cleanup, false, &[]).is_good());
    let once = report(&[vec![plan()], all_succeeded(OTHER)].concat());
    assert_eq!(once.targets[1].findings[0].message, "`promote` has left 1 of 2 records");
    let untested: Vec<_> = all.into_iter().filter(|record| record.command != "promote").collect();
    assert!(RunReport::new(LastStage::BootTest, false, &untested).targets[0].findings.is_empty());
}

#[test]
fn a_failed_signature_is_reported_instead_of_the_promotion_that_it_prevents() {
    let failed = failure(FindingKind::Permission, "the key is not readable");
    let mut all: Vec<_> = records().into_iter().filter(|record| record.command != "promote").collect();
    all.push(record("sign", Some(GOOD), Some(&failed), &[]));
    let finding = &report(&all).targets[0].findings[0];
    assert_eq!((finding.kind, &*finding.message), (FindingKind::Permission, "sign: the key is not readable"));
}

#[test]
fn reports_each_unresolved_source() {
    let source = UnresolvedSource { source: "next (x86_64)".into(), gone: false, reason: "no answer".into() };
    let failed = failure(FindingKind::Other, "some sources or targets could not be resolved");
    let plan = RecordedResult::Plan(Plan::new(Vec::new(), Vec::new(), vec![source]));
    let plan = record("plan", None, Some(&failed), &[plan]);
    let results = report(&[plan]);
    let classes: Vec<_> = results.all().map(|finding| (&*finding.subject, finding.kind)).collect();
    assert_eq!(classes, [("next (x86_64)", FindingKind::Upstream)]);
    assert!(!results.complete);
}

#[test]
fn closes_only_issues_whose_stage_has_run() {
    let bad = report(&records());
    let all = desired_issues(&bad, RUN);
    let mut issues: Vec<_> = (1..).zip(&all).map(|(number, wanted)| found(number, wanted, true)).collect();
    issues.extend([
        issue(20, FindingKind::Boot, OTHER),
        issue(21, FindingKind::Build, "zfs-2.4.2_kernel-6"),
        issue(22, FindingKind::Permission, "cleanup"),
    ]);
    // A failed build does not close the issue of an earlier boot test; a run for some streams closes no issue of other targets.
    assert_eq!(issue_actions(&bad, &all, &issues, false), []);
    let closed = issue_actions(&bad, &all, &issues, true);
    assert!(matches!(&closed[..], [IssueAction::Close(21, _)]), "{closed:?}");
    let cleaned = RunReport::new(LastStage::Cleanup, false, &[record("cleanup", None, None, &[])]);
    let closed = issue_actions(&cleaned, &[], &issues, true);
    assert!(matches!(&closed[..], [IssueAction::Close(22, _)]), "{closed:?}");
    let blind = report(&[]);
    assert!(
        issue_actions(&blind, &desired_issues(&blind, RUN), &issues, true)
            .iter()
            .all(|step| matches!(step, IssueAction::Open(_)))
    );
}

#[test]
fn closes_the_issue_of_a_stage_that_now_succeeds() {
    let mut records = records();
    records.retain(|record| record.tag.as_deref() != Some(GOOD));
    records.push(record("build", Some(GOOD), None, &[]));
    records.push(record(
        "boot-test",
        Some(GOOD),
        Some(&failure(FindingKind::Boot, "panic")),
        &[boot_test("failed")],
    ));
    let results = report(&records);
    let all = desired_issues(&results, RUN);
    let mut issues: Vec<_> = (1..).zip(&all).map(|(number, wanted)| found(number, wanted, true)).collect();
    issues.push(issue(9, FindingKind::Build, GOOD));
    let steps = issue_actions(&results, &all, &issues, false);
    assert_eq!(steps, [IssueAction::Close(9, "This stage succeeded; now the boot test failed.".into())]);
}

#[test]
fn closes_the_younger_of_two_issues_with_the_same_marker() {
    let bad = report(&records());
    let all = desired_issues(&bad, RUN);
    let issues = [found(5, &all[0], true), found(4, &all[0], true), found(3, &all[1], true)];
    assert_eq!(duplicates(&issues), [IssueAction::Close(5, "This is the same as #4.".into())]);
    assert_eq!(issue_actions(&bad, &all, &issues, true), duplicates(&issues));
}

#[test]
fn text_of_others_is_not_interpreted() {
    let bad = report(&records());
    let body = &desired_issues(&bad, RUN)[0].body;
    assert_eq!(Marker::of(body), Some(Marker { kind: FindingKind::Build, subject: OTHER.into() }));
    assert!(body.contains("\n````text\n") && body.contains("\n````\n"), "{body}");
    // Only the first line is ours.
    assert_eq!(Marker::of(&format!("hello\n{body}")), None);
    let line = annotation(bad.all().next().unwrap());
    assert!(line.starts_with("::error title=zfs-2.4.3_kernel-6.17.9-300.fc43.x86_64%3A the build failed::"));
    assert!(!line.contains('\n') && line.contains("%0A@owner"), "{line}");
}

#[test]
fn the_matrix_has_complete_inputs() {
    let results = plan().results;
    let of = |channel| -> Vec<(&str, Value)> {
        outputs("plan", &results, channel)
            .into_iter()
            .map(|(name, value)| (name, serde_json::from_str(&value).unwrap()))
            .collect()
    };
    let all = of(None);
    assert_eq!(all[0], ("build", json!(true)));
    let jobs = all[1].1["include"].as_array().unwrap();
    let job = |job: &Value| json!([job["tag"], job["runner"], job["channel"], job["channels"]]);
    assert_eq!(job(&jobs[0]), json!([GOOD, "ubuntu-24.04", "stable", ["stable"]]));
    assert_eq!(job(&jobs[1]), json!([OTHER, "ubuntu-24.04", "testing", ["testing", "next"]]));
    assert_eq!(jobs.len(), 2);
    assert_eq!(BuildInputs::parse(&jobs[0]["inputs"].to_string()).unwrap(), inputs());
    assert_eq!(of(Some("beta-x"))[1].1["include"][0]["channel"], "beta-x");
    assert_eq!(outputs("plan", &[], None)[0], ("build", "false".into()));
    let outputs = outputs("build", &[image()], None);
    assert_eq!(outputs[0].0, "digest");
    assert!(outputs[1].1.starts_with("docker://ghcr.io/o/z@sha256:"), "{outputs:?}");
    for (_, value) in outputs {
        assert!(!value.contains('\n'));
    }
}

#[test]
fn every_kind_has_one_row_and_its_former_ids_are_read() {
    for (position, row) in FindingKind::TABLE.into_iter().enumerate() {
        assert_eq!(
            (row.kind as usize, row.kind.row().id),
            (position, row.id),
            "the rows have the order of the enum"
        );
        for id in row.former_ids.iter().chain([&row.id]) {
            assert_eq!(id.parse::<FindingKind>().unwrap(), row.kind, "{id}");
            let marker = Marker::of(&format!("<!-- zfs-kmods {id} {GOOD} -->\nwords")).unwrap();
            assert_eq!((marker.kind, &*marker.subject), (row.kind, GOOD));
        }
    }
    assert!("nothing".parse::<FindingKind>().is_err());
}

proptest! {
    /// Whatever issues exist before.
    #[test]
    fn each_finding_has_exactly_one_open_issue_afterwards(states in proptest::collection::vec((0_usize..3, any::<bool>()), 0..8)) {
        let bad = report(&records());
        let all = desired_issues(&bad, RUN);
        let foreign = DesiredIssue { marker: Marker { kind: FindingKind::Lost, subject: GOOD.into() }, ..all[0].clone() };
        let kinds = [&all[0], &all[1], &foreign];
        let mut issues: Vec<_> =
            (1..).zip(&states).map(|(number, (kind, open))| found(number, kinds[*kind], *open)).collect();
        for step in issue_actions(&bad, &all, &issues, true) {
            match step {
                IssueAction::Open(wanted) => issues.push(found(100 + issues.len() as u64, &wanted, true)),
                IssueAction::Update(number, _) | IssueAction::Reopen(number, _) | IssueAction::Close(number, _) => {
                    let issue = issues.iter_mut().find(|issue| issue.number == number).unwrap();
                    issue.open = !matches!(step, IssueAction::Close(..));
                }
            }
        }
        let mut open: Vec<_> = issues.iter().filter(|issue| issue.open).map(|issue| issue.marker.clone()).collect();
        open.sort();
        let mut expected: Vec<_> = all.iter().map(|wanted| wanted.marker.clone()).collect();
        expected.sort();
        prop_assert_eq!(open, expected);
        prop_assert_eq!(issue_actions(&bad, &all, &issues, true), []);
    }
}
