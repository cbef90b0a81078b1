//! Documents, flags and variables of earlier versions are still read.
//!
//! `c4350a0/` was written on 2026-11-21 by the program at that commit.

use clap::Parser as _;
use kmod_builder::cli::Cli;
use kmod_builder::model::ci_report::{
    CommandRecord, CommandStatus, FindingKind, LastStage, RecordedResult, RunReport,
};
use kmod_builder::model::inputs::BuildInputs;
use kmod_builder::model::plan::{BuildDecision, NotBuiltKind, Plan};
use serde_json::{Value, json};

use crate::command_output::Program;

const INPUTS: &str = include_str!("c4350a0/inputs.json");
const PLAN: &str = include_str!("c4350a0/plan.json");
const RECORD: &str = include_str!("c4350a0/record-plan.json");
const DIGEST: &str = "sha256:ea8aea0fab5532be78ff913204d8e0c8ee5c0f66f97faf8d46a89695c172ccae";

#[test]
fn inputs_of_schema_1_have_the_same_digest_and_text() {
    let inputs = BuildInputs::parse(INPUTS).unwrap();
    assert_eq!(inputs.digest().as_str(), DIGEST);
    assert_eq!(inputs.canonical_json(), INPUTS.trim_end());
    assert!(inputs.source_image.is_some());
}

#[test]
fn a_plan_without_a_schema_is_read() {
    let plan: Plan = serde_json::from_str(PLAN).unwrap();
    let [planned] = plan.targets() else { panic!("{plan:?}") };
    assert_eq!(planned.sources, ["stable"]);
    let BuildDecision::Build { inputs, .. } = &planned.decision else { panic!("{planned:?}") };
    assert_eq!(inputs.digest().as_str(), DIGEST);
    let written = serde_json::to_value(&plan).unwrap();
    assert_eq!(written["schema"], json!({"name": "plan", "version": 3}));
    assert_eq!(written["targets"][0]["target"]["arch"], "x86_64");
    assert_eq!(serde_json::from_value::<Plan>(written).unwrap(), plan);
}

fn other_decisions() -> Value {
    let mut plan: Value = serde_json::from_str(PLAN).unwrap();
    let mut planned = plan["targets"][0].clone();
    for member in ["inputs", "inputs_digest"] {
        planned.as_object_mut().unwrap().remove(member);
    }
    let mut all = Vec::new();
    for (kernel, decision, member, value) in [
        ("6.17.9-300.fc43.x86_64", "up-to-date", "image", json!(DIGEST)),
        ("7.3.0-300.fc44.x86_64", "held", "held", json!({"class": "kernel-too-new", "max": "6.19"})),
        ("6.17.4-300.fc43.x86_64", "held", "held", json!({"class": "excluded"})),
        ("6.17.5-300.fc43.x86_64", "unknown", "reason", json!("no network")),
    ] {
        planned["kernel"] = kernel.into();
        planned["tag"] = format!("zfs-2.4.3_kernel-{kernel}").into();
        planned["decision"] = decision.into();
        let mut planned = planned.clone();
        planned[member] = value;
        all.push(planned);
    }
    plan["targets"] = all.into();
    plan["unknown"] = json!([{"place": "next (x86_64)", "reason": "no network"}]);
    plan
}

#[test]
fn every_former_decision_of_a_plan_is_read() {
    let plan: Plan = serde_json::from_value(other_decisions()).unwrap();
    let words: Vec<_> = plan.targets().iter().map(|planned| planned.decision.as_str()).collect();
    assert_eq!(words, ["up-to-date", "unsupported", "excluded", "unknown"]);
    let BuildDecision::NotBuilt(not_built) = &plan.targets()[1].decision else { panic!("{plan:?}") };
    assert_eq!((not_built.kind, &not_built.verdict["max"]), (NotBuiltKind::Unsupported, &json!("6.19")));
    assert_eq!(plan.unresolved()[0].source, "next (x86_64)");
    let written = serde_json::to_value(&plan).unwrap();
    assert_eq!(written["targets"][0]["image"], json!({"digest": DIGEST}));
    assert_eq!(serde_json::from_value::<Plan>(written).unwrap(), plan);
}

#[test]
fn records_without_a_schema_are_read() {
    let plan: CommandRecord = serde_json::from_str(RECORD).unwrap();
    assert_eq!((&*plan.command, plan.status, &plan.tag), ("plan", CommandStatus::Done, &None));
    let [RecordedResult::Plan(planned)] = &plan.results[..] else { panic!("{plan:?}") };
    let tag = planned.targets()[0].target.tag().to_string();
    let record = |verb: &str, failure: Value, shown: Value| -> CommandRecord {
        let mut record: Value = serde_json::from_str(RECORD).unwrap();
        let status = if failure.is_null() { "done" } else { "failed" };
        for (member, value) in
            [("verb", json!(verb)), ("target", json!(tag)), ("ending", json!(status)), ("failure", failure)]
        {
            record[member] = value;
        }
        record["shown"] = json!([shown]);
        serde_json::from_value(record).unwrap()
    };
    let image = format!("docker://ghcr.io/owner/zfs-kmods@{DIGEST}");
    let built = json!({"decision": "built", "image": "oci:./images", "digest": DIGEST, "seconds": 75,
        "published": {"image": image, "tag": "t", "signed": true, "steps": 1, "requests": 1}});
    let built_record = record("build", Value::Null, built);
    let expected =
        RecordedResult::Image { digest: DIGEST.parse().unwrap(), reference: Some(image), signed: Some(true) };
    assert_eq!(built_record.results, [expected]);
    let gone = json!({"class": "headers-gone", "message": "404", "help": null});
    let tested = json!({"image": "i", "result": "failed", "reason": "panic", "boots": []});
    let boot_test = record("boot-test", gone, tested);
    let report = RunReport::new(LastStage::Promote, false, &[plan.clone(), built_record, boot_test]);
    let target = &report.targets[0];
    assert_eq!((target.signed, target.boot_test.as_deref()), (Some(true), Some("failed")));
    assert_eq!(
        report.all().map(|finding| finding.kind).collect::<Vec<_>>(),
        [FindingKind::KernelDevelMissing]
    );
}

#[test]
fn former_flags_still_work() {
    let words = [
        "plan --lock {} --image docker://ghcr.io/owner/zfs-kmods",
        "build --inputs-json {} --test",
        "build --inputs inputs.json --to oci:images",
        "build --base quay.io/fedora/fedora-coreos:stable",
        "check --base quay.io/fedora/fedora-coreos:stable",
        "versions --base quay.io/fedora/fedora-coreos:stable",
        "report --records records --until boot-test --everything",
    ];
    for line in words {
        let line = format!("zfs-kmods {line}");
        if let Err(error) = Cli::try_parse_from(line.split(' ')) {
            panic!("{line}: {error}");
        }
    }
}

#[tokio::test]
async fn former_flags_and_variables_have_their_effect() {
    for arguments in [&["plan", "--lock", INPUTS.trim()][..], &["plan", "--inputs", INPUTS.trim()], &["plan"]]
    {
        let mut program = Program::new();
        program.set("ZFS_KMODS_LOCK", if arguments.len() == 1 { INPUTS.trim() } else { "" });
        // They are of another recipe than today's, which a branch may have.
        program.set("GITHUB_REF_NAME", "topic");
        let ended = program.run(&[arguments, &["--format", "json"]].concat()).await;
        assert_eq!(ended.status, Some(0), "{ended:?}");
        let plan: Plan = serde_json::from_str(&ended.stdout).unwrap();
        assert!(matches!(plan.targets()[0].decision, BuildDecision::Build { .. }));
    }
    // The clean-up needs no plan: an empty directory lacks the record of `cleanup` only.
    let mut program = Program::new();
    program.set("ZFS_KMODS_EVERYTHING", "true");
    for (variable, value, expected) in
        [("ZFS_KMODS_UNTIL", "cleanup", "cleanup"), ("ZFS_KMODS_LAST_STAGE", "promote", "plan")]
    {
        program.set(variable, value);
        let ended = program.run(&["report", "--records", "nowhere", "--format", "json"]).await;
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(report["findings"][0]["subject"], expected, "{ended:?}");
    }
}
