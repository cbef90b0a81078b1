//! Deserializes each row on its own, so that one run reports the invalid rows of the whole file, then checks the
//! [rules](super::rules) between the rows.

use std::ops::Range;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::error::{MatrixDiagnostic, MatrixError};
use super::{CompatMatrix, rules};

const POLICY: &str = "`[policy]` has `line` and `unknown_release`, both strings";
const RELEASE: &str = "`[[release]]` has `version`, `linux_min`, `linux_max`, `source` and maybe `sha256`: all strings, \
                       because the number 6.10 is 6.1";
const EXCLUDE: &str = "`[[exclude]]` has `zfs`, `kernel` or both, `reason`, `source`, and optionally `severity` (low, medium, high, critical)";

pub(super) fn parse(name: &str, text: &str) -> Result<CompatMatrix, MatrixError> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let help = "fix the syntax first: nothing else was checked";
        let syntax = |error: &toml::de::Error| {
            MatrixDiagnostic::new(
                format!("invalid TOML: {}", error.message()),
                visible_span(error, text),
                "here",
                help,
            )
        };
        return Err(MatrixError::new(name, text, errors.iter().map(syntax).collect()));
    }
    let (mut diagnostics, mut all_read) = (Vec::new(), true);
    let (mut policy, mut releases, mut exclusions) = (None, Vec::new(), Vec::new());
    if !document.get_ref().contains_key("policy") {
        diagnostics.push(MatrixDiagnostic::new(
            "missing table `policy`",
            0..0,
            "before the first row",
            POLICY,
        ));
    }
    for (key, value) in document.into_inner() {
        let before = diagnostics.len();
        match key.get_ref().as_ref() {
            "policy" => policy = table(value, POLICY, &mut diagnostics),
            "release" => releases = rows(value, RELEASE, &mut diagnostics),
            "exclude" => exclusions = rows(value, EXCLUDE, &mut diagnostics),
            other => diagnostics.push(MatrixDiagnostic::new(
                format!("unknown table `{other}`, expected one of `policy`, `release`, `exclude`"),
                key.span(),
                "here",
                "remove it, or correct its name",
            )),
        }
        all_read &= diagnostics.len() == before;
    }
    rules::check(policy.as_ref(), &releases, &exclusions, all_read, &mut diagnostics);
    match policy {
        Some(policy) if diagnostics.is_empty() => Ok(CompatMatrix {
            policy: policy.into_inner(),
            releases: releases.into_iter().map(|row| (row.get_ref().version(), row.into_inner())).collect(),
            exclusions: exclusions.into_iter().map(Spanned::into_inner).collect(),
            disagreements: std::collections::BTreeMap::new(),
        }),
        _ => Err(MatrixError::new(name, text, diagnostics)),
    }
}

/// The span of a syntax error; the last character for one at the end of the text, where nothing can be shown.
fn visible_span(error: &toml::de::Error, text: &str) -> Range<usize> {
    let end = text.trim_end().len();
    let last = text.floor_char_boundary(end.saturating_sub(1));
    error.span().filter(|span| span.start < text.len()).unwrap_or(last..end)
}

fn table<T: DeserializeOwned>(
    value: Spanned<DeValue<'_>>,
    help: &str,
    diagnostics: &mut Vec<MatrixDiagnostic>,
) -> Option<Spanned<T>> {
    let span = value.span();
    let invalid = |error: toml::de::Error| {
        let place = error.span().unwrap_or_else(|| span.clone());
        diagnostics.push(MatrixDiagnostic::new(error.message(), place, "here", help));
    };
    T::deserialize(ValueDeserializer::from(value)).map_err(invalid).ok().map(|row| Spanned::new(span, row))
}

fn rows<T: DeserializeOwned>(
    value: Spanned<DeValue<'_>>,
    help: &str,
    diagnostics: &mut Vec<MatrixDiagnostic>,
) -> Vec<Spanned<T>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(values) => {
            values.into_iter().filter_map(|value| table(value, help, diagnostics)).collect()
        }
        other => {
            let message = format!("invalid type: {}, expected an array of tables", other.type_str());
            diagnostics.push(MatrixDiagnostic::new(message, span, "here", help));
            Vec::new()
        }
    }
}

/// A URL that a reader of the matrix can open.
pub(crate) fn link<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let rest = text.strip_prefix("https://").unwrap_or_default();
    let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
    if host.contains('.') && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text);
    }
    Err(D::Error::custom(format!("`{text}` is not a URL that begins with `https://`")))
}

/// The middle of the sentence "OpenZFS … is excluded for kernel …: REASON (SOURCE)".
pub(super) fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match String::deserialize(deserializer)?.trim() {
        "" => Err(D::Error::custom("the reason is empty")),
        reason => Ok(reason.to_owned()),
    }
}
