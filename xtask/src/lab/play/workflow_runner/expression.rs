//! [Expressions](https://docs.github.com/actions/reference/evaluate-expressions-in-workflows-and-actions): literals,
//! paths, `!`, `==`, `!=`, `&&`, `||`, and a few functions. Everything else is refused.

use serde_json::{Value, json};

use crate::error::{Context as _, Result};

/// One object with the members `github`, `inputs`, `needs` and so on.
pub(super) type Contexts = Value;

/// Replaces each `${{ … }}` in a text. A text that is nothing but one expression keeps the type of its value.
pub(super) fn interpolate(text: &str, contexts: &Contexts) -> Result<Value> {
    if let Some(inner) = text.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"))
        && !inner.contains("${{")
    {
        return evaluate(inner, contexts);
    }
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (inner, after) = after.split_once("}}").context("an expression is not closed")?;
        result.push_str(before);
        result.push_str(&as_text(&evaluate(inner, contexts)?));
        rest = after;
    }
    result.push_str(rest);
    Ok(Value::String(result))
}

pub(super) fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// Evaluates the text between `${{` and `}}`, or after `if:`.
pub(super) fn evaluate(text: &str, contexts: &Contexts) -> Result<Value> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, contexts };
    let value = parser.either().context(format_args!("`{}`", text.trim()))?;
    match parser.tokens {
        [] => Ok(value),
        [token, ..] => Err(format!("`{}`: unexpected {token:?}", text.trim()).into()),
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Text(String),
    Word(String),
    Sign(&'static str),
}

const SIGNS: [&str; 9] = ["&&", "||", "==", "!=", "!", "(", ")", ",", "."];

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end;
        if let Some(after) = rest.strip_prefix('\'') {
            // `''`, an escaped quotation mark, is not supported.
            let length = after.find('\'').context(format_args!("{text}: a text is not closed"))?;
            all.push(Token::Text(after[..length].to_owned()));
            end = length + 2;
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            all.push(Token::Sign(sign));
            end = sign.len();
        } else if first.is_ascii_alphanumeric() || first == '_' {
            let word = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
            end = rest.find(|letter| !word(letter)).unwrap_or(rest.len());
            all.push(Token::Word(rest[..end].to_owned()));
        } else {
            return Err(format!("`{}`: `{first}` is not supported", text.trim()).into());
        }
        rest = rest[end..].trim_start();
    }
    Ok(all)
}

struct Parser<'a> {
    tokens: &'a [Token],
    contexts: &'a Contexts,
}

impl Parser<'_> {
    fn sign(&mut self, wanted: &str) -> bool {
        match self.tokens {
            [Token::Sign(sign), rest @ ..] if *sign == wanted => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    fn either(&mut self) -> Result<Value> {
        let mut value = self.both()?;
        while self.sign("||") {
            let other = self.both()?;
            if !is_true(&value) {
                value = other;
            }
        }
        Ok(value)
    }

    fn both(&mut self) -> Result<Value> {
        let mut value = self.comparison()?;
        while self.sign("&&") {
            let other = self.comparison()?;
            if is_true(&value) {
                value = other;
            }
        }
        Ok(value)
    }

    fn comparison(&mut self) -> Result<Value> {
        let value = self.negation()?;
        let equal = match (self.sign("=="), self.sign("!=")) {
            (true, _) => true,
            (_, true) => false,
            _ => return Ok(value),
        };
        let other = self.negation()?;
        // GitHub converts values of different types to numbers.
        match (&value, &other) {
            (Value::String(_), Value::String(_)) => Ok(json!((value == other) == equal)),
            // An unset value equals the empty text.
            (Value::Null, Value::String(text)) => Ok(json!(text.is_empty() == equal)),
            _ => Err("only the comparison of texts is supported".into()),
        }
    }

    fn negation(&mut self) -> Result<Value> {
        if self.sign("!") {
            let value = self.negation()?;
            return Ok(json!(!is_true(&value)));
        }
        if self.sign("(") {
            let value = self.either()?;
            return if self.sign(")") { Ok(value) } else { Err("a bracket is not closed".into()) };
        }
        match self.tokens {
            [Token::Text(text), rest @ ..] => {
                self.tokens = rest;
                Ok(json!(text))
            }
            [Token::Word(word), rest @ ..] => {
                self.tokens = rest;
                match word.as_str() {
                    "true" => Ok(json!(true)),
                    "false" => Ok(json!(false)),
                    _ if self.sign("(") => self.function(word),
                    _ => self.path(word),
                }
            }
            _ => Err("a value is expected".into()),
        }
    }

    /// Unset members are null. The first word must be a known context.
    fn path(&mut self, first: &str) -> Result<Value> {
        let mut value =
            self.contexts.get(first).context(format_args!("the context `{first}` is not supported"))?;
        while self.sign(".") {
            let [Token::Word(word), rest @ ..] = self.tokens else {
                return Err("a name is expected after a dot".into());
            };
            self.tokens = rest;
            value = value.get(word).unwrap_or(&Value::Null);
        }
        Ok(value.clone())
    }

    fn function(&mut self, name: &str) -> Result<Value> {
        let mut arguments = Vec::new();
        while !self.sign(")") {
            arguments.push(self.either()?);
            if !self.sign(",") && self.tokens.first() != Some(&Token::Sign(")")) {
                return Err("a comma is expected between arguments".into());
            }
        }
        match (name, arguments.as_slice()) {
            ("always", []) => Ok(json!(true)),
            ("cancelled", []) => Ok(json!(false)),
            ("failure", []) => Ok(self.contexts["job"]["needs_failed"].clone()),
            ("contains", [Value::Array(list), value]) => Ok(json!(list.contains(value))),
            // GitHub ignores the case of letters.
            ("contains", [text @ (Value::Null | Value::String(_)), Value::String(part)]) => {
                Ok(json!(as_text(text).to_lowercase().contains(&part.to_lowercase())))
            }
            ("toJSON", [value]) => Ok(json!(value.to_string())),
            ("fromJSON", [Value::String(text)]) => Ok(serde_json::from_str(text)?),
            ("format", [Value::String(form), values @ ..]) => {
                let mut text = form.clone();
                for (number, value) in values.iter().enumerate() {
                    text = text.replace(&format!("{{{number}}}"), &as_text(value));
                }
                Ok(json!(text))
            }
            _ => Err(format!("the function `{name}` is not supported").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> Contexts {
        json!({
            "github": {"event_name": "schedule", "repository": "owner/zfs-kmods"},
            "inputs": {"force": true, "until": ""},
            "vars": {},
            "needs": {"plan": {"outputs": {"build": "true"}}},
            "job": {"needs_failed": false},
        })
    }

    #[test]
    fn values_are_the_same_as_on_github() {
        for (text, value) in [
            ("${{ github.repository }}", json!("owner/zfs-kmods")),
            (
                "${{ vars.IMAGE || format('docker://ghcr.io/{0}', github.repository) }}",
                json!("docker://ghcr.io/owner/zfs-kmods"),
            ),
            ("${{ inputs.force || false }}", json!(true)),
            ("${{ inputs.until || 'promote' }}", json!("promote")),
            ("${{ inputs.nothing || false }}", json!(false)),
            ("${{ !cancelled() && needs.plan.outputs.build == 'true' }}", json!(true)),
            ("${{ github.event_name != 'push' }}", json!(true)),
            ("record-${{ github.event_name }}-x", json!("record-schedule-x")),
            ("${{ fromJSON('[1]') }}", json!([1])),
            ("${{ contains(fromJSON('[\"a\", \"b\"]'), 'b') }}", json!(true)),
            ("${{ contains(fromJSON('[\"a\"]'), 'b') }}", json!(false)),
            ("${{ contains(github.repository, 'ZFS') }}", json!(true)),
            ("${{ contains(vars.ARCHES, 'aarch64') }}", json!(false)),
            ("${{ format('{0}@{1}', 'a', github.event_name) }}", json!("a@schedule")),
            ("${{ !cancelled() && !failure() }}", json!(true)),
            ("plain", json!("plain")),
        ] {
            assert_eq!(interpolate(text, &contexts()).expect(text), value, "{text}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_support_and_names_it() {
        for (text, named) in [
            ("matrix.x", "context `matrix`"),
            ("hashFiles('x')", "function `hashFiles`"),
            ("contains(inputs.force, 'x')", "function `contains`"),
            ("secrets.x", "context `secrets`"),
            ("inputs.force == 'x'", "only the comparison of texts"),
            ("github.x +", "`+`"),
            ("1 < 2", "`<`"),
            ("github.*", "`*`"),
            ("github['x']", "`[`"),
            ("'open", "not closed"),
            ("(true", "not closed"),
            ("github.", "after a dot"),
            ("true true", "unexpected"),
        ] {
            let error = evaluate(text, &contexts()).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
        assert!(interpolate("a ${{ true", &contexts()).is_err());
    }
}
