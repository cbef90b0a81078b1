//! `cargo xtask test`: everything that CI checks. Every step runs, also after a failed one; a table ends the run.

use std::{path::PathBuf, process::Command};

use xshell::{Cmd, Shell, cmd};

use crate::error::{Context, NeedsRoot, Result};
use crate::report::Report;
use crate::{lab, terminal, tools, workflows};

/// The version that the rules in `.github/deny.toml` are written for.
const CARGO_DENY: &str = "cargo-deny@0.20.2";
const DENY: [&str; 4] = ["--log-level", "error", "--config", ".github/deny.toml"];
/// Programs that the tests compare ours with, and that bring the linters of the workflows.
const PROGRAMS: [tools::Tool; 5] =
    [("gpg", "gnupg"), ("rpm", "rpm"), ("pip3", "python3-pip"), ("node", "nodejs"), ("npm", "npm")];

pub(crate) fn all(with_lab: bool) -> Result {
    let shell = Shell::new()?;
    shell.change_dir(tools::workspace());
    let mut report = Report::new("test");
    report.step("system packages", || tools::need(&PROGRAMS).map(|()| String::new()));
    report.step("formatting", || run(cmd!(shell, "cargo fmt --all --check")));
    report.step("zizmor", || workflows::zizmor(&shell));
    report.step("actionlint", || workflows::actionlint(&shell));
    report.step("clippy", || {
        run(cmd!(shell, "cargo clippy --workspace --all-targets --locked -- -D warnings"))
    });
    report.step("cargo test", || cargo_test(&shell));
    report.step("licenses, sources, bans", || dependencies(&shell));
    report.step("advisories", || advisories(&shell));
    if with_lab {
        report.step("lab", || {
            if !tools::is_root() {
                return Err(NeedsRoot { command: "cargo xtask lab".to_owned() }.into());
            }
            lab::run(false).map(|()| String::new())
        });
    }
    report.end()
}

/// `cargo xtask test workflows`
pub(crate) fn workflows() -> Result {
    let shell = Shell::new()?;
    shell.change_dir(tools::workspace());
    let mut report = Report::new("test");
    report.step("zizmor", || workflows::zizmor(&shell));
    report.step("actionlint", || workflows::actionlint(&shell));
    report.end()
}

fn cargo_test(shell: &Shell) -> Result<String> {
    let registry = lab::registry_program()?;
    let mut tests = cmd!(shell, "cargo test --workspace --locked --no-fail-fast");
    if let Some(directory) = registry.parent().filter(|directory| directory.is_absolute()) {
        let path = std::env::var("PATH").unwrap_or_default();
        tests = tests.env("PATH", format!("{path}:{}", directory.display()));
    }
    run(tests)
}

/// Needs the sources of all crates in `Cargo.lock`, also of those for other targets, which no build fetches:
/// cargo-deny reads the whole graph before it looks at the targets of its configuration.
fn dependencies(shell: &Shell) -> Result<String> {
    let deny = cargo_deny(shell)?;
    run(cmd!(shell, "cargo fetch --quiet --locked"))?;
    run(cmd!(shell, "{deny} --offline {DENY...} check bans licenses sources"))
}

/// Known vulnerabilities come from the network. An unreachable database is not a failure.
fn advisories(shell: &Shell) -> Result<String> {
    let output = Command::new(cargo_deny(shell)?)
        .args(DENY)
        .args(["check", "advisories"])
        .current_dir(tools::workspace())
        .output()?;
    if output.status.success() {
        return Ok(String::new());
    }
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    if message.contains("failed to fetch advisory database") {
        return Ok("NOT checked: the advisory database is unreachable".to_owned());
    }
    Err(format!("a dependency has a known vulnerability, or was withdrawn:\n{message}").into())
}

/// The machine's own cargo-deny, or one that is installed below `target`.
fn cargo_deny(shell: &Shell) -> Result<PathBuf> {
    if tools::is_there("cargo-deny") {
        return Ok(PathBuf::from("cargo-deny"));
    }
    let root = tools::workspace().join("target/tools");
    let installed = root.join("bin/cargo-deny");
    if !installed.is_file() {
        run(cmd!(shell, "cargo install --quiet --locked --debug --root {root} {CARGO_DENY}"))?;
    }
    Ok(installed)
}

fn run(command: Cmd<'_>) -> Result<String> {
    terminal::print_notice(format_args!("test: {command}"));
    command.quiet().run().context("failed")?;
    Ok(String::new())
}
