//! Values that are invalid on their own.

use insta::assert_snapshot;

use super::{report, report_rows};

#[test]
fn each_value_of_a_row_is_checked() {
    assert_snapshot!(report_rows(r#"
[[release]]
version = "2.4.0-rc1"
linux_min = "4.18"
linux_max = "6.18"
source = "https://example.org/"

[[release]]
version = "2.4.0"
linux_min = "4.18"
linux_max = "6.18.1"
source = "https://example.org/"

[[release]]
version = "2.4.99"
linux_min = "4.18"
linux_max = "6.18"
source = "https://example.org/"

[[release]]
version = "2.4.0"
linux_min = "v4.18"
linux_max = "6.18"
source = "https://example.org/"

[[release]]
version = "2.4.0"
linux_min = "4.18"
linux_max = "6.18"
sha256 = "1F08"
source = "https://example.org/"

[[release]]
version = "2.4.0"
linux_min = "4.18"
linux_max = "6.18"
source = "see the release notes"
"#), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × `2.4.0-rc1` is a release candidate of OpenZFS, not a released version (expected e.g. `2.4.0`)
       ╭─[compat/zfs.toml:4:11]
     3 │ [[release]]
     4 │ version = "2.4.0-rc1"
       ·           ─────┬─────
       ·                ╰── here
     5 │ linux_min = "4.18"
       ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"

    Error:
      × `6.18.1` is not a kernel series (expected major and minor, e.g. `6.17`)
        ╭─[compat/zfs.toml:12:13]
     11 │ linux_min = "4.18"
     12 │ linux_max = "6.18.1"
        ·             ────┬───
        ·                 ╰── here
     13 │ source = "https://example.org/"
        ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"

    Error:
      × `2.4.99` is a development tag of OpenZFS, not a released version (expected e.g. `2.4.0`)
        ╭─[compat/zfs.toml:16:11]
     15 │ [[release]]
     16 │ version = "2.4.99"
        ·           ────┬───
        ·               ╰── here
     17 │ linux_min = "4.18"
        ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"

    Error:
      × `v4.18` is not a kernel series (expected major and minor, e.g. `6.17`)
        ╭─[compat/zfs.toml:23:13]
     22 │ version = "2.4.0"
     23 │ linux_min = "v4.18"
        ·             ───┬───
        ·                ╰── here
     24 │ linux_max = "6.18"
        ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"

    Error:
      × `1F08` is not a sha256 (expected 64 lower-case hexadecimal digits, as `sha256sum` prints them)
        ╭─[compat/zfs.toml:31:10]
     30 │ linux_max = "6.18"
     31 │ sha256 = "1F08"
        ·          ───┬──
        ·             ╰── here
     32 │ source = "https://example.org/"
        ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"

    Error:
      × `see the release notes` is not a URL that begins with `https://`
        ╭─[compat/zfs.toml:38:10]
     37 │ linux_max = "6.18"
     38 │ source = "see the release notes"
        ·          ───────────┬───────────
        ·                     ╰── here
        ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[release]]
            version = "2.4.4"
            linux_min = "4.18"
            linux_max = "7.2"
            source = "https://github.com/openzfs/zfs/blob/zfs-2.4.4/META"
    "#);
}

#[test]
fn each_value_of_an_exclusion_is_checked() {
    assert_snapshot!(report_rows(r#"
[[exclude]]
zfs = "zfs-2.4.1"
kernel = "6.2.8"
reason = "of this"
source = "https://example.org/"

[[exclude]]
zfs = "2.4.1"
kernel = "6.2.8-200.fc37"
reason = "of this"
source = "https://example.org/"

[[exclude]]
zfs = "2.4.1"
kernel = "6.2.8"
reason = "  "
source = "https://example.org/"

[[exclude]]
zfs = "2.4.1"
kernel = "6.2.8"
reason = "of this"
"#), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × `zfs-2.4.1` is not a released OpenZFS version (expected e.g. `2.4.0`)
       ╭─[compat/zfs.toml:4:7]
     3 │ [[exclude]]
     4 │ zfs = "zfs-2.4.1"
       ·       ─────┬─────
       ·            ╰── here
     5 │ kernel = "6.2.8"
       ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[exclude]]
            zfs = "2.1.9"
            kernel = "6.2.8"
            reason = "does not compile"
            source = "https://github.com/openzfs/zfs/issues/14658"

    Error:
      × `6.2.8-200.fc37` is not a kernel version (expected e.g. `6.2.8`, or `6.2` for all of that
      │ series)
        ╭─[compat/zfs.toml:11:10]
     10 │ zfs = "2.4.1"
     11 │ kernel = "6.2.8-200.fc37"
        ·          ────────┬───────
        ·                  ╰── here
     12 │ reason = "of this"
        ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[exclude]]
            zfs = "2.1.9"
            kernel = "6.2.8"
            reason = "does not compile"
            source = "https://github.com/openzfs/zfs/issues/14658"

    Error:
      × the reason is empty
        ╭─[compat/zfs.toml:18:10]
     17 │ kernel = "6.2.8"
     18 │ reason = "  "
        ·          ──┬─
        ·            ╰── here
     19 │ source = "https://example.org/"
        ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[exclude]]
            zfs = "2.1.9"
            kernel = "6.2.8"
            reason = "does not compile"
            source = "https://github.com/openzfs/zfs/issues/14658"

    Error:
      × missing field `source`
        ╭─[compat/zfs.toml:21:1]
     20 │
     21 │ [[exclude]]
        · ─────┬─────
        ·      ╰── here
     22 │ zfs = "2.4.1"
        ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [[exclude]]
            zfs = "2.1.9"
            kernel = "6.2.8"
            reason = "does not compile"
            source = "https://github.com/openzfs/zfs/issues/14658"
    "#);
}

#[test]
fn each_value_of_the_policy_is_checked() {
    assert_snapshot!(report("[policy]\nline = \"2.4.0\"\nunknown_release = \"hold\"\n"), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × `2.4.0` is not a line of OpenZFS releases (expected e.g. `2.4`)
       ╭─[compat/zfs.toml:2:8]
     1 │ [policy]
     2 │ line = "2.4.0"
       ·        ───┬───
       ·           ╰── here
     3 │ unknown_release = "hold"
       ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [policy]
            line = "2.4"
            unknown_release = "hold"
    "#);
    assert_snapshot!(report("[policy]\nline = \"2.4\"\nunknown_release = \"\"\n"), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × `` is not a policy for releases without a row (expected `hold` or `use-meta`)
       ╭─[compat/zfs.toml:3:19]
     2 │ line = "2.4"
     3 │ unknown_release = ""
       ·                   ─┬
       ·                    ╰── here
       ╰────
      help: versions are strings, because the number 6.10 is 6.1; a valid table is

            [policy]
            line = "2.4"
            unknown_release = "hold"
    "#);
}
