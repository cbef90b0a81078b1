//! The diagnostics of an invalid matrix, as they are shown.

mod rules;
mod tables;
mod values;

use insta::assert_snapshot;
use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::{CompatMatrix, MatrixError};

pub(super) fn render(error: &MatrixError) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut report = String::new();
    handler.render_report(&mut report, error).unwrap();
    // Snapshots are indented: blanks at line ends would be invisible in them.
    report.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn report(text: &str) -> String {
    render(&CompatMatrix::parse("compat/zfs.toml", text).unwrap_err())
}

/// A valid policy and the rows under test.
#[track_caller]
fn report_rows(rows: &str) -> String {
    let policy = "policy = { line = \"2.4\", unknown_release = \"use-meta\" }\n";
    report(&format!("{policy}{rows}"))
}

#[test]
fn invalid_toml_is_the_only_diagnostic() {
    assert_snapshot!(report("[policy]\nline = \"2.4\nunknown_release = hold\n[[release]]\nversion = \"x\"\n"), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × invalid TOML: invalid basic string, expected `"`
       ╭─[compat/zfs.toml:2:12]
     1 │ [policy]
     2 │ line = "2.4
       ·            ▲
       ·            ╰── here
     3 │ unknown_release = hold
       ╰────
      help: fix the syntax first: nothing else was checked

    Error:
      × invalid TOML: string values must be quoted, expected literal string
       ╭─[compat/zfs.toml:3:19]
     2 │ line = "2.4
     3 │ unknown_release = hold
       ·                   ──┬─
       ·                     ╰── here
     4 │ [[release]]
       ╰────
      help: fix the syntax first: nothing else was checked
    "#);
}

#[test]
fn truncated_text_is_reported_at_its_end() {
    assert_snapshot!(report("[policy]\nline = "), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × invalid TOML: string values must be quoted, expected literal string
       ╭─[compat/zfs.toml:2:6]
     1 │ [policy]
     2 │ line =
       ·      ┬
       ·      ╰── here
       ╰────
      help: fix the syntax first: nothing else was checked
    "#);
    assert_snapshot!(report("[policy]\nline = \"\"\"2.4é\n\n"), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × invalid TOML: invalid multi-line basic string, expected `"`
       ╭─[compat/zfs.toml:2:14]
     1 │ [policy]
     2 │ line = """2.4é
       ·              ┬
       ·              ╰── here
     3 │
       ╰────
      help: fix the syntax first: nothing else was checked
    "#);
}

/// One of each kind: value, key, missing key, range, order.
#[test]
fn the_faults_of_all_rows_are_reported_in_one_run() {
    assert_snapshot!(report(r#"
[policy]
line = "2.4"
unknown_release = "guess"

[[release]]
version = "2.4.1"
linux_min = "6.12"
linux_max = "6.9"
source = "https://example.org/"

[[release]]
version = "2.4.0"
linux_min = "4.18"
linux_max = "6.18"
source = "https://example.org/"

[[release]]
version = "2.4.2"
linux_min = "6.12"
linux_max = "6.13"
linux_mx = "6.19"
source = "https://example.org/"

[[release]]
version = "2.4.3"
linux_min = "4.18"
linux_max = "6.18"
"#), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × `guess` is not a policy for releases without a row (expected `hold` or `use-meta`)
       ╭─[compat/zfs.toml:4:19]
     3 │ line = "2.4"
     4 │ unknown_release = "guess"
       ·                   ───┬───
       ·                      ╰── here
     5 │
       ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [policy]
            line = "2.4"
            unknown_release = "hold"

    Error:
      × `linux_max` 6.9 is below `linux_min` 6.12
       ╭─[compat/zfs.toml:6:1]
     5 │
     6 │ [[release]]
       · ─────┬─────
       ·      ╰── in this row
     7 │ version = "2.4.1"
       ╰────
      help: versions are compared as numbers: 6.10 is above 6.9

    Error:
      × the row of OpenZFS 2.4.0 stands after the row of OpenZFS 2.4.1
        ╭─[compat/zfs.toml:6:1]
      5 │
      6 │ [[release]]
        · ─────┬─────
        ·      ╰── before this
      7 │ version = "2.4.1"
      8 │ linux_min = "6.12"
      9 │ linux_max = "6.9"
     10 │ source = "https://example.org/"
     11 │
     12 │ [[release]]
        · ─────┬─────
        ·      ╰── move this up
     13 │ version = "2.4.0"
        ╰────
      help: sort them by version, the oldest first

    Error:
      × unknown field `linux_mx`, expected one of `version`, `linux_min`, `linux_max`, `sha256`,
      │ `source`
        ╭─[compat/zfs.toml:22:1]
     21 │ linux_max = "6.13"
     22 │ linux_mx = "6.19"
        · ────┬───
        ·     ╰── here
     23 │ source = "https://example.org/"
        ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"

    Error:
      × missing field `source`
        ╭─[compat/zfs.toml:25:1]
     24 │
     25 │ [[release]]
        · ─────┬─────
        ·      ╰── here
     26 │ version = "2.4.3"
        ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"
    "#);
}
