//! Reads TOML tables by key and notes every fault on the way, where serde would stop at the first.

use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Fault;

/// A table of which each key is asked for once.
pub(super) struct Table<'a> {
    /// What sentences call it, such as `[[release]]` with its backticks.
    name: &'static str,
    /// A good one to show to somebody who forgot a key.
    example: &'static str,
    entries: &'a DeTable<'a>,
    span: Range<usize>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(super) const fn new(
        name: &'static str,
        example: &'static str,
        entries: &'a DeTable<'a>,
        span: Range<usize>,
    ) -> Self {
        Self { name, example, entries, span, known: Vec::new() }
    }

    /// Where the table stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value as it is, for the shapes that are no text.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.entries.get(key)
    }

    /// A text that has to be there.
    pub(super) fn required<T>(&mut self, key: &'static str, faults: &mut Vec<Fault>) -> Option<Spanned<T>>
    where
        T: FromStr<Err: Display>,
    {
        if !self.entries.contains_key(key) {
            let message = format!("{} has no `{key}`", self.name);
            let help = format!("a complete one is\n\n{}", self.example);
            faults.push(Fault::new(message, self.span(), "in this one").with_help(help));
        }
        self.optional(key, faults)
    }

    /// A text that may be missing.
    pub(super) fn optional<T>(&mut self, key: &'static str, faults: &mut Vec<Fault>) -> Option<Spanned<T>>
    where
        T: FromStr<Err: Display>,
    {
        let value = self.value(key)?;
        let DeValue::String(text) = value.get_ref() else {
            let message = format!("`{key}` is not a text but {}", kind(value.get_ref()));
            let help = "versions are texts: the number 6.10 would be 6.1";
            faults.push(Fault::new(message, value.span(), "put it in quotes").with_help(help));
            return None;
        };
        match text.parse() {
            Ok(parsed) => Some(Spanned::new(value.span(), parsed)),
            Err(error) => {
                faults.push(Fault::new(error.to_string(), value.span(), &format!("not a good `{key}`")));
                None
            }
        }
    }

    /// Notes each key that nobody asked for: it would be without effect, which is not what its writer thinks.
    pub(super) fn finish(self, faults: &mut Vec<Fault>) {
        for key in self.entries.keys().filter(|key| !self.known.contains(&key.get_ref().as_ref())) {
            let message = format!("`{}` is not a key of {}", key.get_ref(), self.name);
            let help = format!("the keys are: {}", self.known.join(", "));
            faults.push(Fault::new(message, key.span(), "would be without effect").with_help(help));
        }
    }
}

/// What a sentence calls a value of this type.
pub(super) const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
