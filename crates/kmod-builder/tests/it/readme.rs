//! README.md and the documents agree with the program.

use std::fs;
use std::path::Path;
use std::process::Command;

use kmod_builder::model::ci_report::FindingKind;

use crate::command_output::CommandOutput;

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)).unwrap()
}

#[test]
fn the_readme_shows_the_help_as_it_is() {
    let output = Command::new(env!("CARGO_BIN_EXE_zfs-kmods")).arg("-h").env_clear().output().unwrap();
    let help = CommandOutput::from(output).with(0).stdout;
    let shown = format!("```text\n{}\n```", help.trim_end());
    assert!(document("README.md").contains(&shown), "README.md must show this:\n{help}");
}

#[test]
fn the_guide_for_publishers_lists_every_kind_of_finding() {
    let guide = document("docs/publishing.md");
    for row in FindingKind::TABLE {
        assert!(guide.contains(&format!("\n| {} | ", row.title)), "docs/publishing.md lacks `{}`", row.title);
    }
}
