//! Reads TOML documents that people write. One run reports every fault of a document, each with its place.

use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, NamedSource};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// The text is not a valid document of this kind. Lists the faults in the order of the text.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`{}` is not a valid {kind}", .text.name())]
pub struct TomlDocumentError {
    kind: &'static str,
    #[source_code]
    text: NamedSource<String>,
    #[related]
    diagnostics: Vec<TomlDiagnostic>,
}

impl TomlDocumentError {
    /// `name` is what the error calls the text, usually its path.
    pub fn new(kind: &'static str, name: &str, text: &str, mut diagnostics: Vec<TomlDiagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| diagnostic.labels.first().map(LabeledSpan::offset));
        Self { kind, text: NamedSource::new(name, text.to_owned()), diagnostics }
    }
}

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct TomlDiagnostic {
    message: String,
    #[label(collection)]
    labels: Vec<LabeledSpan>,
    #[help]
    help: String,
}

impl TomlDiagnostic {
    pub fn new(message: impl Into<String>, span: Range<usize>, label: &str, help: impl Into<String>) -> Self {
        Self { message: message.into(), labels: Vec::new(), help: help.into() }.and_label(span, label)
    }

    #[must_use]
    pub fn and_label(mut self, span: Range<usize>, label: &str) -> Self {
        self.labels.push(LabeledSpan::new_with_span(Some(label.to_owned()), span));
        self
    }
}

/// The error lists the syntax errors.
pub fn parse_document(text: &str) -> Result<DeTable<'_>, Vec<TomlDiagnostic>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(document.into_inner());
    }
    let help = "fix the syntax first: nothing else was checked";
    let syntax = |error: &toml::de::Error| {
        TomlDiagnostic::new(
            format!("invalid TOML: {}", error.message()),
            visible_span(error, text),
            "here",
            help,
        )
    };
    Err(errors.iter().map(syntax).collect())
}

/// The span of a syntax error; the last character for one at the end of the text, where nothing can be shown.
fn visible_span(error: &toml::de::Error, text: &str) -> Range<usize> {
    let end = text.trim_end().len();
    let last = text.floor_char_boundary(end.saturating_sub(1));
    error.span().filter(|span| span.start < text.len()).unwrap_or(last..end)
}

/// `help` says what the value consists of. An invalid value is `None` and a diagnostic.
pub fn read_value<T: DeserializeOwned>(
    value: Spanned<DeValue<'_>>,
    help: &str,
    diagnostics: &mut Vec<TomlDiagnostic>,
) -> Option<Spanned<T>> {
    let span = value.span();
    let invalid = |error: toml::de::Error| {
        let place = error.span().unwrap_or_else(|| span.clone());
        diagnostics.push(TomlDiagnostic::new(error.message(), place, "here", help));
    };
    T::deserialize(ValueDeserializer::from(value)).map_err(invalid).ok().map(|row| Spanned::new(span, row))
}

/// Reads each element on its own, so that an invalid one does not hide the others.
pub fn read_rows<T: DeserializeOwned>(
    value: Spanned<DeValue<'_>>,
    help: &str,
    diagnostics: &mut Vec<TomlDiagnostic>,
) -> Vec<Spanned<T>> {
    elements(value, "an array of tables", help, diagnostics)
        .into_iter()
        .filter_map(|value| read_value(value, help, diagnostics))
        .collect()
}

/// The elements of an array; `expected` says of what.
pub fn elements<'a>(
    value: Spanned<DeValue<'a>>,
    expected: &str,
    help: &str,
    diagnostics: &mut Vec<TomlDiagnostic>,
) -> Vec<Spanned<DeValue<'a>>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(values) => values.into_iter().collect(),
        other => {
            let message = format!("invalid type: {}, expected {expected}", other.type_str());
            diagnostics.push(TomlDiagnostic::new(message, span, "here", help));
            Vec::new()
        }
    }
}

/// Removes the unknown members of a table, and reports each with the known one that it resembles.
pub fn remove_unknown_members(
    table: &mut DeTable<'_>,
    known: &[&str],
    diagnostics: &mut Vec<TomlDiagnostic>,
) {
    for (key, value) in std::mem::take(table) {
        let name = key.get_ref().as_ref();
        if known.contains(&name) {
            table.insert(key, value);
        } else {
            let message = format!("unknown member `{name}`");
            diagnostics.push(TomlDiagnostic::new(message, key.span(), "here", suggestion(name, known)));
        }
    }
}

fn suggestion(name: &str, known: &[&str]) -> String {
    let similarity = |known: &str| strsim::jaro_winkler(name, known);
    let closest = known.iter().max_by(|one, other| similarity(one).total_cmp(&similarity(other)));
    if let Some(closest) = closest.filter(|known| similarity(known) > 0.8) {
        return format!("did you mean `{closest}`?");
    }
    let known: Vec<_> = known.iter().map(|known| format!("`{known}`")).collect();
    format!("remove it, or name one of {}", known.join(", "))
}
