//! The rules of the house, as tests: who may touch what, how long a file may be, and that the documents are true.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file that is longer asks for a wall.
const LONGEST: usize = 450;

/// What `kmod-compat` may be made of: parsers, errors and nothing that touches the world.
const PURE: &[&str] = &[
    "equivalent",
    "foldhash",
    "hashbrown",
    "indexmap",
    "itoa",
    "kmod-compat",
    "memchr",
    "miette",
    "miette-derive",
    "proc-macro2",
    "quote",
    "rpm-version",
    "rustversion",
    "semver",
    "serde",
    "serde_core",
    "serde_derive",
    "serde_spanned",
    "syn",
    "thiserror",
    "thiserror-impl",
    "toml",
    "toml_datetime",
    "toml_parser",
    "toml_writer",
    "unicode-ident",
    "unicode-width",
    "winnow",
    "cfg-if",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_owned()
}

/// Every Rust file below a folder, by its path from the root, with its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    collect(&root().join(folder), &mut files);
    files.sort();
    assert!(!files.is_empty(), "{folder} has no Rust files: the rule has lost its object");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        (name, fs::read_to_string(path).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// The lines that are neither comments nor below the file's own tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line))
}

/// Fails with every place in which one of the words stands.
#[track_caller]
fn forbid(folder: &str, words: &[&str], except: &[&str], why: &str) {
    let mut broken = Vec::new();
    for (name, text) in sources(folder) {
        if except.iter().any(|allowed| name.ends_with(allowed)) {
            continue;
        }
        for (number, line) in code(&text) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                broken.push(format!("{name}:{number}: `{word}`"));
            }
        }
    }
    assert!(broken.is_empty(), "{why}:\n{}", broken.join("\n"));
}

#[test]
fn kmod_compat_is_pure() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "kmod-compat", "--edges", "normal", "--prefix", "none", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let names: BTreeSet<_> =
        tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty()).collect();
    let others: Vec<_> = names.into_iter().filter(|name| !PURE.contains(name)).collect();
    assert!(
        others.is_empty(),
        "kmod-compat got new dependencies: {others:?}. Add them to PURE only if they touch nothing."
    );
    let world = ["async ", "std::fs", "std::env::", "std::process", "std::net", "SystemTime", "Instant::now"];
    forbid("crates/kmod-compat/src", &world, &[], "kmod-compat is pure");
}

#[test]
fn the_model_decides_and_touches_nothing() {
    let words = [
        "async ",
        ".await",
        "Timestamp::now",
        "Zoned::now",
        "SystemTime",
        "Instant::now",
        "std::env::",
        "std::fs",
        "Command::new",
        "tokio::",
        "reqwest::",
        "crate::io",
        "crate::commands",
        "crate::cli",
        "crate::output",
    ];
    forbid("crates/kmod-builder/src/model", &words, &[], "model/ is pure, synchronous and at the bottom");
}

#[test]
fn io_does_not_know_the_verbs() {
    forbid("crates/kmod-builder/src/io", &["crate::commands", "crate::cli"], &[], "commands stand above io");
    forbid(
        "crates/kmod-query/src",
        &["kmod_builder", "std::process", "tokio::process", "std::env::"],
        &[],
        "kmod-query only asks the network",
    );
}

#[test]
fn processes_are_started_in_one_place() {
    let words = ["std::process::Command", "tokio::process", "process::Command", "Command::new"];
    forbid("crates/kmod-builder/src", &words, &["src/io/cmd.rs"], "only io/cmd.rs starts processes");
}

#[test]
fn standard_output_has_one_writer() {
    let words = ["println!", "print!(", "stdout()"];
    forbid("crates/kmod-builder/src", &words, &["src/output.rs"], "only output.rs writes to standard output");
}

#[test]
fn nothing_is_left_undone() {
    // In two pieces, so that this file does not find itself.
    let words = [
        ["to", "do!("].concat(),
        ["unimpl", "emented!("].concat(),
        ["#[ig", "nore"].concat(),
        ["#[al", "low("].concat(),
    ];
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    for folder in ["crates", "xtask"] {
        forbid(
            folder,
            &words,
            &[],
            "no stub, no ignored test, no silenced lint (`#[expect]` with a reason is fine)",
        );
    }
}

#[test]
fn files_are_rooms_not_halls() {
    let long: Vec<_> = ["crates", "xtask"]
        .into_iter()
        .flat_map(sources)
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .collect();
    assert!(long.is_empty(), "these files ask for a wall: {long:?}");
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let empty = ["util", "utils", "helper", "helpers", "common", "manager", "misc"];
    let named: Vec<_> = ["crates", "xtask"]
        .into_iter()
        .flat_map(sources)
        .map(|(name, _)| name)
        .filter(|name| Path::new(name).file_stem().is_some_and(|stem| empty.iter().any(|word| stem == *word)))
        .collect();
    assert!(named.is_empty(), "{named:?}");
}

#[test]
fn every_workflow_action_is_pinned_by_commit() {
    let folder = root().join(".github/workflows");
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let text = fs::read_to_string(entry.path()).unwrap();
        for line in text.lines().map(str::trim) {
            let Some(action) = line.trim_start_matches("- ").strip_prefix("uses:") else { continue };
            let action = action.trim();
            let commit = action.split_once('@').map_or("", |(_, commit)| commit);
            let commit = commit.split_whitespace().next().unwrap_or_default();
            let pinned = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(pinned || action.starts_with("./"), "{}: {action}", entry.path().display());
        }
    }
}

#[test]
fn the_readme_shows_the_help_as_it_is() {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--package", "kmod-builder", "--", "-h"])
        .current_dir(root())
        .env_clear()
        .envs(
            ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"]
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let help = String::from_utf8(output.stdout).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(
        readme.contains(&format!("```text\n{}\n```", help.trim_end())),
        "README.md must show this:\n{help}"
    );
}
