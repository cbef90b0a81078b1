//! Values that are valid each, but not together.

use insta::assert_snapshot;

use super::{report, report_rows};

#[test]
fn rows_are_unique_and_sorted() {
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
       ╭─[compat/zfs.toml:3:1]
     2 │
     3 │ [[release]]
       · ─────┬─────
       ·      ╰── before this
     4 │ version = "2.2.10"
       ╰────
        ╭─[compat/zfs.toml:9:1]
      8 │
      9 │ [[release]]
        · ─────┬─────
        ·      ╰── move this up
     10 │ version = "2.2.9"
        ╰────
      help: sort them by version, the oldest first

    Error:
      × the row of OpenZFS 2.2.10 exists twice
       ╭─[compat/zfs.toml:3:1]
     2 │
     3 │ [[release]]
       · ─────┬─────
       ·      ╰── first
     4 │ version = "2.2.10"
       ╰────
        ╭─[compat/zfs.toml:21:1]
     20 │
     21 │ [[release]]
        · ─────┬─────
        ·      ╰── second
     22 │ version = "2.2.10"
        ╰────
      help: keep one of them
    "#);
}

#[test]
fn exclusions_are_unique_and_sorted_and_name_a_row() {
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
        ·      ╰── before this
     10 │ zfs = "2.4.1"
     11 │ kernel = "6.10"
     12 │ reason = "of this"
     13 │ source = "https://example.org/"
     14 │
     15 │ [[exclude]]
        · ─────┬─────
        ·      ╰── move this up
     16 │ zfs = "2.4.1"
        ╰────
      help: sort them by `zfs`, then by `kernel`

    Error:
      × the exclusion of kernel 6.10 for OpenZFS 2.4.1 exists twice
        ╭─[compat/zfs.toml:9:1]
      8 │
      9 │ [[exclude]]
        · ─────┬─────
        ·      ╰── first
     10 │ zfs = "2.4.1"
        ╰────
        ╭─[compat/zfs.toml:21:1]
     20 │
     21 │ [[exclude]]
        · ─────┬─────
        ·      ╰── second
     22 │ zfs = "2.4.1"
        ╰────
      help: keep one of them

    Error:
      × the exclusion names OpenZFS 2.4.2, which has no row
        ╭─[compat/zfs.toml:27:1]
     26 │
     27 │ [[exclude]]
        · ─────┬─────
        ·      ╰── no `[[release]]` has this `version`
     28 │ zfs = "2.4.2"
        ╰────
      help: an exclusion narrows the range of a row: add the row, or correct the version
    "#);
}

#[test]
fn the_line_of_the_policy_has_a_row() {
    assert_snapshot!(report("[policy]\nline = \"2.5\"\nunknown_release = \"hold\"\n"), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × the line 2.5 has no row, so nothing would ever be built
       ╭─[compat/zfs.toml:1:1]
     1 │ [policy]
       · ────┬───
       ·     ╰── no `[[release]]` is of this line
     2 │ line = "2.5"
       ╰────
      help: add a row for a release of the line, or follow another line
    "#);
}
