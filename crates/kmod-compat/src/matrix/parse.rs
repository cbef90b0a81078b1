//! Deserializes each row on its own, so that one run reports the invalid rows of the whole file, then checks the
//! [rules](super::rules) between the rows.

use serde::de::{Deserialize, Deserializer, Error};
use toml::Spanned;

use super::{CompatMatrix, MatrixError, rules};
use crate::toml_document::{TomlDiagnostic, parse_document, read_rows, read_value};

const POLICY: &str = "`[policy]` has `line` and `unknown_release`, both strings";
pub(super) const RELEASE: &str = "`[[release]]` has `version`, `linux_min`, `linux_max`, `source` and maybe `sha256`: all strings, \
                       because the number 6.10 is 6.1";
pub(super) const EXCLUDE: &str = "`[[exclude]]` has `zfs`, `kernel` or both, `reason`, `source`, and optionally `severity` (low, medium, high, critical)";

const FAULTY_RECIPE: &str = "`[[faulty_recipe]]` has `template`, `reason` and `source`, all strings";

pub(super) fn parse(name: &str, text: &str) -> Result<CompatMatrix, MatrixError> {
    let document = parse_document(text).map_err(|diagnostics| invalid(name, text, diagnostics))?;
    let (mut diagnostics, mut all_read) = (Vec::new(), true);
    let (mut policy, mut releases, mut exclusions) = (None, Vec::new(), Vec::new());
    let mut faulty_recipes = Vec::new();
    if !document.contains_key("policy") {
        diagnostics.push(TomlDiagnostic::new("missing table `policy`", 0..0, "before the first row", POLICY));
    }
    for (key, value) in document {
        let before = diagnostics.len();
        match key.get_ref().as_ref() {
            "policy" => policy = read_value(value, POLICY, &mut diagnostics),
            "release" => releases = read_rows(value, RELEASE, &mut diagnostics),
            "exclude" => exclusions = read_rows(value, EXCLUDE, &mut diagnostics),
            "faulty_recipe" => faulty_recipes = read_rows(value, FAULTY_RECIPE, &mut diagnostics),
            other => diagnostics.push(TomlDiagnostic::new(
                format!(
                    "unknown table `{other}`, expected one of `policy`, `release`, `exclude`, `faulty_recipe`"
                ),
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
            faulty_recipes: faulty_recipes.into_iter().map(Spanned::into_inner).collect(),
            disagreements: std::collections::BTreeMap::new(),
        }),
        _ => Err(invalid(name, text, diagnostics)),
    }
}

fn invalid(name: &str, text: &str, diagnostics: Vec<TomlDiagnostic>) -> MatrixError {
    MatrixError::new("compatibility matrix", name, text, diagnostics)
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
