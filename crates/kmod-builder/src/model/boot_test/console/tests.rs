use proptest::prelude::*;

use super::*;

const RUN: &str = "4f1d2c";
const DIGEST: &str = "6060caa0ed47c948c35847b504575aa9c42d675eb7c0868494eb217d4f3b9b0a";
const CHANGED: &str = "4de7d0690ebf63732281919da6a490c091034462ad417cc68c3f62e5dc556f9f";

fn expected(boot: Boot) -> ExpectedConsole {
    ExpectedConsole {
        run: RUN.to_owned(),
        kernel: "6.12.107-200.fc43.x86_64".parse().unwrap(),
        zfs: "2.4.3".parse().unwrap(),
        written: (boot == Boot::Second).then(|| DIGEST.to_owned()),
        limit: 300,
    }
}

fn good(boot: Boot) -> Vec<String> {
    let mut lines = vec![
        "[    0.000000] Linux version 6.12.107-200.fc43.x86_64 (mockbuild)".to_owned(),
        "[    0.000000] Command line: console=ttyS0 oops=panic zfs_kmods.run=4f1d2c".to_owned(),
        String::new(),
    ];
    for step in boot.steps() {
        let detail = match step {
            BootStep::Start => "6.12.107-200.fc43.x86_64",
            BootStep::Spl | BootStep::Zfs => "2.4.3-1",
            BootStep::Write | BootStep::Read | BootStep::Rollback => DIGEST,
            BootStep::Change => CHANGED,
            BootStep::Status => "pool 'tank' is healthy",
            BootStep::Taint => "12289",
            _ => "",
        };
        lines.push(format!("zfs-kmods-boot-test 1 {RUN} {} {step} ok {detail}", boot.number()));
    }
    lines.push("[   12.345678] reboot: Power down".to_owned());
    lines
}

fn read<S: AsRef<str>>(boot: Boot, lines: impl IntoIterator<Item = S>, ending: QemuExit) -> BootReport {
    let mut console = ConsoleParser::new(boot, expected(boot));
    for line in lines {
        console.line(line.as_ref(), Duration::from_secs(1));
    }
    console.finish(ending, Duration::from_secs(2))
}

fn exited() -> QemuExit {
    QemuExit::Exited { success: true, words: String::new() }
}

/// The good lines with one of them replaced or followed by others; the guest then ends.
fn failure(boot: Boot, step: BootStep, lines: &[&str]) -> String {
    let at = 3 + boot.steps().iter().position(|other| *other == step).unwrap();
    let begin = good(boot).into_iter().take(at);
    let lines = lines.iter().map(|line| line.replace("SAY", &format!("{MARK} 1 {RUN} {}", boot.number())));
    let report = read(boot, begin.chain(lines), exited());
    report.failure.map_or_else(|| "passed".to_owned(), |failure| failure.to_string())
}

#[test]
fn a_good_guest_passes_each_boot() {
    for boot in [Boot::Probe, Boot::First, Boot::Second] {
        let report = read(boot, good(boot), exited());
        assert_eq!(report.failure, None);
        assert_eq!(report.steps.len(), boot.steps().len());
        assert!(report.steps.iter().all(|step| step.passed));
    }
    assert_eq!(read(Boot::First, good(Boot::First), exited()).written.as_deref(), Some(DIGEST));
}

#[test]
fn modules_of_another_kernel() {
    let insmod = "SAY zfs failed insmod: can't insert '/modules/zfs.ko': invalid module format";
    insta::assert_snapshot!(failure(Boot::First, BootStep::Zfs, &["[  1.0] zfs: disagrees about version of symbol module_layout", insmod]), @"zfs.ko was built for another kernel: zfs: disagrees about version of symbol module_layout");
    insta::assert_snapshot!(failure(Boot::First, BootStep::Zfs, &["[  1.0] zfs: version magic '6.1.1 SMP ' should be '6.1.2 SMP '", insmod]), @"zfs.ko was built for another kernel: zfs: version magic '6.1.1 SMP ' should be '6.1.2 SMP '");
    insta::assert_snapshot!(failure(Boot::First, BootStep::Zfs, &[insmod]), @"zfs.ko was built for another kernel: insmod: can't insert '/modules/zfs.ko': invalid module format");
    insta::assert_snapshot!(failure(Boot::First, BootStep::Spl, &["spl: Unknown symbol kfree (err -2)", "SAY spl failed insmod: unknown symbol in module"]), @"spl.ko uses a symbol that this kernel does not export: spl: Unknown symbol kfree (err -2)");
}

#[test]
fn reports_kernel_errors() {
    insta::assert_snapshot!(failure(Boot::First, BootStep::Zfs, &["[    3.1] kernel BUG at zfs.c:12!", "[    3.1] Oops: invalid opcode: 0000 [#1] SMP", "[    3.2] Kernel panic - not syncing: Fatal exception"]), @"the kernel oopsed while loading zfs: kernel BUG at zfs.c:12!");
    insta::assert_snapshot!(failure(Boot::First, BootStep::Scrub, &["[    3.1] general protection fault: 0000 [#1] SMP"]), @"the kernel oopsed while scrubbing the pool: general protection fault: 0000 [#1] SMP");
    insta::assert_snapshot!(failure(Boot::First, BootStep::Scrub, &["[    3.1] Kernel panic - not syncing: out of memory"]), @"the kernel panicked while scrubbing the pool: Kernel panic - not syncing: out of memory");
    insta::assert_snapshot!(failure(Boot::Second, BootStep::Import, &["VERIFY3U(1, ==, 2) failed", "PANIC at spa.c:1:spa_load()"]), @"an assertion of OpenZFS failed while importing the pool: PANIC at spa.c:1:spa_load()");
    // Also when everything else went on as if nothing had been.
    let lines = good(Boot::First).into_iter().chain(["BUG: soft lockup - CPU#0 stuck".to_owned()]);
    insta::assert_snapshot!(read(Boot::First, lines, exited()).failure.unwrap(), @"the kernel oopsed while powering off: BUG: soft lockup - CPU#0 stuck");
    insta::assert_snapshot!(failure(Boot::First, BootStep::Taint, &["SAY taint ok 12801"]), @"the kernel is tainted (W) by more than a module that is proprietary, out of tree and not signed (POE)");
}

#[test]
fn reports_lost_pools_and_data() {
    insta::assert_snapshot!(failure(Boot::Second, BootStep::Import, &["SAY import failed cannot import 'tank': no such pool available"]), @"the pool did not come back after the reboot: cannot import 'tank': no such pool available");
    insta::assert_snapshot!(failure(Boot::Second, BootStep::Read, &[&format!("SAY read ok {CHANGED}")]), @"after the reboot the files have the digest `4de7d0690ebf63732281919da6a490c091034462ad417cc68c3f62e5dc556f9f`, not 6060caa0ed47c948c35847b504575aa9c42d675eb7c0868494eb217d4f3b9b0a");
    insta::assert_snapshot!(failure(Boot::Second, BootStep::Change, &[&format!("SAY change ok {DIGEST}")]), @"a file was overwritten, and the files still have the same digest");
    insta::assert_snapshot!(failure(Boot::First, BootStep::Write, &["SAY write ok"]), @"the guest went on after writing to the pool without the digest of the files: ``");
    insta::assert_snapshot!(failure(Boot::First, BootStep::Create, &["SAY create failed cannot create 'tank': I/O error"]), @"creating the pool failed: cannot create 'tank': I/O error");
}

#[test]
fn rejects_output_of_another_guest() {
    insta::assert_snapshot!(failure(Boot::First, BootStep::Start, &["SAY start ok 6.12.107-201.fc43.x86_64"]), @"the guest runs the kernel `6.12.107-201.fc43.x86_64`, not 6.12.107-200.fc43.x86_64");
    insta::assert_snapshot!(failure(Boot::First, BootStep::Zfs, &["SAY zfs ok 2.4.30-1"]), @"zfs.ko reports the version `2.4.30-1`, not 2.4.3");
    insta::assert_snapshot!(failure(Boot::First, BootStep::Spl, &["zfs-kmods-boot-test 1 old 1 spl ok 2.4.3-1"]), @"a console line belongs to another run: `zfs-kmods-boot-test 1 old 1 spl ok 2.4.3-1`");
    insta::assert_snapshot!(failure(Boot::First, BootStep::Spl, &["SAY zfs ok 2.4.3-1"]), @"unexpected guest step `zfs`, expected `spl`");
    insta::assert_snapshot!(failure(Boot::First, BootStep::Spl, &["[    3.1] SAY spl ok 2.4.3-1"]), @"cannot parse a console line: `[    3.1] zfs-kmods-boot-test 1 4f1d2c 1 spl ok 2.4.3-1`");
}

#[test]
fn does_not_pass_without_output() {
    let limit = |lines: usize| {
        let lines = good(Boot::First).into_iter().take(lines);
        read(Boot::First, lines, QemuExit::TimeUp).failure.unwrap()
    };
    insta::assert_snapshot!(limit(0), @"the kernel never spoke within 300 s");
    insta::assert_snapshot!(limit(1), @"the guest did not finish within 300 s: it was still starting");
    insta::assert_snapshot!(limit(11), @"the guest did not finish within 300 s: it was still scrubbing the pool");
    insta::assert_snapshot!(limit(16), @"the guest completed every step but did not power off");
    insta::assert_snapshot!(limit(99), @"the guest completed every step but did not power off");
    insta::assert_snapshot!(failure(Boot::First, BootStep::Export, &[]), @"the guest ended while exporting the pool and gave no reason");
    let failed = QemuExit::Exited { success: false, words: "qemu: no such accelerator".to_owned() };
    insta::assert_snapshot!(read(Boot::First, good(Boot::First), failed).failure.unwrap(), @"the emulator failed: qemu: no such accelerator");
    assert!(read(Boot::First, good(Boot::First), QemuExit::Stopped).failure.is_some());
}

fn passes<S: AsRef<str>>(lines: impl IntoIterator<Item = S>, boot: Boot) -> bool {
    read(boot, lines, exited()).failure.is_none()
}

fn boots() -> impl Strategy<Value = Boot> {
    prop_oneof![Just(Boot::First), Just(Boot::Second)]
}

proptest! {
    #[test]
    fn no_random_log_passes(boot in boots(), lines: Vec<String>) {
        prop_assert!(!passes(&lines, boot));
    }

    #[test]
    fn no_truncated_log_passes(boot in boots(), share in 0.0..1.0_f64) {
        let text = good(boot).join("\r\n");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a length")]
        let cut = (text.len() as f64 * share) as usize;
        prop_assert!(!passes(text[..cut].split('\n'), boot));
    }

    #[test]
    fn no_line_can_be_left_out_repeated_or_moved(boot in boots(), one in 0_usize..15, other in 0_usize..15) {
        let lines = good(boot);
        let steps = boot.steps().len();
        let (one, other) = (3 + one % steps, 3 + other % steps);
        let mut without = lines.clone();
        without.remove(one);
        prop_assert!(!passes(&without, boot));
        let mut twice = lines.clone();
        twice.insert(other, lines[one].clone());
        prop_assert!(!passes(&twice, boot));
        let mut moved = lines;
        moved.swap(one, other);
        prop_assert_eq!(passes(&moved, boot), one == other);
    }

    #[test]
    fn no_word_of_a_line_can_be_another(boot in boots(), step in 0_usize..15, at in 0_usize..60, letter in "[!-~]") {
        let mut lines = good(boot);
        let step = step % boot.steps().len();
        let line = &mut lines[3 + step];
        let fixed = line.find(" ok").unwrap() + 3;
        let at = at % fixed;
        prop_assume!(line[at..=at] != letter);
        line.replace_range(at..=at, &letter);
        prop_assert!(!passes(&lines, boot));
    }

    #[test]
    fn no_log_passes_in_which_the_kernel_breaks(boot in boots(), at in 0_usize..18, oops in 0_usize..8) {
        let mut lines = good(boot);
        let at = at % lines.len();
        lines.insert(at, format!("[    1.0] {}1 [#1]", OOPSES[oops]));
        prop_assert!(!passes(&lines, boot));
    }

    #[test]
    fn no_other_lines_disturb_a_good_log(boot in boots(), at in 0_usize..18, noise in "[a-z0-9 :.]{0,40}") {
        let mut lines = good(boot);
        let at = at % lines.len();
        lines.insert(at, noise);
        prop_assert!(passes(&lines, boot));
    }

    #[test]
    fn a_step_that_says_failed_fails(boot in boots(), step in 0_usize..15, detail in "[ -~]{0,40}") {
        let mut lines = good(boot);
        let step = step % boot.steps().len();
        let word = boot.steps()[step];
        lines[3 + step] = format!("{MARK} 1 {RUN} {} {word} failed {detail}", boot.number());
        prop_assert!(!passes(&lines, boot));
    }
}
