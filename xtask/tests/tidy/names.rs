//! A public type name stands once in the workspace.

use std::collections::BTreeMap;

use crate::source::SourceFile;

/// Each name that stands more than once, with its places.
pub(crate) fn duplicates(sources: &[SourceFile]) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources {
        for (line, number) in source.production.lines().zip(1..) {
            if let Some(name) = public_type(line) {
                places.entry(name).or_default().push(format!("{}:{number}", source.name));
            }
        }
    }
    let repeated = places.into_iter().filter(|(_, at)| at.len() > 1);
    repeated.map(|(name, at)| format!("{name}: {}", at.join(", "))).collect()
}

fn public_type(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("pub")?;
    let rest = match rest.strip_prefix('(') {
        Some(restricted) => restricted.split_once(')')?.1,
        None => rest,
    };
    let rest = rest.trim_start();
    let rest = ["struct ", "enum ", "trait ", "union "].iter().find_map(|word| rest.strip_prefix(word))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

#[test]
fn a_public_name_that_stands_twice_is_found() {
    let one = SourceFile::new("crates/a/src/one.rs", "pub struct Planted<T>(T);\nstruct Private;\n");
    let test = "#[cfg(test)]\nmod tests {\n    pub struct InTests;\n}\n";
    let two = format!("{test}pub(crate) enum Planted {{}}\nstruct Private;\npub struct InTests;\n");
    let two = SourceFile::new("crates/b/src/two.rs", &two);
    assert_eq!(duplicates(&[one, two]), ["Planted: crates/a/src/one.rs:1, crates/b/src/two.rs:5"]);
}
