//! `cargo xtask test`: all that CI does, in the order of cheapness.

use std::time::Instant;

use xshell::{Cmd, Shell, cmd};

use crate::{
    fail::{Context, Result},
    lab, say, tools,
};

/// Formatting, lints, tests, dependencies; then, if asked for, the lab from question to image.
pub(crate) fn all(with_lab: bool) -> Result {
    let shell = Shell::new()?;
    step("formatting", cmd!(shell, "cargo fmt --all --check"))?;
    step("lints", cmd!(shell, "cargo clippy --workspace --all-targets --locked -- -D warnings"))?;
    step("tests", cmd!(shell, "cargo test --workspace --locked"))?;
    dependencies(&shell)?;
    if with_lab { lab::run() } else { Ok(()) }
}

/// Licences, sources and duplicates are decided by files that are here. Advisories come from the network: where that
/// cannot be reached it is said, and it is no failure of this repository.
fn dependencies(shell: &Shell) -> Result {
    if !tools::is_there("cargo-deny") && !cargo_has_deny() {
        say::note(
            "test: cargo-deny is not installed (`cargo install --locked cargo-deny`); dependencies not checked",
        );
        return Ok(());
    }
    step("dependencies", cmd!(shell, "cargo deny --offline check bans licenses sources"))?;
    if step("advisories", cmd!(shell, "cargo deny check advisories")).is_err() {
        say::note("test: known vulnerabilities not checked: see above whether their database was reachable");
    }
    Ok(())
}

fn cargo_has_deny() -> bool {
    std::env::home_dir().is_some_and(|home| home.join(".cargo/bin/cargo-deny").is_file())
}

fn step(name: &str, command: Cmd<'_>) -> Result {
    say::note(format_args!("test: {name}: {command}"));
    let begun = Instant::now();
    command.quiet().run().context(name)?;
    say::note(format_args!("test: {name}: good, {}", tools::duration(begun.elapsed())));
    Ok(())
}
