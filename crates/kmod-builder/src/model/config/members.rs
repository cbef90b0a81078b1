//! Reads members of the document. Each function reports what it cannot read.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use kmod_compat::toml_document::{TomlDiagnostic, elements, read_value, remove_unknown_members};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// A string that is parsed.
pub(super) fn parsed<T: FromStr<Err: Display>>(
    value: Value<'_>,
    help: &str,
    diagnostics: &mut Vec<TomlDiagnostic>,
) -> Option<Spanned<T>> {
    let text: Spanned<String> = read_value(value, help, diagnostics)?;
    match text.get_ref().parse() {
        Ok(value) => Some(Spanned::new(text.span(), value)),
        Err(error) => {
            diagnostics.push(TomlDiagnostic::new(error.to_string(), text.span(), "here", help));
            None
        }
    }
}

/// An array of strings, none of which stands twice. An empty array is invalid.
pub(super) fn list<T: FromStr<Err: Display> + Ord + Clone>(
    value: Value<'_>,
    help: &str,
    diagnostics: &mut Vec<TomlDiagnostic>,
) -> Vec<T> {
    let span = value.span();
    let before = diagnostics.len();
    let mut seen: BTreeMap<T, Range<usize>> = BTreeMap::new();
    let mut list = Vec::new();
    for element in elements(value, "an array of strings", help, diagnostics) {
        let Some(element) = parsed::<T>(element, help, diagnostics) else { continue };
        let place = element.span();
        if let Some(first) = seen.get(element.get_ref()) {
            let twice = TomlDiagnostic::new("the value stands twice", place, "second", "keep one of them");
            diagnostics.push(twice.and_label(first.clone(), "first"));
            continue;
        }
        seen.insert(element.get_ref().clone(), place);
        list.push(element.into_inner());
    }
    if list.is_empty() && diagnostics.len() == before {
        let help = format!("remove it, or name one: {help}");
        diagnostics.push(TomlDiagnostic::new("the array is empty", span, "here", help));
    }
    list
}

pub(super) fn files(value: Value<'_>, help: &str, diagnostics: &mut Vec<TomlDiagnostic>) -> Vec<PathBuf> {
    list::<FileName>(value, help, diagnostics).into_iter().map(|file| file.0).collect()
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FileName(PathBuf);

impl FromStr for FileName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Err("the name of the file is empty") } else { Ok(Self(text.into())) }
    }
}

/// A table without its unknown members, which are reported.
pub(super) fn table<'a>(
    value: Value<'a>,
    known: &[&str],
    help: &str,
    diagnostics: &mut Vec<TomlDiagnostic>,
) -> Option<DeTable<'a>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(mut table) => {
            remove_unknown_members(&mut table, known, diagnostics);
            Some(table)
        }
        other => {
            let message = format!("invalid type: {}, expected a table", other.type_str());
            diagnostics.push(TomlDiagnostic::new(message, span, "here", help));
            None
        }
    }
}

/// A table of limits, all of which are optional.
pub(super) fn limits<T: DeserializeOwned + Default>(
    value: Value<'_>,
    known: &[&str],
    help: &str,
    diagnostics: &mut Vec<TomlDiagnostic>,
) -> T {
    let span = value.span();
    let Some(table) = table(value, known, help, diagnostics) else { return T::default() };
    let value = Spanned::new(span, DeValue::Table(table));
    read_value(value, help, diagnostics).map(Spanned::into_inner).unwrap_or_default()
}
