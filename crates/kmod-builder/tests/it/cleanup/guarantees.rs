//! The table in `docs/cleanup.md` names a test for each guarantee, that in `docs/security.md` one for each finding.

use std::path::Path;
use std::process::Command;

use kmod_builder::model::cleanup::KEEP_RULES;

use crate::images;

/// The rows of a table under a heading, without its head.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<&'a str> {
    let (_, section) = page.split_once(&format!("## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip_while(|line| !line.contains("---"))
        .skip(1)
        .collect()
}

#[track_caller]
fn name_tests_that_exist(file: &str, rows: &[&str]) {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "tests/it/cleanup", "../kmod-query/src"];
    let files = folders.into_iter().flat_map(|folder| images::files(&package.join(folder)));
    let all: String = files.map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()).collect();
    for row in rows {
        let tests: Vec<&str> = row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{row}");
        for test in tests {
            let is_test = all.contains(&format!("fn {test}()"));
            assert!(is_test, "{file} names `{test}`, and there is no such test");
        }
    }
}

#[test]
fn each_of_the_twelve_has_tests_that_exist() {
    let rows = rows(include_str!("../../../../../docs/cleanup.md"), "The twelve guarantees");
    assert_eq!(rows.len(), 12);
    name_tests_that_exist("docs/cleanup.md", &rows);
}

#[test]
fn each_finding_has_tests_that_exist() {
    let rows = rows(include_str!("../../../../../docs/security.md"), "Clean-up");
    assert!(rows.len() > 20);
    name_tests_that_exist("docs/security.md", &rows);
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
