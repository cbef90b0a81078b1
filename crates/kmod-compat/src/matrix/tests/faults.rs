//! What the reader of a bad matrix sees.

mod rules;
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

/// A matrix around the rows under test, without a fault of its own.
#[track_caller]
fn report_rows(rows: &str) -> String {
    let policy = "policy = { line = \"2.4\", unknown_release = \"use-meta\" }\n";
    report(&format!("{policy}{rows}"))
}

#[test]
fn bad_toml_stops_there() {
    assert_snapshot!(report("[policy]\nline = \"2.4\nunknown_release = hold\n[[release]]\nversion = \"x\"\n"), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × bad TOML: invalid basic string, expected `"`
       ╭─[compat/zfs.toml:2:12]
     1 │ [policy]
     2 │ line = "2.4
       ·            ▲
       ·            ╰── here
     3 │ unknown_release = hold
       ╰────
      help: nothing else was checked: mend the syntax first

    Error:
      × bad TOML: string values must be quoted, expected literal string
       ╭─[compat/zfs.toml:3:19]
     2 │ line = "2.4
     3 │ unknown_release = hold
       ·                   ──┬─
       ·                     ╰── here
     4 │ [[release]]
       ╰────
      help: nothing else was checked: mend the syntax first
    "#);
}

#[test]
fn text_that_ends_too_early_is_shown_at_its_end() {
    assert_snapshot!(report("[policy]\nline = "), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × bad TOML: string values must be quoted, expected literal string
       ╭─[compat/zfs.toml:2:6]
     1 │ [policy]
     2 │ line =
       ·      ┬
       ·      ╰── here
       ╰────
      help: nothing else was checked: mend the syntax first
    "#);
    assert_snapshot!(report("[policy]\nline = \"\"\"2.4é\n\n"), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × bad TOML: invalid multi-line basic string, expected `"`
       ╭─[compat/zfs.toml:2:14]
     1 │ [policy]
     2 │ line = """2.4é
       ·              ┬
       ·              ╰── here
     3 │
       ╰────
      help: nothing else was checked: mend the syntax first
    "#);
}

/// Of every kind one: a value, a key, a range, an order, a row that is missing.
#[test]
fn all_faults_are_reported_in_one_run() {
    assert_snapshot!(report(r#"
[policy]
line = "2.4"
unknown_release = "guess"

[[release]]
version = "2.4.1"
linux_min = "6.12"
linux_max = "6.9"
linux_mx = "6.19"
source = "https://example.org/"

[[release]]
version = "2.4.0"
linux_min = "4.18"
linux_max = "6.18"

[[exclude]]
zfs = "2.4.2"
kernel = "6.2.8"
reason = "of this"
source = "https://example.org/"
"#), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × `guess` is not a policy for releases without a row (expected `hold` or `use-meta`)
       ╭─[compat/zfs.toml:4:19]
     3 │ line = "2.4"
     4 │ unknown_release = "guess"
       ·                   ───┬───
       ·                      ╰── not a good `unknown_release`
     5 │
       ╰────

    Error:
      × `linux_max` 6.9 is below `linux_min` 6.12
        ╭─[compat/zfs.toml:8:13]
      7 │ version = "2.4.1"
      8 │ linux_min = "6.12"
        ·             ───┬──
        ·                ╰── the lower bound
      9 │ linux_max = "6.9"
        ·             ──┬──
        ·               ╰── no kernel can be within
     10 │ linux_mx = "6.19"
        ╰────
      help: versions are compared as numbers: 6.10 is above 6.9

    Error:
      × `linux_mx` is not a key of `[[release]]`
        ╭─[compat/zfs.toml:10:1]
      9 │ linux_max = "6.9"
     10 │ linux_mx = "6.19"
        · ────┬───
        ·     ╰── would be without effect
     11 │ source = "https://example.org/"
        ╰────
      help: the keys are: version, linux_min, linux_max, sha256, source

    Error:
      × `[[release]]` has no `source`
        ╭─[compat/zfs.toml:13:1]
     12 │
     13 │ [[release]]
        · ─────┬─────
        ·      ╰── in this one
     14 │ version = "2.4.0"
        ╰────
      help: a complete one is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"

    Error:
      × the row of OpenZFS 2.4.0 stands after the row of OpenZFS 2.4.1
        ╭─[compat/zfs.toml:7:11]
      6 │ [[release]]
      7 │ version = "2.4.1"
        ·           ───┬───
        ·              ╰── it belongs before this
      8 │ linux_min = "6.12"
      9 │ linux_max = "6.9"
     10 │ linux_mx = "6.19"
     11 │ source = "https://example.org/"
     12 │
     13 │ [[release]]
     14 │ version = "2.4.0"
        ·           ───┬───
        ·              ╰── move this one up
     15 │ linux_min = "4.18"
        ╰────
      help: sort them by version, the oldest first

    Error:
      × the exclusion names OpenZFS 2.4.2, which has no row
        ╭─[compat/zfs.toml:19:7]
     18 │ [[exclude]]
     19 │ zfs = "2.4.2"
        ·       ───┬───
        ·          ╰── no `[[release]]` has this `version`
     20 │ kernel = "6.2.8"
        ╰────
      help: an exclusion narrows the range of a row: add the row, or correct the version
    "#);
}
