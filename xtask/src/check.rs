//! `cargo xtask test`: all that CI does, in the order of cheapness.

use std::{path::PathBuf, process::Command, time::Instant};

use xshell::{Cmd, Shell, cmd};

use crate::{
    fail::{Context, Result},
    lab, say, tools, workflows,
};

/// The checker of dependencies, in the version whose rules `.github/deny.toml` is written for.
const CARGO_DENY: &str = "cargo-deny@0.20.2";
const DENY: [&str; 4] = ["--log-level", "error", "--config", ".github/deny.toml"];

/// Formatting, workflows, lints, tests, dependencies; then, if asked for, the lab from question to image.
pub(crate) fn all(with_lab: bool) -> Result {
    let shell = Shell::new()?;
    shell.change_dir(tools::workspace());
    step("formatting", cmd!(shell, "cargo fmt --all --check"))?;
    workflows::lint()?;
    step("lints", cmd!(shell, "cargo clippy --workspace --all-targets --locked -- -D warnings"))?;
    // Programs that no one here wrote, which the tests hold ours against.
    tools::need(&[("rpm", "rpm")])?;
    let registry = lab::registry_program()?;
    let mut tests = cmd!(shell, "cargo test --workspace --locked");
    if let Some(directory) = registry.parent().filter(|directory| directory.is_absolute()) {
        let path = std::env::var("PATH").unwrap_or_default();
        tests = tests.env("PATH", format!("{path}:{}", directory.display()));
    }
    step("tests", tests)?;
    dependencies(&shell)?;
    if with_lab { lab::run() } else { Ok(()) }
}

/// Licences, sources and bans are decided by files that are here. Known vulnerabilities come from the network: only
/// where their list cannot be had is that said and no more.
fn dependencies(shell: &Shell) -> Result {
    let deny = cargo_deny(shell)?;
    step("dependencies", cmd!(shell, "{deny} --offline {DENY...} check bans licenses sources"))?;
    let output = Command::new(&deny)
        .args(DENY)
        .args(["check", "advisories"])
        .current_dir(tools::workspace())
        .output()?;
    if output.status.success() {
        say::note("test: advisories: good");
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("failed to fetch advisory database") {
        say::note("test: advisories: NOT checked, their database cannot be reached from here");
        return Ok(());
    }
    Err(format!("a dependency has a known vulnerability, or was withdrawn:\n{said}").into())
}

/// The machine's own cargo-deny, or one that is installed below `target`.
fn cargo_deny(shell: &Shell) -> Result<PathBuf> {
    if tools::is_there("cargo-deny") {
        return Ok(PathBuf::from("cargo-deny"));
    }
    let root = tools::workspace().join("target/tools");
    let installed = root.join("bin/cargo-deny");
    if !installed.is_file() {
        step(
            "installing cargo-deny",
            cmd!(shell, "cargo install --quiet --locked --debug --root {root} {CARGO_DENY}"),
        )?;
    }
    Ok(installed)
}

fn step(name: &str, command: Cmd<'_>) -> Result {
    say::note(format_args!("test: {name}: {command}"));
    let begun = Instant::now();
    command.quiet().run().context(name)?;
    say::note(format_args!("test: {name}: good, {}", tools::duration(begun.elapsed())));
    Ok(())
}
