//! Reads the repository's Rust files, and tells code from comments, literals and test modules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask has a parent directory").to_owned()
}

pub(crate) struct SourceFile {
    /// Path from the root of the repository.
    pub(crate) name: String,
    pub(crate) text: String,
    /// The text with comments and the contents of literals blanked: same length, same lines.
    pub(crate) code: String,
    /// `code` without test modules; blank for a file that is one.
    pub(crate) production: String,
}

impl SourceFile {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let code = blank_comments_and_literals(text);
        let production =
            if is_test_file(name) { blanked(&code, 0..code.len()) } else { blank_test_items(&code) };
        Self { name: name.to_owned(), text: text.to_owned(), code, production }
    }
}

/// Files below `tests/`, and files that are test modules by the convention of their name.
pub(crate) fn is_test_file(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("/tests.rs")
}

/// Every Rust file of `crates` and `xtask`, sorted by name.
pub(crate) fn sources() -> Vec<SourceFile> {
    let mut files = Vec::new();
    for folder in ["crates", "xtask"] {
        collect(&root().join(folder), &mut files);
    }
    files.sort();
    let mut sources: Vec<SourceFile> = files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            SourceFile::new(&name, &fs::read_to_string(path).unwrap())
        })
        .collect();
    let modules: BTreeSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let is_module = |module: &String| {
            source.name == format!("{module}.rs") || source.name.starts_with(&format!("{module}/"))
        };
        if modules.iter().any(is_module) {
            source.production = blanked(&source.code, 0..source.code.len());
        }
    }
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The paths, without `.rs`, of modules that a file declares with `#[cfg(test)] mod NAME;`.
fn test_modules(source: &SourceFile) -> Vec<String> {
    let stem = source.name.trim_end_matches(".rs");
    let folder = ["/mod", "/lib", "/main"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(stem);
    let items = test_items(&source.code).into_iter().map(|item| &source.code[item]);
    items
        .filter_map(|item| item.trim_end().strip_suffix(';')?.rsplit_once("mod "))
        .map(|(_, name)| format!("{folder}/{}", name.trim()))
        .collect()
}

fn blanked(code: &str, range: std::ops::Range<usize>) -> String {
    let blank: String = code[range.clone()].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
    [&code[..range.start], &blank, &code[range.end..]].concat()
}

fn blank_test_items(code: &str) -> String {
    // Backwards, because blanking changes the positions behind it where characters are longer than a byte.
    test_items(code).into_iter().rev().fold(code.to_owned(), |code, item| blanked(&code, item))
}

/// Each item with `#[cfg(test)]`, from its attribute to its `;` or closing brace. `code` is without literals.
fn test_items(code: &str) -> Vec<std::ops::Range<usize>> {
    let mut items: Vec<std::ops::Range<usize>> = Vec::new();
    for (start, attribute) in code.match_indices("#[cfg(test)]") {
        if items.last().is_some_and(|item| item.contains(&start)) {
            continue;
        }
        let (mut depth, mut end) = (0_i32, code.len());
        for (at, character) in code[start + attribute.len()..].char_indices() {
            match character {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth -= 1,
                _ => {}
            }
            if depth == 0 && (character == '}' || character == ';') {
                end = start + attribute.len() + at + 1;
                break;
            }
        }
        items.push(start..end);
    }
    items
}

/// Keeps quotes and comment marks out of everything that follows: only code remains, at its place.
fn blank_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let before_is_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(hashes) = raw_string(rest).filter(|_| !before_is_word) {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = rest.find('"').unwrap() + 1;
            rest[open..].find(&end).map_or(rest.len(), |at| open + at + end.len())
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            character_literal(rest)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(rest[..length].chars().map(|c| if c == '\n' { c } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The number of `#` of a raw string that begins here, with or without `b` or `c`.
fn raw_string(text: &str) -> Option<usize> {
    let rest = text.strip_prefix(['b', 'c']).unwrap_or(text).strip_prefix('r')?;
    let body = rest.trim_start_matches('#');
    body.starts_with('"').then(|| rest.len() - body.len())
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            other if other == quote => return at + other.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// The whole literal, or only the `'` of a lifetime.
fn character_literal(text: &str) -> usize {
    let mut characters = text.chars().skip(1);
    match (characters.next(), characters.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 1,
    }
}

#[test]
fn only_comments_literals_and_test_items_are_blanked() {
    let text = r##"
fn before<'a>(x: &'a str) { call('"', "{ // \" }", r#"" }"#, b'\'', /* } /* } */ */ '{'); }
#[cfg(test)]
mod tests {
    fn inside() { assert("}"); if '}' == '}' {} }
}
#[cfg(test)]
use something::{inside, other};
fn after() {} // inside
#[cfg(test)]
mod declared;
fn last() {}
"##;
    let source = SourceFile::new("crates/a/src/b.rs", text);
    assert_eq!(source.production.lines().count(), text.lines().count());
    for kept in ["fn before", "fn after", "fn last", "&'a str", "call("] {
        assert!(source.production.replace(' ', "").contains(&kept.replace(['\'', ' '], "")), "{kept}");
    }
    for blanked in ["inside", "declared", "something", "//"] {
        assert!(!source.production.contains(blanked), "{blanked}: {}", source.production);
    }
    assert_eq!(test_modules(&source), ["crates/a/src/b/declared"]);
}
