//! Missing tables and keys, and values of other types.

use insta::assert_snapshot;

use super::{report, report_rows};

#[test]
fn a_missing_table_or_key_is_shown_with_a_valid_example() {
    assert_snapshot!(report("[[release]]\nversion = \"2.4.1\"\nlinux_min = \"4.18\"\nlinux_max = \"6.19\"\n"), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × missing table `policy`
       ╭─[compat/zfs.toml:1:1]
     1 │ [[release]]
       · ▲
       · ╰── before the first row
     2 │ version = "2.4.1"
       ╰────
      help: begin with one such as

            [policy]
            line = "2.4"
            unknown_release = "hold"

    Error:
      × missing field `source`
       ╭─[compat/zfs.toml:1:1]
     1 │ [[release]]
       · ─────┬─────
       ·      ╰── here
     2 │ version = "2.4.1"
       ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"
    "#);
    assert_snapshot!(report(""), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × missing table `policy`
       ╭─[compat/zfs.toml:1:1]
       ╰────
      help: begin with one such as

            [policy]
            line = "2.4"
            unknown_release = "hold"
    "#);
}

#[test]
fn values_of_other_types_are_named() {
    assert_snapshot!(report(r#"
policy = "2.4"
exclude = [ "2.1.9" ]
polic = 1

[release]
version = "2.4.1"
"#), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × invalid type: string "2.4", expected a table
       ╭─[compat/zfs.toml:2:10]
     1 │
     2 │ policy = "2.4"
       ·          ──┬──
       ·            ╰── here
     3 │ exclude = [ "2.1.9" ]
       ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [policy]
            line = "2.4"
            unknown_release = "hold"

    Error:
      × invalid type: string "2.1.9", expected a table
       ╭─[compat/zfs.toml:3:13]
     2 │ policy = "2.4"
     3 │ exclude = [ "2.1.9" ]
       ·             ───┬───
       ·                ╰── here
     4 │ polic = 1
       ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[exclude]]
            zfs = "2.1.9"
            kernel = "6.2.8"
            reason = "does not compile"
            source = "https://github.com/openzfs/zfs/issues/14658"

    Error:
      × unknown table `polic`, expected one of `policy`, `release`, `exclude`
       ╭─[compat/zfs.toml:4:1]
     3 │ exclude = [ "2.1.9" ]
     4 │ polic = 1
       · ──┬──
       ·   ╰── here
     5 │
       ╰────
      help: remove it, or correct its name

    Error:
      × invalid type: table, expected an array of tables
       ╭─[compat/zfs.toml:6:1]
     5 │
     6 │ [release]
       · ────┬────
       ·     ╰── here
     7 │ version = "2.4.1"
       ╰────
      help: a valid row is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"
    "#);
}

#[test]
fn a_number_is_not_a_version() {
    assert_snapshot!(report_rows(r#"
[[release]]
version = "2.2.6"
linux_min = "3.10"
linux_max = 6.10
source = "https://example.org/"
"#), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × invalid type: floating point `6.1`, expected a string
       ╭─[compat/zfs.toml:6:13]
     5 │ linux_min = "3.10"
     6 │ linux_max = 6.10
       ·             ──┬─
       ·               ╰── here
     7 │ source = "https://example.org/"
       ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"
    "#);
}

/// Rules between rows are not checked against rows that could not be read.
#[test]
fn an_unreadable_version_is_one_diagnostic_only() {
    assert_snapshot!(report(r#"
[policy]
line = "2.4"
unknown_release = "hold"

[[release]]
version = "2.4.x"
linux_min = "4.18"
linux_max = "6.19"
source = "https://example.org/"

[[exclude]]
zfs = "2.4.1"
kernel = "6.10"
reason = "of this"
source = "https://example.org/"
"#), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × `2.4.x` is not a released OpenZFS version (expected e.g. `2.4.0`)
       ╭─[compat/zfs.toml:7:11]
     6 │ [[release]]
     7 │ version = "2.4.x"
       ·           ───┬───
       ·              ╰── here
     8 │ linux_min = "4.18"
       ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"
    "#);
}
