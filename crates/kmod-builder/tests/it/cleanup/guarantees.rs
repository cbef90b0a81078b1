//! The table in `docs/cleanup.md` names a test for each guarantee, and the tests exist.

use std::fs;
use std::path::Path;
use std::process::Command;

use kmod_builder::model::cleanup::KEEP_RULES;

use crate::images;

#[test]
fn each_of_the_twelve_has_tests_that_exist() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "tests/it/cleanup", "../kmod-query/src"];
    let files = folders.into_iter().flat_map(|folder| images::files(&package.join(folder)));
    let all: String = files.map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()).collect();
    let page = fs::read_to_string(package.join("../../docs/cleanup.md")).unwrap();
    let (_, table) = page.split_once("## The twelve guarantees").unwrap();
    let rows: Vec<&str> =
        table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |")).collect();
    let rows: Vec<&&str> = rows.iter().filter(|row| !row.contains("---")).collect();
    assert_eq!(rows.len(), 12);
    for row in rows {
        let tests: Vec<&str> = row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{row}");
        for test in tests {
            let is_test = all.contains(&format!("fn {test}()"));
            assert!(is_test, "docs/cleanup.md names `{test}`, and there is no such test");
        }
    }
}

#[test]
fn the_table_of_keep_rules_has_each_rule_with_its_flags() {
    let page = include_str!("../../../../../docs/cleanup.md");
    let program = Command::new(env!("CARGO_BIN_EXE_zfs-kmods")).args(["cleanup", "--help"]).output().unwrap();
    let help = String::from_utf8(program.stdout).unwrap();
    for rule in &KEEP_RULES {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", rule.id)));
        let row = row.unwrap_or_else(|| panic!("no row for {}", rule.id));
        assert_eq!(row.ends_with("| always |"), rule.is_absolute, "{row}");
        for flag in rule.flags {
            assert!(row.contains(&format!("`{flag} ")) && help.contains(flag), "{flag}: {row}");
        }
    }
}
