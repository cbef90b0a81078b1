//! What the documents and workflows say must be true: paths, test names, help text, pinned actions.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::source::{root, sources};

/// The Markdown documents that speak of this repository.
fn documents() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned(), "SECURITY.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).unwrap().map(Result::unwrap) {
        names.push(format!("docs/{}", entry.file_name().to_str().unwrap()));
    }
    names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "md"));
    names.sort();
    let read = |name: String| (fs::read_to_string(root().join(&name)).unwrap(), name);
    names.into_iter().map(read).map(|(text, name)| (name, text)).collect()
}

/// The texts between single backticks, without code blocks.
fn inline_code(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("\n```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2))
}

/// Test names in the documents that no test has. A test name here has at least two `_` and nothing but lower case.
fn missing_tests(text: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let is_test_name = |word: &str| {
        word.matches('_').count() >= 2 && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let named = inline_code(text).filter(|word| is_test_name(word));
    named.filter(|word| !tests.contains(*word)).map(str::to_owned).collect()
}

/// The functions of the workspace, for [`missing_tests`].
fn functions() -> BTreeSet<String> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    sources().iter().flat_map(|source| source.code.split("fn ").skip(1).map(name)).collect()
}

/// Paths in the documents that do not exist. A path begins with a folder of the repository, or is relative to one of
/// `bases`.
fn missing_paths(text: &str, bases: &[&str]) -> Vec<String> {
    let tops =
        ["crates/", "xtask/", "compat/", "docs/", ".github/", "model/", "io/", "commands/", "src/", "tests/"];
    let named = inline_code(text)
        .filter(|word| tops.iter().any(|top| word.starts_with(top)) && !word.contains([' ', '*', '<']));
    let exists = |path: &str| bases.iter().any(|base| root().join(base).join(path).exists());
    named.filter(|path| !exists(path)).map(str::to_owned).collect()
}

/// `uses:` lines of a workflow whose action is not pinned by commit and not in this repository.
fn unpinned_actions(text: &str) -> Vec<String> {
    let actions = text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses:"));
    let pinned = |action: &&str| {
        let commit = action.split_once('@').and_then(|(_, commit)| commit.split_whitespace().next());
        commit.is_some_and(|commit| commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    actions
        .map(str::trim)
        .filter(|action| !pinned(action) && !action.starts_with("./"))
        .map(str::to_owned)
        .collect()
}

/// `run:` lines of a workflow that hold an expression of GitHub's, which a shell would execute, or several lines.
fn logic_in_run_lines(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("run:"));
    let bad = |line: &&str| line.contains("${{") || line.trim_start().starts_with(['|', '>']);
    lines.filter(bad).map(|line| line.trim().to_owned()).collect()
}

/// Dependencies of a manifest that it may not have.
fn forbidden_dependencies(manifest: &str, forbidden: &[&str]) -> Vec<String> {
    let keys = manifest.lines().filter_map(|line| line.split(['.', '=', ' ']).next());
    keys.filter(|key| forbidden.contains(key)).map(str::to_owned).collect()
}

#[test]
fn every_test_that_a_document_names_exists() {
    let functions = functions();
    for (name, text) in documents() {
        let missing = missing_tests(&text, &functions);
        assert!(missing.is_empty(), "{name} names tests that do not exist: {missing:#?}");
    }
    assert_eq!(missing_tests("| `planted_test_name` |", &functions), ["planted_test_name"]);
}

#[test]
fn every_path_that_a_document_names_exists() {
    let bases = ["", "crates/kmod-builder", "crates/kmod-builder/src"];
    for (name, text) in documents() {
        let missing = missing_paths(&text, &bases);
        assert!(missing.is_empty(), "{name} names paths that do not exist: {missing:#?}");
    }
    assert_eq!(missing_paths("change `model/planted.rs`", &bases), ["model/planted.rs"]);
}

#[test]
fn workflow_actions_are_pinned_and_their_lines_have_no_logic() {
    for folder in [".github/workflows", ".github/actions/zfs-kmods", ".github/actions/compile"] {
        for entry in fs::read_dir(root().join(folder)).unwrap().map(Result::unwrap) {
            let (path, text) = (entry.path(), fs::read_to_string(entry.path()).unwrap());
            assert_eq!(unpinned_actions(&text), Vec::<String>::new(), "{}", path.display());
            if folder.ends_with("workflows") {
                assert_eq!(logic_in_run_lines(&text), Vec::<String>::new(), "{}", path.display());
            }
        }
    }
    assert_eq!(unpinned_actions("- uses: actions/checkout@v4"), ["actions/checkout@v4"]);
    assert_eq!(logic_in_run_lines("  run: echo ${{ inputs.x }}"), ["echo ${{ inputs.x }}"]);
    assert_eq!(logic_in_run_lines("- run: |"), ["|"]);
}

#[test]
fn dependencies_point_one_way() {
    let forbidden = |folder: &str| -> &[&str] {
        match folder {
            "crates/kmod-compat" => &["kmod-query", "kmod-builder", "xtask"],
            "crates/kmod-query" => &["kmod-builder", "xtask"],
            "crates/kmod-builder" => &["xtask"],
            _ => &["kmod-compat", "kmod-query", "kmod-builder"],
        }
    };
    for folder in ["crates/kmod-compat", "crates/kmod-query", "crates/kmod-builder", "xtask"] {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
        assert_eq!(forbidden_dependencies(dependencies, forbidden(folder)), Vec::<String>::new(), "{folder}");
    }
    let planted = "kmod-builder.workspace = true\n";
    assert_eq!(forbidden_dependencies(planted, forbidden("crates/kmod-query")), ["kmod-builder"]);
}

/// Parsers and errors only: nothing that can reach outside the process.
const PURE: &str = "\
    cfg-if equivalent foldhash hashbrown indexmap itoa kmod-compat memchr miette miette-derive proc-macro2 \
    quote rpm-version rustversion semver serde serde_core serde_derive serde_spanned strsim syn \
    thiserror thiserror-impl toml toml_datetime toml_edit toml_parser toml_writer unicode-ident unicode-width winnow";

/// Dependencies in the output of `cargo tree` that are not known to be pure.
fn impure_dependencies(tree: &str) -> Vec<&str> {
    let names = tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty());
    let others: BTreeSet<_> = names.filter(|name| PURE.split(' ').all(|pure| pure != *name)).collect();
    others.into_iter().collect()
}

#[test]
fn kmod_compat_depends_on_pure_crates_only() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "kmod-compat", "--edges", "normal", "--prefix", "none", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let others = impure_dependencies(&tree);
    assert!(
        others.is_empty(),
        "kmod-compat has new dependencies: {others:?}. Add them to PURE only if they cannot reach outside the process."
    );
    assert_eq!(impure_dependencies("kmod-compat v0.1.0 (/x)\nserde v1.0.0\ntokio v1.0.0 (*)\n"), ["tokio"]);
}
