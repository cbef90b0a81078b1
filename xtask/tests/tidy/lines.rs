//! Lines and the share of comments, by area.

use std::collections::BTreeMap;

use crate::source::{SourceFile, is_test_file};

/// Percent of the lines that are not blank. An area below `MIN_LINES` is not limited: a header says more there.
const MAX_COMMENTS: usize = 12;
const MIN_LINES: usize = 400;

#[derive(Default)]
pub(crate) struct AreaLines {
    pub(crate) production: usize,
    pub(crate) test: usize,
    pub(crate) comments: usize,
}

impl AreaLines {
    pub(crate) fn comment_share(&self) -> usize {
        (100 * self.comments).checked_div(self.production + self.test).unwrap_or(0)
    }
}

/// `crates/kmod-builder/src/io/x.rs` is in `kmod-builder/io`, `crates/kmod-compat/src/x.rs` in `kmod-compat`.
fn area(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        ["crates", "kmod-builder", "src", room, _, ..] => format!("kmod-builder/{room}"),
        ["crates", name, "tests", ..] => format!("{name} tests"),
        ["crates", name, ..] => name.to_owned(),
        ["xtask", "src", "lab", ..] => "xtask lab".to_owned(),
        [first, ..] => first.to_owned(),
        [] => String::new(),
    }
}

/// Lines that are not blank.
pub(crate) fn areas(sources: &[SourceFile]) -> BTreeMap<String, AreaLines> {
    let mut areas: BTreeMap<String, AreaLines> = BTreeMap::new();
    for source in sources {
        let counted = areas.entry(area(&source.name)).or_default();
        let production: Vec<&str> = source.production.lines().collect();
        let all_test = is_test_file(&source.name) || production.iter().all(|line| line.trim().is_empty());
        for (line, text) in production.iter().zip(source.text.lines()) {
            if text.trim().is_empty() {
                continue;
            }
            let is_comment = text.trim_start().starts_with("//");
            counted.comments += usize::from(is_comment);
            let in_test = all_test || (line.trim().is_empty() && !is_comment);
            *(if in_test { &mut counted.test } else { &mut counted.production }) += 1;
        }
    }
    areas
}

pub(crate) fn too_many_comments(sources: &[SourceFile]) -> Vec<String> {
    let complaint = |(area, lines): (String, AreaLines)| {
        let share = lines.comment_share();
        let too_many = lines.production + lines.test >= MIN_LINES && share > MAX_COMMENTS;
        too_many.then(|| format!("{area}: {share} % comment lines, at most {MAX_COMMENTS} %"))
    };
    areas(sources).into_iter().filter_map(complaint).collect()
}

#[test]
fn an_area_with_too_many_comments_is_found() {
    let planted = |comments: usize| {
        let text = "// A comment.\n".repeat(comments) + &"fn code() {}\n".repeat(MIN_LINES);
        SourceFile::new("crates/planted/src/lib.rs", &text)
    };
    assert_eq!(too_many_comments(&[planted(20)]), Vec::<String>::new());
    assert_eq!(too_many_comments(&[planted(100)]), ["planted: 20 % comment lines, at most 12 %"]);
}
