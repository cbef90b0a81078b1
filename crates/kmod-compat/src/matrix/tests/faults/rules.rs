//! Faults between values that are good each for itself.

use insta::assert_snapshot;

use super::{report, report_rows};

#[test]
fn rows_stand_once_and_sorted() {
    assert_snapshot!(report_rows(r#"
[[release]]
version = "2.2.10"
linux_min = "4.18"
linux_max = "6.17"
source = "https://example.org/"

[[release]]
version = "2.2.9"
linux_min = "4.18"
linux_max = "6.17"
source = "https://example.org/"

[[release]]
version = "2.2.11"
linux_min = "4.18"
linux_max = "6.17"
source = "https://example.org/"

[[release]]
version = "2.2.10"
linux_min = "4.18"
linux_max = "6.17"
source = "https://example.org/"
"#), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × the row of OpenZFS 2.2.9 stands after the row of OpenZFS 2.2.10
       ╭─[compat/zfs.toml:4:11]
     3 │ [[release]]
     4 │ version = "2.2.10"
       ·           ────┬───
       ·               ╰── it belongs before this
     5 │ linux_min = "4.18"
       ╰────
        ╭─[compat/zfs.toml:10:11]
      9 │ [[release]]
     10 │ version = "2.2.9"
        ·           ───┬───
        ·              ╰── move this one up
     11 │ linux_min = "4.18"
        ╰────
      help: sort them by version, the oldest first

    Error:
      × the row of OpenZFS 2.2.10 is there twice
       ╭─[compat/zfs.toml:4:11]
     3 │ [[release]]
     4 │ version = "2.2.10"
       ·           ────┬───
       ·               ╰── first here
     5 │ linux_min = "4.18"
       ╰────
        ╭─[compat/zfs.toml:22:11]
     21 │ [[release]]
     22 │ version = "2.2.10"
        ·           ────┬───
        ·               ╰── again here
     23 │ linux_min = "4.18"
        ╰────
      help: keep one of them
    "#);
}

#[test]
fn exclusions_stand_once_and_sorted_and_narrow_a_row() {
    assert_snapshot!(report_rows(r#"
[[release]]
version = "2.4.1"
linux_min = "4.18"
linux_max = "6.19"
source = "https://example.org/"

[[exclude]]
zfs = "2.4.1"
kernel = "6.10"
reason = "of this"
source = "https://example.org/"

[[exclude]]
zfs = "2.4.1"
kernel = "6.9"
reason = "of that"
source = "https://example.org/"

[[exclude]]
zfs = "2.4.1"
kernel = "6.10"
reason = "of those"
source = "https://example.org/"

[[exclude]]
zfs = "2.4.2"
kernel = "6.10"
reason = "of something else"
source = "https://example.org/"
"#), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × the exclusion of kernel 6.9 for OpenZFS 2.4.1 stands after the exclusion of kernel 6.10 for
      │ OpenZFS 2.4.1
        ╭─[compat/zfs.toml:9:1]
      8 │
      9 │ [[exclude]]
        · ─────┬─────
        ·      ╰── it belongs before this
     10 │ zfs = "2.4.1"
     11 │ kernel = "6.10"
     12 │ reason = "of this"
     13 │ source = "https://example.org/"
     14 │
     15 │ [[exclude]]
        · ─────┬─────
        ·      ╰── move this one up
     16 │ zfs = "2.4.1"
        ╰────
      help: sort them by `zfs`, then by `kernel`

    Error:
      × the exclusion of kernel 6.10 for OpenZFS 2.4.1 is there twice
        ╭─[compat/zfs.toml:9:1]
      8 │
      9 │ [[exclude]]
        · ─────┬─────
        ·      ╰── first here
     10 │ zfs = "2.4.1"
        ╰────
        ╭─[compat/zfs.toml:21:1]
     20 │
     21 │ [[exclude]]
        · ─────┬─────
        ·      ╰── again here
     22 │ zfs = "2.4.1"
        ╰────
      help: keep one of them

    Error:
      × the exclusion names OpenZFS 2.4.2, which has no row
        ╭─[compat/zfs.toml:28:7]
     27 │ [[exclude]]
     28 │ zfs = "2.4.2"
        ·       ───┬───
        ·          ╰── no `[[release]]` has this `version`
     29 │ kernel = "6.10"
        ╰────
      help: an exclusion narrows the range of a row: add the row, or correct the version
    "#);
}

#[test]
fn a_line_without_a_row_would_build_nothing() {
    assert_snapshot!(report("[policy]\nline = \"2.5\"\nunknown_release = \"hold\"\n"), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × the line 2.5 has no row, so nothing would ever be built
       ╭─[compat/zfs.toml:2:8]
     1 │ [policy]
     2 │ line = "2.5"
       ·        ──┬──
       ·          ╰── no `[[release]]` is of this line
     3 │ unknown_release = "hold"
       ╰────
      help: add a row for a release of the line, or follow another line
    "#);
}
