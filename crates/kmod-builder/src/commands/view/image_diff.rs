use std::fmt::Write as _;

use serde_json::Value;

use crate::model::image_diff::{DiffResult, ImageDiff, MemberDiff, RpmDiff};
use crate::output;

/// Files per package shown in a table; JSON has all of them.
const SHOWN: usize = 20;
/// Characters after which a table cuts a document member's value.
const LONGEST: usize = 80;

pub fn table(comparison: &ImageDiff) -> String {
    let layers = comparison.layers.iter().map(|layer| {
        [layer.part.clone().unwrap_or_else(|| "unknown".to_owned()), layer.result.as_str().to_owned()]
    });
    let packages =
        comparison.packages.iter().map(|package| [package.path.clone(), package.result.as_str().to_owned()]);
    let mut text = output::columns(["LAYER", "RESULT"], layers);
    text += "\n";
    text += &output::columns(["RPM", "RESULT"], packages);
    for package in &comparison.packages {
        if let Some(difference) = &package.difference {
            let _ = write!(text, "\n{}:\n{}", package.path, lines(difference));
        }
    }
    if !comparison.documents.is_empty() {
        text += "\n";
    }
    for difference in comparison.documents.iter().filter(|difference| !is_repeated(difference, comparison)) {
        let (first, second) = (value(difference.first.as_ref()), value(difference.second.as_ref()));
        let line = if difference.member.is_empty() {
            format!("the {} has other bytes with the same content\n", difference.document)
        } else {
            format!("{} {}: {first}, then {second}\n", difference.document, difference.member)
        };
        text += &line;
    }
    text
}

/// True for a label that is also a manifest annotation, as all of ours are.
fn is_repeated(difference: &MemberDiff, comparison: &ImageDiff) -> bool {
    let Some(label) = difference.member.strip_prefix("/config/Labels/") else { return false };
    let annotation = format!("/annotations/{label}");
    comparison.documents.iter().any(|other| {
        other.member == annotation && (&other.first, &other.second) == (&difference.first, &difference.second)
    })
}

fn lines(difference: &RpmDiff) -> String {
    let files = difference.files.iter().map(|file| {
        let what = match file.result {
            DiffResult::Different => file.aspects.join(", "),
            verdict => verdict.as_str().to_owned(),
        };
        format!("  file  {}: {what}\n", file.path)
    });
    let more = difference.files.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("  and {more} files more (--format json names all)\n"));
    let tags = difference.tags.iter().map(|tag| format!("  tag   {}: {}\n", tag.tag, tag.what));
    if difference.is_empty() {
        return "  files and tags are the same; only the bytes of the RPM differ\n".to_owned();
    }
    files.take(SHOWN).chain(more).chain(tags).collect()
}

fn value(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;
    use crate::model::image_diff::{FileDiff, PackageDiff};

    #[test]
    fn shortens_long_tables() {
        let file = |number: usize| FileDiff {
            path: format!("/usr/src/{number}"),
            result: DiffResult::OnlyInFirst,
            aspects: Vec::new(),
        };
        let files = (0..30).map(file).collect();
        let difference = RpmDiff { files, tags: Vec::new() };
        let label = |document, member: &str| MemberDiff {
            document,
            member: format!("{member}/title"),
            first: Some("x".repeat(200).into()),
            second: None,
        };
        let comparison = ImageDiff {
            first: Digest::of(b"1"),
            second: Digest::of(b"2"),
            identical: false,
            documents: vec![label("manifest", "/annotations"), label("configuration", "/config/Labels")],
            layers: Vec::new(),
            packages: vec![PackageDiff {
                path: "zfs.rpm".to_owned(),
                result: DiffResult::Different,
                difference: Some(difference),
            }],
        };
        let table = table(&comparison);
        assert_eq!(table.matches("  file  ").count(), SHOWN, "{table}");
        assert!(table.contains("and 10 files more"), "{table}");
        assert_eq!(table.matches("title: ").count(), 1, "a label is shown once: {table}");
        assert!(table.contains("x…, then nothing"), "{table}");
        assert!(table.lines().all(|line| line.chars().count() < 150), "{table}");
    }
}
