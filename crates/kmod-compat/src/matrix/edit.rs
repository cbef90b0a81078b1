//! Adds rows to the text of a matrix. Everything else stays as it is, byte for byte.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::{CompatMatrix, MatrixError, MatrixRow};

impl CompatMatrix {
    /// The text with a row for the release, at its place by version. `text` is a valid matrix without that row.
    pub fn add_row(name: &str, text: &str, row: &MatrixRow) -> Result<String, AddRowError> {
        let changed = insert_row(text, row)?;
        let read = Self::parse(name, &changed)?;
        if read.release(row.version()) != Some(row) {
            return Err(AddRowError::Inline);
        }
        Ok(changed)
    }
}

/// Adds the row to the tables `[[release]]` of any document. The result must be read again.
pub(super) fn insert_row(text: &str, row: &MatrixRow) -> Result<String, AddRowError> {
    let mut document: DocumentMut = text.parse()?;
    let releases = document.entry("release").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let releases = releases.as_array_of_tables_mut().ok_or(AddRowError::Inline)?;
    let older = |table: &Table| {
        let version = table.get("version").and_then(Item::as_str);
        version.and_then(|version| version.parse().ok()).is_some_and(|version| row.version() > version)
    };
    let place = releases.iter().take_while(|table| older(table)).count();
    releases.insert(place, table(row));
    if place == 0 {
        put_before_the_first(releases);
    }
    Ok(document.to_string())
}

fn table(row: &MatrixRow) -> Table {
    let mut table = Table::new();
    table.insert("version", value(row.version().to_string()));
    table.insert("linux_min", value(row.linux_min().to_string()));
    table.insert("linux_max", value(row.linux_max().to_string()));
    if let Some(sha256) = row.sha256() {
        table.insert("sha256", value(sha256.as_str()));
    }
    table.insert("source", value(row.source()));
    // An empty line before the row.
    table.decor_mut().set_prefix("\n");
    table
}

/// A table without a position is written after the table before it; the first one has no such table.
fn put_before_the_first(releases: &mut ArrayOfTables) {
    if let Some(position) = releases.get(1).and_then(Table::position)
        && let Some(first) = releases.get_mut(0)
    {
        first.set_position(Some(position));
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AddRowError {
    #[error("invalid TOML: {0}")]
    Syntax(#[from] toml_edit::TomlError),
    #[error("the rows cannot be edited")]
    #[diagnostic(help("write each row as a table `[[release]]`"))]
    Inline,
    #[error(transparent)]
    #[diagnostic(transparent)]
    Matrix(#[from] MatrixError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeclaredRelease;

    const TEXT: &str = r#"# The matrix.

[policy]   # followed
line = "2.4"
unknown_release = "declared"

# Old.
[[release]]
version = "2.2.6"
linux_min = "3.10"
linux_max = "6.10"
source = "https://example.org/2.2.6"

[[release]]
version   = "2.4.3" # aligned
linux_min = "4.18"
linux_max = "7.1"
source    = "https://example.org/2.4.3"

# Known not to work.
[[exclude]]
zfs = "2.4.3"
kernel = "6.19"
reason = "pools are damaged"
source = "https://example.org/issues/2"
"#;

    fn row(version: &str) -> MatrixRow {
        DeclaredRelease {
            version: version.parse().unwrap(),
            linux_min: "4.18".parse().unwrap(),
            linux_max: "7.2".parse().unwrap(),
            sha256: "a".repeat(64).parse().unwrap(),
            signer: "4F".repeat(20).parse().unwrap(),
        }
        .row()
    }

    fn text_of(version: &str) -> String {
        format!(
            "\n[[release]]\nversion = \"{version}\"\nlinux_min = \"4.18\"\nlinux_max = \"7.2\"\nsha256 = \"{}\"\n\
             source = \"https://github.com/openzfs/zfs/blob/zfs-{version}/META\"\n",
            "a".repeat(64)
        )
    }

    #[test]
    fn a_row_is_added_at_its_place_and_the_rest_stays_byte_for_byte() {
        for (version, before) in [
            ("2.4.10", "\n# Known not to work."),
            ("2.3.9", "\n[[release]]\nversion   ="),
            ("2.1.9", "\n# Old."),
        ] {
            let (head, tail) = TEXT.split_at(TEXT.find(before).unwrap());
            let changed = CompatMatrix::add_row("small.toml", TEXT, &row(version)).unwrap();
            assert_eq!(changed, [head, &text_of(version), tail].concat(), "{version}");
        }
    }

    #[test]
    fn rows_can_be_added_one_after_the_other_in_any_order() {
        let versions = ["2.4.5", "2.4.4", "2.3.9", "2.2.7"];
        let add =
            |text: String, version: &&str| CompatMatrix::add_row("small.toml", &text, &row(version)).unwrap();
        let forwards = versions.iter().fold(TEXT.to_owned(), add);
        let backwards = versions.iter().rev().fold(TEXT.to_owned(), add);
        assert_eq!(forwards, backwards);
        assert_eq!(CompatMatrix::parse("small.toml", &forwards).unwrap().releases().count(), 6);
    }

    #[test]
    fn a_row_that_exists_and_a_faulty_text_are_refused() {
        assert!(CompatMatrix::add_row("small.toml", TEXT, &row("2.4.3")).is_err());
        assert!(CompatMatrix::add_row("small.toml", "[policy", &row("2.4.4")).is_err());
    }
}
