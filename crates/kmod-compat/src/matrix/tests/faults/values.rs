//! Faults of one value, whatever the others are.

use insta::assert_snapshot;

use super::{report, report_rows};

#[test]
fn each_value_of_a_row_is_checked() {
    assert_snapshot!(report_rows(r#"
[[release]]
version = "2.4.0-rc1"
linux_min = "4.18"
linux_max = "6.18.1"
source = "https://example.org/"

[[release]]
version = "2.4.99"
linux_min = "v4.18"
linux_max = "6.19"
sha256 = "1F08"
source = "see the release notes"
"#), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × `2.4.0-rc1` is a release candidate of OpenZFS, not a released version (expected e.g. `2.4.0`)
       ╭─[compat/zfs.toml:4:11]
     3 │ [[release]]
     4 │ version = "2.4.0-rc1"
       ·           ─────┬─────
       ·                ╰── not a good `version`
     5 │ linux_min = "4.18"
       ╰────

    Error:
      × `6.18.1` is not a kernel series (expected major and minor, e.g. `6.17`)
       ╭─[compat/zfs.toml:6:13]
     5 │ linux_min = "4.18"
     6 │ linux_max = "6.18.1"
       ·             ────┬───
       ·                 ╰── not a good `linux_max`
     7 │ source = "https://example.org/"
       ╰────

    Error:
      × `2.4.99` is a development tag of OpenZFS, not a released version (expected e.g. `2.4.0`)
        ╭─[compat/zfs.toml:10:11]
      9 │ [[release]]
     10 │ version = "2.4.99"
        ·           ────┬───
        ·               ╰── not a good `version`
     11 │ linux_min = "v4.18"
        ╰────

    Error:
      × `v4.18` is not a kernel series (expected major and minor, e.g. `6.17`)
        ╭─[compat/zfs.toml:11:13]
     10 │ version = "2.4.99"
     11 │ linux_min = "v4.18"
        ·             ───┬───
        ·                ╰── not a good `linux_min`
     12 │ linux_max = "6.19"
        ╰────

    Error:
      × `1F08` is not a sha256 (expected 64 lower-case hexadecimal digits, as `sha256sum` prints them)
        ╭─[compat/zfs.toml:13:10]
     12 │ linux_max = "6.19"
     13 │ sha256 = "1F08"
        ·          ───┬──
        ·             ╰── not a good `sha256`
     14 │ source = "see the release notes"
        ╰────

    Error:
      × `see the release notes` is not a link to a proof (expected a URL that begins with `https://`)
        ╭─[compat/zfs.toml:14:10]
     13 │ sha256 = "1F08"
     14 │ source = "see the release notes"
        ·          ───────────┬───────────
        ·                     ╰── not a good `source`
        ╰────
    "#);
}

#[test]
fn each_value_of_an_exclusion_is_checked() {
    assert_snapshot!(report_rows(r#"
[[exclude]]
zfs = "zfs-2.4.1"
kernel = "6.2.8-200.fc37"
reason = "  "
"#), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × `[[exclude]]` has no `source`
       ╭─[compat/zfs.toml:3:1]
     2 │
     3 │ [[exclude]]
       · ─────┬─────
       ·      ╰── in this one
     4 │ zfs = "zfs-2.4.1"
       ╰────
      help: a complete one is

            [[exclude]]
            zfs = "2.1.9"
            kernel = "6.2.8"
            reason = "does not compile"
            source = "https://github.com/openzfs/zfs/issues/14658"

    Error:
      × `zfs-2.4.1` is not a released OpenZFS version (expected e.g. `2.4.0`)
       ╭─[compat/zfs.toml:4:7]
     3 │ [[exclude]]
     4 │ zfs = "zfs-2.4.1"
       ·       ─────┬─────
       ·            ╰── not a good `zfs`
     5 │ kernel = "6.2.8-200.fc37"
       ╰────

    Error:
      × `6.2.8-200.fc37` is not a kernel version (expected e.g. `6.2.8`, or `6.2` for all of that
      │ series)
       ╭─[compat/zfs.toml:5:10]
     4 │ zfs = "zfs-2.4.1"
     5 │ kernel = "6.2.8-200.fc37"
       ·          ────────┬───────
       ·                  ╰── not a good `kernel`
     6 │ reason = "  "
       ╰────

    Error:
      × the reason is empty, but it is all that a held build has to show
       ╭─[compat/zfs.toml:6:10]
     5 │ kernel = "6.2.8-200.fc37"
     6 │ reason = "  "
       ·          ──┬─
       ·            ╰── not a good `reason`
       ╰────
    "#);
}

#[test]
fn each_value_of_the_policy_is_checked() {
    assert_snapshot!(report("[policy]\nline = \"2.4.0\"\nunknown_release = \"\"\n"), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × `2.4.0` is not a line of OpenZFS releases (expected e.g. `2.4`)
       ╭─[compat/zfs.toml:2:8]
     1 │ [policy]
     2 │ line = "2.4.0"
       ·        ───┬───
       ·           ╰── not a good `line`
     3 │ unknown_release = ""
       ╰────

    Error:
      × `` is not a policy for releases without a row (expected `hold` or `use-meta`)
       ╭─[compat/zfs.toml:3:19]
     2 │ line = "2.4.0"
     3 │ unknown_release = ""
       ·                   ─┬
       ·                    ╰── not a good `unknown_release`
       ╰────
    "#);
}

#[test]
fn what_is_missing_is_shown_complete() {
    assert_snapshot!(report("[[release]]\nversion = \"2.4.1\"\nlinux_min = \"4.18\"\nlinux_max = \"6.19\"\n"), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × the matrix has no `[policy]`
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
      × `[[release]]` has no `source`
       ╭─[compat/zfs.toml:1:1]
     1 │ [[release]]
       · ─────┬─────
       ·      ╰── in this one
     2 │ version = "2.4.1"
       ╰────
      help: a complete one is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"
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
      × `policy` is not a table but a text
       ╭─[compat/zfs.toml:2:10]
     1 │
     2 │ policy = "2.4"
       ·          ──┬──
       ·            ╰── write it as `[policy]`
     3 │ exclude = [ "2.1.9" ]
       ╰────
      help: [policy]
            line = "2.4"
            unknown_release = "hold"

    Error:
      × expected rows that begin with `[[exclude]]`, found a text
       ╭─[compat/zfs.toml:3:13]
     2 │ policy = "2.4"
     3 │ exclude = [ "2.1.9" ]
       ·             ───┬───
       ·                ╰── not a row
     4 │ polic = 1
       ╰────
      help: a complete row is

            [[exclude]]
            zfs = "2.1.9"
            kernel = "6.2.8"
            reason = "does not compile"
            source = "https://github.com/openzfs/zfs/issues/14658"

    Error:
      × `polic` is not a key of the matrix
       ╭─[compat/zfs.toml:4:1]
     3 │ exclude = [ "2.1.9" ]
     4 │ polic = 1
       · ──┬──
       ·   ╰── would be without effect
     5 │
       ╰────
      help: the keys are: policy, release, exclude

    Error:
      × expected rows that begin with `[[release]]`, found a table
       ╭─[compat/zfs.toml:6:1]
     5 │
     6 │ [release]
       · ────┬────
       ·     ╰── not a row
     7 │ version = "2.4.1"
       ╰────
      help: a complete row is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"
    "#);
}

#[test]
fn a_number_is_no_version() {
    assert_snapshot!(report_rows(r#"
[[release]]
version = "2.2.6"
linux_min = "3.10"
linux_max = 6.10
source = "https://example.org/"
"#), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × `linux_max` is not a text but a number
       ╭─[compat/zfs.toml:6:13]
     5 │ linux_min = "3.10"
     6 │ linux_max = 6.10
       ·             ──┬─
       ·               ╰── put it in quotes
     7 │ source = "https://example.org/"
       ╰────
      help: versions are texts: the number 6.10 would be 6.1
    "#);
}

/// What follows from another fault is not one of its own.
#[test]
fn an_unreadable_version_is_one_fault_only() {
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
       ·              ╰── not a good `version`
     8 │ linux_min = "4.18"
       ╰────
    "#);
}
