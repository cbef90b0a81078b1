//! Reads foreign JSON; every error has the path of the field.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use serde_json::error::Category;

use crate::FormatError;

/// Checks only the syntax; [`Node`] reads the members.
pub(crate) fn parse(text: &str) -> Result<Value, FormatError> {
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Eof => FormatError::Truncated { line: error.line(), column: error.column() },
        _ => FormatError::Json { reason: error.to_string() },
    })
}

/// A value within a document, and its path.
pub(crate) struct Node<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    pub(crate) const fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Null counts as absent.
    pub(crate) fn optional(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Self { value, path: self.path_of(key) })
    }

    pub(crate) fn required(&self, key: &str) -> Result<Self, FormatError> {
        self.optional(key).ok_or_else(|| FormatError::Missing { field: self.path_of(key) })
    }

    pub(crate) fn items(&self) -> Result<impl Iterator<Item = Self>, FormatError> {
        let items = self.value.as_array().ok_or_else(|| self.invalid("expected a list"))?;
        let node = |(index, value)| Self { value, path: format!("{}[{index}]", self.path) };
        Ok(items.iter().enumerate().map(node))
    }

    pub(crate) fn text(&self) -> Result<&'a str, FormatError> {
        self.value.as_str().ok_or_else(|| self.invalid("expected text"))
    }

    pub(crate) fn boolean(&self) -> Result<bool, FormatError> {
        self.value.as_bool().ok_or_else(|| self.invalid("expected true or false"))
    }

    pub(crate) fn number(&self) -> Result<u64, FormatError> {
        self.value.as_u64().ok_or_else(|| self.invalid("expected a whole number"))
    }

    pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, FormatError> {
        self.text()?.parse().map_err(|error| self.invalid(error))
    }

    pub(crate) fn invalid(&self, reason: impl fmt::Display) -> FormatError {
        let field = if self.path.is_empty() { "(the whole document)" } else { &self.path };
        FormatError::Invalid { field: field.to_owned(), reason: reason.to_string() }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_name_the_path() {
        let value = parse(r#"{"a": [{"b": 1}, {"c": null}]}"#).unwrap();
        let second = Node::root(&value).required("a").unwrap().items().unwrap().nth(1).unwrap();
        assert_eq!(second.required("c").err(), Some(FormatError::Missing { field: "a[1].c".to_owned() }));
        let first = Node::root(&value).required("a").unwrap().items().unwrap().next().unwrap();
        let error = first.required("b").unwrap().text().unwrap_err();
        assert_eq!(error.to_string(), "the field `a[0].b` is invalid: expected text");
    }

    #[test]
    fn a_cut_off_document_is_told_from_a_wrong_one() {
        assert_eq!(parse("{\"a\":\n [1,"), Err(FormatError::Truncated { line: 2, column: 4 }));
        assert!(matches!(parse("{\"a\" 1}"), Err(FormatError::Json { .. })));
    }
}
