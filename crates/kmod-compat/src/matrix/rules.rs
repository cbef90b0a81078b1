//! What must hold between the values of a matrix. Rows that could not be read are not in it.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use super::error::MatrixDiagnostic;
use super::{Exclusion, MatrixPolicy, MatrixRow, UnlistedReleasePolicy};

/// `all_read`: no row is missing from the slices because it was invalid.
pub(super) fn check(
    policy: Option<&Spanned<MatrixPolicy>>,
    releases: &[Spanned<MatrixRow>],
    exclusions: &[Spanned<Exclusion>],
    all_read: bool,
    diagnostics: &mut Vec<MatrixDiagnostic>,
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
    // The row that seems to be missing may be one that could not be read.
    if all_read {
        diagnostics.extend(exclusions.iter().filter_map(|row| exclusion_without_row(policy, row, releases)));
        diagnostics.extend(policy.and_then(|policy| line_without_row(policy, releases)));
    }
}

fn unique_and_sorted<K: Ord>(
    rows: impl Iterator<Item = (K, String, Range<usize>)>,
    order: &str,
    diagnostics: &mut Vec<MatrixDiagnostic>,
) {
    let mut seen: BTreeMap<K, (String, Range<usize>)> = BTreeMap::new();
    for (key, name, span) in rows {
        if let Some((_, first)) = seen.get(&key) {
            let message = format!("{name} exists twice");
            let twice = MatrixDiagnostic::new(message, span, "second", "keep one of them");
            diagnostics.push(twice.and_label(first.clone(), "first"));
            continue;
        }
        // Compared with the greatest so far, so that one misplaced row is one diagnostic.
        if let Some((greatest, (greatest_name, place))) = seen.last_key_value()
            && *greatest > key
        {
            let (message, help) =
                (format!("{name} stands after {greatest_name}"), format!("sort them {order}"));
            let misplaced = MatrixDiagnostic::new(message, span.clone(), "move this up", help);
            diagnostics.push(misplaced.and_label(place.clone(), "before this"));
        }
        seen.insert(key, (name, span));
    }
}

fn empty_range(row: &Spanned<MatrixRow>) -> Option<MatrixDiagnostic> {
    let (min, max) = (row.get_ref().linux_min(), row.get_ref().linux_max());
    (min > max).then(|| {
        let message = format!("`linux_max` {max} is below `linux_min` {min}");
        MatrixDiagnostic::new(
            message,
            row.span(),
            "in this row",
            "versions are compared as numbers: 6.10 is above 6.9",
        )
    })
}

/// A newer release than all rows of its line may be in use as a declared one.
fn exclusion_without_row(
    policy: Option<&Spanned<MatrixPolicy>>,
    exclusion: &Spanned<Exclusion>,
    releases: &[Spanned<MatrixRow>],
) -> Option<MatrixDiagnostic> {
    let zfs = exclusion.get_ref().zfs?;
    let versions = || releases.iter().map(|row| row.get_ref().version());
    let uses_declared =
        policy.is_some_and(|policy| policy.get_ref().unknown_release == UnlistedReleasePolicy::Declared);
    let newest = versions().filter(|version| version.line() == zfs.line()).max();
    let is_declared = uses_declared && newest.is_none_or(|newest| zfs > newest);
    (!is_declared && !versions().any(|version| version == zfs)).then(|| {
        let message = format!("the exclusion names OpenZFS {zfs}, which has no row");
        let help = "an exclusion narrows the range of a row: add the row, or correct the version";
        MatrixDiagnostic::new(message, exclusion.span(), "no `[[release]]` has this `version`", help)
    })
}

fn line_without_row(
    policy: &Spanned<MatrixPolicy>,
    releases: &[Spanned<MatrixRow>],
) -> Option<MatrixDiagnostic> {
    let MatrixPolicy { line, unknown_release } = *policy.get_ref();
    let has_row = releases.iter().any(|row| row.get_ref().version().line() == line);
    (unknown_release != UnlistedReleasePolicy::Declared && !has_row).then(|| {
        let message = format!("the line {line} has no row, so nothing would ever be built");
        let help = "add a row for a release of the line, or follow another line";
        MatrixDiagnostic::new(message, policy.span(), "no `[[release]]` is of this line", help)
    })
}
