use toml::Spanned;
use toml::de::DeValue;

use super::{AddRowError, CompatMatrix, Exclusion, MatrixRow, edit, parse, rules};
use crate::toml_document::{TomlDiagnostic, elements, read_value, remove_unknown_members};

const RELEASE_MEMBERS: [&str; 5] = ["version", "linux_min", "linux_max", "sha256", "source"];
const EXCLUDE_MEMBERS: [&str; 5] = ["zfs", "kernel", "reason", "source", "severity"];

/// Rows in another document than the matrix, such as a publisher's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatrixRows {
    releases: Vec<MatrixRow>,
    exclusions: Vec<Exclusion>,
}

impl MatrixRows {
    /// Reads the members `release` and `exclude` of a document whose rows are added to the matrix.
    pub fn read(
        releases: Option<Spanned<DeValue<'_>>>,
        exclusions: Option<Spanned<DeValue<'_>>>,
        matrix: &CompatMatrix,
        diagnostics: &mut Vec<TomlDiagnostic>,
    ) -> Self {
        let before = diagnostics.len();
        let releases = rows(releases, parse::RELEASE, &RELEASE_MEMBERS, diagnostics);
        let exclusions = rows(exclusions, parse::EXCLUDE, &EXCLUDE_MEMBERS, diagnostics);
        let all_read = diagnostics.len() == before;
        rules::check_additional(matrix, &releases, &exclusions, all_read, diagnostics);
        Self {
            releases: releases.into_iter().map(Spanned::into_inner).collect(),
            exclusions: exclusions.into_iter().map(Spanned::into_inner).collect(),
        }
    }

    pub fn releases(&self) -> impl Iterator<Item = &MatrixRow> {
        self.releases.iter()
    }

    pub fn exclusions(&self) -> impl Iterator<Item = &Exclusion> {
        self.exclusions.iter()
    }

    /// The text with the row at its place by version, and everything else as it is. The result must be read again.
    pub fn add_row(text: &str, row: &MatrixRow) -> Result<String, AddRowError> {
        edit::insert_row(text, row)
    }
}

fn rows<T: serde::de::DeserializeOwned>(
    value: Option<Spanned<DeValue<'_>>>,
    help: &str,
    members: &[&str],
    diagnostics: &mut Vec<TomlDiagnostic>,
) -> Vec<Spanned<T>> {
    let Some(value) = value else { return Vec::new() };
    let rows = elements(value, "an array of tables", help, diagnostics);
    let read = |mut row: Spanned<DeValue<'_>>| {
        if let DeValue::Table(table) = row.get_mut() {
            remove_unknown_members(table, members, diagnostics);
        }
        read_value(row, help, diagnostics)
    };
    rows.into_iter().filter_map(read).collect()
}
