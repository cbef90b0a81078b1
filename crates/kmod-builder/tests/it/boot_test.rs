//! The command `boot-test` with a fake emulator. The lab tests real guests.

use std::fmt::Write as _;
use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::time::{Duration, Instant};

use kmod_builder::model::Compression;
use kmod_builder::model::boot_test::{Boot, BootStep};
use serde_json::Value;

use crate::command_output::{CommandOutput, Program, write_program};
use crate::images::Rpms;
use crate::rpms::{self, KERNEL, Recipe};

const DIGEST: &str = "6060caa0ed47c948c35847b504575aa9c42d675eb7c0868494eb217d4f3b9b0a";

type Variables = [(&'static str, String)];

pub(crate) struct World {
    program: Program,
}

impl Deref for World {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

pub(crate) fn with_tools(zfs: Recipe) -> Recipe {
    let script = |path: &str| (path.to_owned(), b"#!/bin/sh\n".to_vec());
    rpms::with_files(zfs, &[script("/usr/sbin/zpool"), script("/usr/sbin/zfs")])
}

impl World {
    async fn new(built_for: &str) -> Self {
        let zfs = with_tools(rpms::package("zfs", "x86_64"));
        let modules = ["spl", "zfs"]
            .map(|name| rpms::module(&format!("/lib/modules/{KERNEL}/extra/zfs/{name}.ko"), built_for));
        Self::of((vec![zfs], vec![rpms::kmod(KERNEL, &modules)])).await
    }

    pub(crate) async fn of(packages: (Vec<Recipe>, Vec<Recipe>)) -> Self {
        let mut program = Program::new();
        program.set("PATH", format!("{}:/usr/bin:/bin", program.path("programs").display()));
        let world = Self { program };
        let rpms = Rpms::new(packages);
        let (layout, built) = rpms.compose(Compression::Zstd, &world.path("images")).await;
        layout.list(built.manifest(), Some(&rpms::target().tag())).unwrap();
        rpms::kernel_core(&world.path(""));
        rpms::kernel_modules(&world.path(""));
        fs::create_dir_all(world.path("root/bin")).unwrap();
        fs::write(world.path("root/bin/busybox"), rpms::module_file(62, KERNEL)).unwrap();
        fs::create_dir(world.path("programs")).unwrap();
        world
    }

    /// An emulator that prints what the guest of each boot says; `change` may change the lines.
    pub(crate) fn emulator(&self, change: impl Fn(Boot, BootStep, String) -> String) {
        let mut script = String::from(
            "#!/bin/sh\necho \"$*\" >> \"$0.log\"; env >> \"$0.env\"\n\
             case \"$*\" in --version) echo 'QEMU emulator version 0.0'; exit ;; *'-machine help') exit ;; esac\n\
             run=${*##*zfs_kmods.run=}; run=${run%% *}\ntest -s disk && test -s vmlinuz && test -s initramfs || exit 1\n\
             say() { echo \"zfs-kmods-boot-test 1 $run $*\"; }\necho '[    0.000000] Linux version'\n",
        );
        for boot in [Boot::First, Boot::Second] {
            writeln!(script, "case \"$*\" in *zfs_kmods.boot={}*)", boot.number()).unwrap();
            for step in boot.steps() {
                let detail = match step {
                    BootStep::Start => KERNEL,
                    BootStep::Zfs => "2.4.3-1",
                    BootStep::Write | BootStep::Read | BootStep::Rollback => DIGEST,
                    BootStep::Change => &DIGEST.replace('6', "7"),
                    BootStep::Taint => "12289",
                    _ => "",
                };
                let line = format!("say {} {step} ok {detail}", boot.number());
                writeln!(script, "{}", change(boot, *step, line)).unwrap();
            }
            script.push_str(";; esac\n");
        }
        script.push_str("echo '[    9.000000] reboot: Power down'\n");
        write_program(&self.path("programs/qemu-system-x86_64"), &script);
    }

    async fn boot(&self, arguments: &[&str]) -> CommandOutput {
        self.test("oci:images", arguments, &[]).await
    }

    pub(crate) async fn test(
        &self,
        image: &str,
        arguments: &[&str],
        environment: &Variables,
    ) -> CommandOutput {
        let packages = [
            "--root",
            "root",
            "--kernel-core",
            "kernel-core.rpm",
            "--kernel-modules",
            "kernel-modules-core.rpm",
        ];
        let mut command = self.command(&[&["boot-test", image], arguments, &packages].concat());
        command.envs(environment.iter().cloned()).output().await.unwrap().into()
    }

    async fn json(&self, arguments: &[&str], status: i32) -> Value {
        let arguments = [arguments, &["--format", "json", "--accel", "tcg"]].concat();
        self.boot(&arguments).await.with(status).json()
    }
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[tokio::test]
async fn passes_when_every_step_passes() {
    let world = World::new(KERNEL).await;
    world.emulator(|_, _, line| line);
    let test = world.json(&["--memory", "2G"], 0).await;
    assert_eq!((&test["target"]["zfs"], &test["target"]["kernel"]), (&"2.4.3".into(), &KERNEL.into()));
    assert_eq!(test["result"], "passed");
    assert_eq!((&test["guest"]["accelerator"], &test["guest"]["memory"]), (&"tcg".into(), &2048.into()));
    assert_eq!(test["guest"]["kernel"].as_array().unwrap().len(), 2);
    assert_eq!(test["boots"].as_array().unwrap().len(), 2);
    assert_eq!(test["console"], Value::Null);
    assert_eq!(entries(&world.path("cache/logs")), 0, "a console log was kept without --keep-console");
    assert_eq!(entries(&world.path("cache")), 1, "files of the guest were left");
    assert_eq!(test["guest"]["initramfs"], world.json(&[], 0).await["guest"]["initramfs"]);

    let kept = world.path("console.log");
    let test = world.json(&["--keep-console", kept.to_str().unwrap()], 0).await;
    assert_eq!(test["console"], kept.display().to_string());
    assert!(fs::read_to_string(kept).unwrap().contains("reboot: Power down"));
}

#[tokio::test]
async fn fails_when_the_pool_cannot_be_imported() {
    let world = World::new(KERNEL).await;
    let reason = "cannot import 'tank': no such pool available";
    world.emulator(|boot, step, line| match (boot, step) {
        (Boot::Second, BootStep::Import) => format!("say 2 import failed \"{reason}\"; exit 0"),
        _ => line,
    });
    let output = world.boot(&["--accel", "tcg"]).await.with(3).says(&[
        &format!("\n  the pool did not come back after the reboot: {reason}\n"),
        "FAILED: OpenZFS 2.4.3 for 6.17.8-300.fc43.x86_64",
    ]);
    output.explains(&["the end of the guest's console; all of it is in "]);
    assert!(world.path("cache/logs/boot-test-console.log").exists());
}

#[tokio::test]
async fn stops_a_guest_that_hangs_or_has_an_oops() {
    for (step, line, timeout, reason) in [
        (
            BootStep::Scrub,
            "exec sleep 600",
            "5s",
            "the guest did not finish within 5 s: it was still scrubbing the pool",
        ),
        (
            BootStep::Zfs,
            "echo '[    3.000000] kernel BUG at zfs.c:1!'; exec sleep 600",
            "500s",
            "the kernel oopsed while loading zfs: kernel BUG at zfs.c:1!",
        ),
    ] {
        let world = World::new(KERNEL).await;
        world.emulator(|_, found, good| if found == step { line.to_owned() } else { good });
        let started = Instant::now();
        let test = world.json(&["--timeout", timeout], 3).await;
        assert!(started.elapsed() < Duration::from_mins(1), "{step}");
        assert_eq!((&test["reason"], test["boots"].as_array().unwrap().len()), (&reason.into(), 1));
    }
}

#[tokio::test]
async fn does_not_boot_modules_of_another_kernel() {
    let world = World::new("6.17.8-301.fc43.x86_64").await;
    let test = world.json(&[], 3).await;
    let says = "it says 6.17.8-301.fc43.x86_64, the image is for 6.17.8-300.fc43.x86_64";
    assert_eq!(test["reason"], format!("spl.ko was built for another kernel: {says}"));
}

#[tokio::test]
async fn tests_nothing_without_an_emulator() {
    let world = World::new(KERNEL).await;
    // Nothing else is on the search path either, wherever this test runs.
    let mut command = world.command(&["boot-test", "--format", "json", "oci:images"]);
    command.env("PATH", world.path("programs"));
    let output = CommandOutput::from(command.output().await.unwrap()).with(1);
    assert_eq!(output.json()["result"], "not-tested");
    assert_eq!(output.json()["reason"], "qemu-system-x86_64 is not installed");
    output.explains(&["nothing was tested"]);
}

#[tokio::test]
async fn rejects_a_kernel_package_of_another_kernel() {
    let world = World::new(KERNEL).await;
    world.emulator(|_, _, line| line);
    fs::rename(world.path("kernel-modules-core.rpm"), world.path("kernel-core.rpm")).unwrap();
    rpms::kernel_package(&world.path(""), "kernel-modules-core", &[]);
    let output = world.boot(&["--accel", "tcg"]).await.with(1);
    output.explains(&["test with the exact kernel of the image"]);
}

#[tokio::test]
async fn the_emulator_is_sandboxed_and_inherits_no_secrets() {
    let world = World::new(KERNEL).await;
    world.emulator(|_, _, line| line);
    let secrets = ["COSIGN_PASSWORD", "GITHUB_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "REGISTRY_AUTH_FILE"];
    let environment: Vec<_> = secrets.iter().map(|name| (*name, "open-sesame".to_owned())).collect();
    let arguments = ["--accel", "tcg"];
    world.test("oci:images", &arguments, &environment).await.with(0);
    let read =
        |end: &str| fs::read_to_string(world.path(&format!("programs/qemu-system-x86_64.{end}"))).unwrap();
    assert!(!read("env").contains("open-sesame"), "{}", read("env"));
    let log = read("log");
    let boots: Vec<_> = log.lines().filter(|line| line.contains("zfs_kmods.boot")).collect();
    let sandbox = "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny ";
    assert!(boots.len() == 2 && boots.iter().all(|line| line.starts_with(sandbox)), "{log}");
}
