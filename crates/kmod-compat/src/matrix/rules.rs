//! What must hold between the values of a matrix. Rows that could not be read are not in it.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use super::{Exclusion, MatrixPolicy, MatrixRow, UnlistedReleasePolicy};
use crate::toml_document::TomlDiagnostic;
use crate::{CompatMatrix, ZfsVersion};

/// `all_read`: no row is missing from the slices because it was invalid.
pub(super) fn check(
    policy: Option<&Spanned<MatrixPolicy>>,
    releases: &[Spanned<MatrixRow>],
    exclusions: &[Spanned<Exclusion>],
    all_read: bool,
    diagnostics: &mut Vec<TomlDiagnostic>,
) {
    check_rows(releases, exclusions, diagnostics);
    // The row that seems to be missing may be one that could not be read.
    if all_read {
        let versions: Vec<ZfsVersion> = releases.iter().map(|row| row.get_ref().version()).collect();
        let unknown_release = policy.map(|policy| policy.get_ref().unknown_release);
        diagnostics.extend(
            exclusions.iter().filter_map(|row| exclusion_without_row(unknown_release, row, &versions)),
        );
        diagnostics.extend(policy.and_then(|policy| line_without_row(policy, releases)));
    }
}

/// Rows that are added to those of a matrix.
pub(super) fn check_additional(
    matrix: &CompatMatrix,
    releases: &[Spanned<MatrixRow>],
    exclusions: &[Spanned<Exclusion>],
    all_read: bool,
    diagnostics: &mut Vec<TomlDiagnostic>,
) {
    check_rows(releases, exclusions, diagnostics);
    if all_read {
        let own = releases.iter().map(|row| row.get_ref().version());
        let versions: Vec<ZfsVersion> = own.chain(matrix.releases().map(MatrixRow::version)).collect();
        let unknown_release = Some(matrix.policy().unknown_release);
        diagnostics.extend(
            exclusions.iter().filter_map(|row| exclusion_without_row(unknown_release, row, &versions)),
        );
    }
}

fn check_rows(
    releases: &[Spanned<MatrixRow>],
    exclusions: &[Spanned<Exclusion>],
    diagnostics: &mut Vec<TomlDiagnostic>,
) {
    let keys = releases.iter().map(|row| {
        let version = row.get_ref().version();
        (version, format!("the row of OpenZFS {version}"), row.span())
    });
    unique_and_sorted(keys, "by version, the oldest first", diagnostics);
    let keys = exclusions.iter().map(|row| {
        let exclusion = row.get_ref();
        ((exclusion.zfs, &exclusion.kernel), format!("the exclusion of {exclusion}"), row.span())
    });
    unique_and_sorted(keys, "by `zfs`, then by `kernel`", diagnostics);
    diagnostics.extend(releases.iter().filter_map(empty_range));
}

fn unique_and_sorted<K: Ord>(
    rows: impl Iterator<Item = (K, String, Range<usize>)>,
    order: &str,
    diagnostics: &mut Vec<TomlDiagnostic>,
) {
    let mut seen: BTreeMap<K, (String, Range<usize>)> = BTreeMap::new();
    for (key, name, span) in rows {
        if let Some((_, first)) = seen.get(&key) {
            let message = format!("{name} exists twice");
            let twice = TomlDiagnostic::new(message, span, "second", "keep one of them");
            diagnostics.push(twice.and_label(first.clone(), "first"));
            continue;
        }
        // Compared with the greatest so far, so that one misplaced row is one diagnostic.
        if let Some((greatest, (greatest_name, place))) = seen.last_key_value()
            && *greatest > key
        {
            let (message, help) =
                (format!("{name} stands after {greatest_name}"), format!("sort them {order}"));
            let misplaced = TomlDiagnostic::new(message, span.clone(), "move this up", help);
            diagnostics.push(misplaced.and_label(place.clone(), "before this"));
        }
        seen.insert(key, (name, span));
    }
}

fn empty_range(row: &Spanned<MatrixRow>) -> Option<TomlDiagnostic> {
    let (min, max) = (row.get_ref().linux_min(), row.get_ref().linux_max());
    (min > max).then(|| {
        let message = format!("`linux_max` {max} is below `linux_min` {min}");
        TomlDiagnostic::new(
            message,
            row.span(),
            "in this row",
            "versions are compared as numbers: 6.10 is above 6.9",
        )
    })
}

/// A newer release than all rows of its line may be in use as a declared one.
fn exclusion_without_row(
    unknown_release: Option<UnlistedReleasePolicy>,
    exclusion: &Spanned<Exclusion>,
    versions: &[ZfsVersion],
) -> Option<TomlDiagnostic> {
    let zfs = exclusion.get_ref().zfs?;
    let newest = versions.iter().filter(|version| version.line() == zfs.line()).max();
    let is_declared =
        unknown_release == Some(UnlistedReleasePolicy::Declared) && newest.is_none_or(|newest| zfs > *newest);
    (!is_declared && !versions.contains(&zfs)).then(|| {
        let message = format!("the exclusion names OpenZFS {zfs}, which has no row");
        let help = "an exclusion narrows the range of a row: add the row, or correct the version";
        TomlDiagnostic::new(message, exclusion.span(), "no `[[release]]` has this `version`", help)
    })
}

fn line_without_row(
    policy: &Spanned<MatrixPolicy>,
    releases: &[Spanned<MatrixRow>],
) -> Option<TomlDiagnostic> {
    let MatrixPolicy { line, unknown_release } = *policy.get_ref();
    let has_row = releases.iter().any(|row| row.get_ref().version().line() == line);
    (unknown_release != UnlistedReleasePolicy::Declared && !has_row).then(|| {
        let message = format!("the line {line} has no row, so nothing would ever be built");
        let help = "add a row for a release of the line, or follow another line";
        TomlDiagnostic::new(message, policy.span(), "no `[[release]]` is of this line", help)
    })
}
