use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Accelerator, Boot, BootFailure, BootReport};
use crate::model::evidence::test_result::TestResult;
use crate::model::image::DigestRef;
use crate::model::{Digest, Target, document};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootTest {
    #[serde(serialize_with = "document::image")]
    pub image: DigestRef,
    #[serde(serialize_with = "document::target")]
    pub target: Target,
    #[serde(flatten)]
    pub verdict: BootVerdict,
    /// `None` if no guest was booted.
    pub guest: Option<GuestConfig>,
    pub boots: Vec<BootReport>,
    /// The path of the console log, if it was kept.
    pub console: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", content = "reason", rename_all = "kebab-case")]
pub enum BootVerdict {
    Passed,
    Failed(BootFailure),
    NotTested(String),
}

/// The configuration that reproduces the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuestConfig {
    pub accelerator: Accelerator,
    pub emulator: String,
    pub machine: &'static str,
    /// In MiB.
    pub memory: u32,
    /// Equal packages and libraries give an equal digest.
    pub initramfs: Digest,
    pub kernel: Vec<PackageSource>,
    /// The source of the libraries: an image by digest, or a directory.
    pub libraries: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageSource {
    /// `kernel-core-6.17.8-300.fc43.x86_64`.
    pub nevra: String,
    /// A URL or a path.
    pub from: String,
    pub digest: Digest,
}

impl BootVerdict {
    /// Failed if a boot failed or is missing.
    pub fn of(boots: &[BootReport]) -> Self {
        for wanted in [Boot::First, Boot::Second] {
            match boots.iter().find(|report| report.boot == wanted) {
                Some(BootReport { failure: None, .. }) => {}
                Some(BootReport { failure: Some(failure), .. }) => return Self::Failed(failure.clone()),
                None => return Self::NotTested(format!("boot {} was not made", wanted.number())),
            }
        }
        Self::Passed
    }
}

impl BootTest {
    pub fn time(&self) -> Duration {
        self.boots.iter().map(|report| report.time).sum()
    }

    /// The signed test result; `None` if no test was run. `url` is the address of the run's log.
    pub fn result(&self, finished: Timestamp, url: Option<String>) -> Option<TestResult> {
        let reason = match &self.verdict {
            BootVerdict::Passed => None,
            BootVerdict::Failed(failure) => Some(failure.to_string()),
            BootVerdict::NotTested(_) => return None,
        };
        let (mut passed, mut failed) = (Vec::new(), Vec::new());
        for report in &self.boots {
            for step in &report.steps {
                let name = format!("boot {}: {}", report.boot.number(), step.step);
                if step.passed { passed.push(name) } else { failed.push(name) }
            }
            failed.extend(report.unfinished().map(|step| format!("boot {}: {step}", report.boot.number())));
        }
        if self.boots.is_empty() {
            failed.push("modules".to_owned());
        }
        Some(TestResult { configuration: self.configuration(), passed, failed, reason, url, finished })
    }

    /// As resource descriptors.
    fn configuration(&self) -> Vec<Value> {
        let Some(guest) = &self.guest else { return Vec::new() };
        let digest = |digest: &Digest| json!({"sha256": digest.hex()});
        let packages = guest.kernel.iter().map(|origin| {
            let mut package = json!({"name": origin.nevra, "digest": digest(&origin.digest)});
            if origin.from.contains("://") {
                package["uri"] = json!(origin.from);
            }
            package
        });
        let initramfs = json!({
            "name": "initramfs",
            "digest": digest(&guest.initramfs),
            "annotations": {
                "accelerator": guest.accelerator,
                "emulator": guest.emulator,
                "machine": guest.machine,
                "memory": format!("{} MiB", guest.memory),
            },
        });
        packages.chain([initramfs]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::StepReport;
    use super::*;

    fn report(boot: Boot, steps: usize, failure: Option<BootFailure>) -> BootReport {
        let steps = boot.steps().iter().take(steps).map(|&step| StepReport {
            step,
            passed: true,
            detail: String::new(),
            at: Duration::from_millis(1234),
        });
        BootReport { boot, steps: steps.collect(), failure, written: None, time: Duration::from_secs(10) }
    }

    fn test(boots: Vec<BootReport>) -> BootTest {
        BootTest {
            image: format!("docker://localhost/zfs-kmods@{}", Digest::of(b"image")).parse().unwrap(),
            target: Target {
                zfs: "2.4.3".parse().unwrap(),
                kernel: "6.12.107-200.fc43.x86_64".parse().unwrap(),
            },
            verdict: BootVerdict::of(&boots),
            guest: Some(GuestConfig {
                accelerator: Accelerator::Tcg,
                emulator: "QEMU emulator version 7.2.22".into(),
                machine: "q35",
                memory: 1024,
                initramfs: Digest::of(b"initramfs"),
                kernel: vec![PackageSource {
                    nevra: "kernel-core-6.12.107-200.fc43.x86_64".into(),
                    from: "https://example.org/kernel-core.rpm".into(),
                    digest: Digest::of(b"kernel"),
                }],
                libraries: "/".into(),
            }),
            boots,
            console: None,
        }
    }

    #[test]
    fn both_boots_are_needed() {
        let failure = BootFailure::Lost("BUG".into());
        let good = |boot: Boot| report(boot, 99, None);
        assert_eq!(BootVerdict::of(&[good(Boot::First), good(Boot::Second)]), BootVerdict::Passed);
        let not_made = BootVerdict::NotTested("boot 2 was not made".into());
        assert_eq!(BootVerdict::of(&[good(Boot::First)]), not_made);
        assert_ne!(BootVerdict::of(&[]), BootVerdict::Passed);
        let failed = test(vec![good(Boot::First), report(Boot::Second, 3, Some(failure.clone()))]);
        assert_eq!(failed.verdict, BootVerdict::Failed(failure));
        assert_eq!(test(vec![good(Boot::Second), good(Boot::First)]).time(), Duration::from_secs(20));
    }

    #[test]
    fn the_predicate_names_every_step() {
        let failure = BootFailure::Lost("kernel BUG at zfs.c:1!".into());
        let failed = test(vec![report(Boot::First, 3, Some(failure))]);
        let time = Timestamp::UNIX_EPOCH;
        let predicate = failed.result(time, Some("https://example.org/run/1".into())).unwrap().predicate();
        insta::assert_snapshot!(predicate["configuration"], @r#"[{"digest":{"sha256":"6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c"},"name":"kernel-core-6.12.107-200.fc43.x86_64","uri":"https://example.org/kernel-core.rpm"},{"annotations":{"accelerator":"tcg","emulator":"QEMU emulator version 7.2.22","machine":"q35","memory":"1024 MiB"},"digest":{"sha256":"9752c38a9065f7646ffaac3621d1fa2f7dbe726c7e12e511eac7fdb14d4e2a24"},"name":"initramfs"}]"#);
        assert_eq!(predicate["passedTests"], json!(["boot 1: start", "boot 1: drivers", "boot 1: spl"]));
        assert_eq!(predicate["failedTests"], json!(["boot 1: zfs"]));
        assert_eq!(predicate["result"], "FAILED");
        assert_eq!(predicate["url"], "https://example.org/run/1");
        let passed = test(vec![report(Boot::First, 99, None), report(Boot::Second, 99, None)]);
        let predicate = passed.result(time, None).unwrap().predicate();
        assert_eq!((&predicate["result"], &predicate["failedTests"]), (&json!("PASSED"), &json!([])));
        assert_eq!(predicate["passedTests"].as_array().unwrap().len(), 25);
        assert_eq!(test(vec![]).result(time, None), None);
        let nothing_booted =
            BootTest { verdict: BootVerdict::Failed(BootFailure::NeverSpoke(1)), ..test(vec![]) };
        let predicate = nothing_booted.result(time, None).unwrap().predicate();
        assert_eq!(
            (&predicate["result"], &predicate["failedTests"]),
            (&json!("FAILED"), &json!(["modules"]))
        );
    }

    #[test]
    fn as_json() {
        let mut test = test(vec![report(Boot::First, 2, Some(BootFailure::NeverSpoke(300)))]);
        test.guest = None;
        insta::assert_snapshot!(serde_json::to_string(&test).unwrap(), @r#"{"image":{"digest":"sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d","reference":"docker://localhost/zfs-kmods@sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d"},"target":{"arch":"x86_64","kernel":"6.12.107-200.fc43.x86_64","zfs":"2.4.3"},"result":"failed","reason":"the kernel never spoke within 300 s","guest":null,"boots":[{"boot":1,"steps":[{"id":"start","step":"starting","passed":true,"detail":"","elapsed_seconds":1.2},{"id":"drivers","step":"loading the drivers of the disk","passed":true,"detail":"","elapsed_seconds":1.2}],"failure":"the kernel never spoke within 300 s","duration_seconds":10.0}],"console":null}"#);
    }
}
