//! The diagnostics of an invalid matrix, as they are shown.

use insta::assert_snapshot;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

use crate::{CompatMatrix, MatrixError};

pub(super) fn render(error: &MatrixError) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut report = String::new();
    handler.render_report(&mut report, error).unwrap();
    // Snapshots are indented: blanks at line ends would be invisible in them.
    report.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn parse(text: &str) -> MatrixError {
    CompatMatrix::parse("compat/zfs.toml", text).unwrap_err()
}

/// One line per diagnostic: the line and text of each label, then the message.
#[track_caller]
fn summary(text: &str) -> String {
    let error = parse(text);
    let line = |offset: usize| text[..offset].lines().count().max(1);
    let of = |diagnostic: &dyn Diagnostic| {
        let labels = diagnostic.labels().into_iter().flatten().map(|label| {
            let (offset, end) = (label.offset(), label.offset() + label.len());
            format!("{} {}", line(end), &text[offset..end])
        });
        format!("{}: {diagnostic}", labels.collect::<Vec<_>>().join(" and "))
    };
    error.related().into_iter().flatten().map(of).collect::<Vec<_>>().join("\n")
}

/// Of a valid policy and the rows under test. The rows begin in line 2.
#[track_caller]
fn rows_summary(rows: &str) -> String {
    summary(&format!("policy = {{ line = \"2.4\", unknown_release = \"declared\" }}\n{rows}"))
}

/// A row with one value replaced, or a line added where there is no such key.
fn release(key: &str, value: &str) -> String {
    row(
        "release",
        &[("version", "2.4.0"), ("linux_min", "4.18"), ("linux_max", "6.18"), ("source", LINK)],
        key,
        value,
    )
}

fn exclusion(key: &str, value: &str) -> String {
    row(
        "exclude",
        &[("zfs", "2.4.0"), ("kernel", "6.2.8"), ("reason", "of this"), ("source", LINK)],
        key,
        value,
    )
}

const LINK: &str = "https://example.org/";

fn row(table: &str, values: &[(&str, &str)], key: &str, value: &str) -> String {
    let mut values = values.to_vec();
    match values.iter_mut().find(|(known, _)| *known == key) {
        Some((_, old)) => *old = value,
        None => values.push((key, value)),
    }
    let lines = values.iter().map(|(key, value)| format!("{key} = \"{value}\"\n"));
    format!("[[{table}]]\n{}", lines.collect::<String>())
}

#[test]
fn invalid_toml_is_the_only_diagnostic() {
    assert_snapshot!(summary("[policy]\nline = \"2.4\nunknown_release = hold\n[[release]]\nversion = \"x\"\n"), @r#"
    2 : invalid TOML: invalid basic string, expected `"`
    3 hold: invalid TOML: string values must be quoted, expected literal string
    "#);
}

#[test]
fn truncated_text_is_reported_at_its_end() {
    assert_snapshot!(summary("[policy]\nline = "), @r#"
    2 =: invalid TOML: string values must be quoted, expected literal string
    "#);
    assert_snapshot!(summary("[policy]\nline = \"\"\"2.4é\n\n"), @r#"
    2 é: invalid TOML: invalid multi-line basic string, expected `"`
    "#);
}

/// One of each kind: value, key, missing key, range, order.
#[test]
fn the_faults_of_all_rows_are_reported_in_one_run() {
    let policy = "policy = { line = \"2.4\", unknown_release = \"guess\" }\n";
    let range = release("version", "2.4.1").replace("6.18", "4.9");
    let without_source = release("version", "2.4.3").replace("source = \"https://example.org/\"\n", "");
    let rows = [&range, &release("version", "2.4.0"), &release("linux_mx", "6.19"), &without_source];
    let text = rows.into_iter().fold(policy.to_owned(), |text, row| text + row);
    assert_snapshot!(summary(&text), @r#"
    1 "guess": unknown variant `guess`, expected one of `declared`, `hold`, `never`
    2 [[release]]: `linux_max` 4.9 is below `linux_min` 4.18
    7 [[release]] and 2 [[release]]: the row of OpenZFS 2.4.0 stands after the row of OpenZFS 2.4.1
    17 linux_mx: unknown field `linux_mx`, expected one of `version`, `linux_min`, `linux_max`, `sha256`, `source`
    18 [[release]]: missing field `source`
    "#);
    let error = parse(&text);
    let help = error.related().into_iter().flatten().map(|diagnostic| diagnostic.help().unwrap().to_string());
    assert_snapshot!(help.collect::<Vec<_>>().join("\n"), @"
    `[policy]` has `line` and `unknown_release`, both strings
    versions are compared as numbers: 6.10 is above 6.9
    sort them by version, the oldest first
    `[[release]]` has `version`, `linux_min`, `linux_max`, `source` and maybe `sha256`: all strings, because the number 6.10 is 6.1
    `[[release]]` has `version`, `linux_min`, `linux_max`, `source` and maybe `sha256`: all strings, because the number 6.10 is 6.1
    ");
}

#[test]
fn a_diagnostic_shows_every_place_and_what_to_do() {
    let rows = ["2.4.1", "2.4.0"].map(|version| release("version", version)).concat();
    let text = format!("policy = {{ line = \"2.4\", unknown_release = \"hold\" }}\n{rows}");
    assert_snapshot!(render(&parse(&text)), @r#"
      × `compat/zfs.toml` is not a valid compatibility matrix

    Error:
      × the row of OpenZFS 2.4.0 stands after the row of OpenZFS 2.4.1
       ╭─[compat/zfs.toml:2:1]
     1 │ policy = { line = "2.4", unknown_release = "hold" }
     2 │ [[release]]
       · ─────┬─────
       ·      ╰── before this
     3 │ version = "2.4.1"
       ╰────
       ╭─[compat/zfs.toml:7:1]
     6 │ source = "https://example.org/"
     7 │ [[release]]
       · ─────┬─────
       ·      ╰── move this up
     8 │ version = "2.4.0"
       ╰────
      help: sort them by version, the oldest first
    "#);
}

#[test]
fn each_value_of_a_row_is_checked() {
    let rows = [
        release("version", "2.4.0-rc1"),
        release("linux_max", "6.18.1"),
        release("version", "2.4.99"),
        release("linux_min", "v4.18"),
        release("sha256", "1F08"),
        release("source", "see the release notes"),
        release("linux_mx", "6.19"),
    ];
    assert_snapshot!(rows_summary(&rows.concat()), @r#"
    3 "2.4.0-rc1": `2.4.0-rc1` is a release candidate of OpenZFS, not a released version (expected e.g. `2.4.0`)
    10 "6.18.1": `6.18.1` is not a kernel series (expected major and minor, e.g. `6.17`)
    13 "2.4.99": `2.4.99` is a development tag of OpenZFS, not a released version (expected e.g. `2.4.0`)
    19 "v4.18": `v4.18` is not a kernel series (expected major and minor, e.g. `6.17`)
    27 "1F08": `1F08` is not a sha256 (expected 64 lower-case hexadecimal digits, as `sha256sum` prints them)
    32 "see the release notes": `see the release notes` is not a URL that begins with `https://`
    38 linux_mx: unknown field `linux_mx`, expected one of `version`, `linux_min`, `linux_max`, `sha256`, `source`
    "#);
}

#[test]
fn each_value_of_an_exclusion_is_checked() {
    let rows = [
        exclusion("zfs", "zfs-2.4.1"),
        exclusion("kernel", "6.2.8-200.fc37"),
        exclusion("reason", "  "),
        exclusion("source", "http://example.org/"),
        exclusion("because", "of that"),
        exclusion("severity", "dire"),
        "[[exclude]]\nreason = \"of that\"\nsource = \"https://example.org/\"\n".to_owned(),
    ];
    assert_snapshot!(rows_summary(&rows.concat()), @r#"
    3 "zfs-2.4.1": `zfs-2.4.1` is not a released OpenZFS version (expected e.g. `2.4.0`)
    9 "6.2.8-200.fc37": `6.2.8-200.fc37` is not a kernel version (expected e.g. `6.2.8`, or `6.2` for all of that series)
    15 "  ": the reason is empty
    21 "http://example.org/": `http://example.org/` is not a URL that begins with `https://`
    27 because: unknown field `because`, expected one of `zfs`, `kernel`, `reason`, `source`, `severity`
    33 "dire": unknown variant `dire`, expected one of `low`, `medium`, `high`, `critical`
    34 [[exclude]]: the exclusion has neither `zfs` nor `kernel`
    "#);
}

#[test]
fn each_value_of_the_policy_is_checked() {
    assert_snapshot!(summary("[policy]\nline = \"2.4.0\"\nunknown_release = \"hold\"\n"), @r#"
    2 "2.4.0": `2.4.0` is not a line of OpenZFS releases (expected e.g. `2.4`)
    "#);
    assert_snapshot!(summary("[policy]\nline = \"2.4\"\nunknown_release = \"\"\n"), @r#"
    3 "": unknown variant ``, expected one of `declared`, `hold`, `never`
    "#);
}

#[test]
fn a_missing_table_or_key_is_named() {
    let without_source = |row: String| row.replace("source = \"https://example.org/\"\n", "");
    let rows = without_source(release("version", "2.4.1")) + &without_source(exclusion("zfs", "2.4.1"));
    assert_snapshot!(summary(&rows), @r#"
    1 : missing table `policy`
    1 [[release]]: missing field `source`
    5 [[exclude]]: missing field `source`
    "#);
    assert_snapshot!(summary(""), @r#"
    1 : missing table `policy`
    "#);
}

#[test]
fn values_of_other_types_are_named() {
    assert_snapshot!(summary("policy = \"2.4\"\nexclude = [ \"2.1.9\" ]\npolic = 1\n\n[release]\nversion = \"2.4.1\"\n"), @r#"
    1 "2.4": invalid type: string "2.4", expected a table
    2 "2.1.9": invalid type: string "2.1.9", expected a table
    3 polic: unknown table `polic`, expected one of `policy`, `release`, `exclude`, `faulty_recipe`
    5 [release]: invalid type: table, expected an array of tables
    "#);
}

#[test]
fn a_number_is_not_a_version() {
    assert_snapshot!(rows_summary(&release("linux_max", "6.10").replace("\"6.10\"", "6.10")), @r#"
    5 6.10: invalid type: floating point `6.1`, expected a string
    "#);
}

/// Rules between rows are not checked against rows that could not be read.
#[test]
fn an_unreadable_version_is_one_diagnostic_only() {
    let rows = release("version", "2.4.x") + &exclusion("zfs", "2.4.1");
    assert_snapshot!(summary(&format!("[policy]\nline = \"2.4\"\nunknown_release = \"hold\"\n{rows}")), @r#"
    5 "2.4.x": `2.4.x` is not a released OpenZFS version (expected e.g. `2.4.0`)
    "#);
}

#[test]
fn rows_are_unique_and_sorted() {
    let rows = ["2.2.10", "2.2.9", "2.2.11", "2.2.10"].map(|version| release("version", version));
    assert_snapshot!(rows_summary(&rows.concat()), @r#"
    7 [[release]] and 2 [[release]]: the row of OpenZFS 2.2.9 stands after the row of OpenZFS 2.2.10
    17 [[release]] and 2 [[release]]: the row of OpenZFS 2.2.10 exists twice
    "#);
}

#[test]
fn exclusions_are_unique_and_sorted_and_name_a_row() {
    let rows = ["6.10", "6.9", "6.10"].map(|kernel| exclusion("kernel", kernel)).concat();
    let releases = release("version", "2.4.0") + &release("version", "2.4.3");
    assert_snapshot!(rows_summary(&(releases + &rows + &exclusion("zfs", "2.4.2"))), @r#"
    17 [[exclude]] and 12 [[exclude]]: the exclusion of kernel 6.9 for OpenZFS 2.4.0 stands after the exclusion of kernel 6.10 for OpenZFS 2.4.0
    22 [[exclude]] and 12 [[exclude]]: the exclusion of kernel 6.10 for OpenZFS 2.4.0 exists twice
    27 [[exclude]]: the exclusion names OpenZFS 2.4.2, which has no row
    "#);
}

#[test]
fn the_line_of_the_policy_has_a_row() {
    assert_snapshot!(summary("[policy]\nline = \"2.5\"\nunknown_release = \"hold\"\n"), @r#"
    1 [policy]: the line 2.5 has no row, so nothing would ever be built
    "#);
}
