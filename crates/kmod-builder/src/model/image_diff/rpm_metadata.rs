use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::DiffResult;
use crate::model::Digest;

const LONGEST: usize = 60;
/// Characters shown before the first difference of truncated values.
const CONTEXT: usize = 20;

/// Every header tag and payload file of an RPM. File content is from the payload, other properties of files are from
/// the header, which rpm uses at installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RpmMetadata {
    /// By the tag's name (`BUILDTIME`); several values for an array.
    pub header: BTreeMap<String, Vec<String>>,
    /// The signature header: digests and sizes of header and payload.
    pub signature: BTreeMap<String, Vec<String>>,
    /// By path; in a source package, by file name.
    pub files: BTreeMap<String, RpmFileEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpmFileEntry {
    /// Of the bytes or the link target; `None` if the payload has no bytes for it (ghosts, hard links).
    pub content: Option<Digest>,
    /// In bytes.
    pub size: u64,
    /// `st_mode` (inode(7)).
    pub mode: u16,
    /// Seconds since 1970.
    pub modified: u32,
    /// `root:root`
    pub owner: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileDiff {
    /// In the package.
    pub path: String,
    /// Never [`DiffResult::Same`].
    pub result: DiffResult,
    /// Of `content`, `size`, `mode`, `mtime` and `owner`, those that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aspects: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagDiff {
    /// Without `RPMTAG_`: `BUILDTIME`.
    pub tag: String,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RpmDiff {
    /// By path.
    pub files: Vec<FileDiff>,
    /// By name. Tags of the signature header (prefix `SIG_`) only if nothing else differs, because they repeat other
    /// differences.
    pub tags: Vec<TagDiff>,
}

impl RpmDiff {
    pub fn of(first: &RpmMetadata, second: &RpmMetadata) -> Self {
        let files = pairs(&first.files, &second.files)
            .filter_map(|(path, one, other)| {
                let result = DiffResult::of(one, other);
                let aspects = match (one, other) {
                    (Some(one), Some(other)) => aspects(one, other),
                    _ => Vec::new(),
                };
                (result != DiffResult::Same).then(|| FileDiff { path: path.clone(), result, aspects })
            })
            .collect::<Vec<_>>();
        let mut tags = tags("", &first.header, &second.header);
        if files.is_empty() && tags.is_empty() {
            tags = self::tags("SIG_", &first.signature, &second.signature);
        }
        Self { files, tags }
    }

    /// Whether neither files nor tags differ. The RPMs may still differ, for example in compression.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.tags.is_empty()
    }
}

fn pairs<'a, T>(
    first: &'a BTreeMap<String, T>,
    second: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a String, Option<&'a T>, Option<&'a T>)> {
    let names: BTreeSet<_> = first.keys().chain(second.keys()).collect();
    names.into_iter().map(|name| (name, first.get(name), second.get(name)))
}

fn aspects(first: &RpmFileEntry, second: &RpmFileEntry) -> Vec<&'static str> {
    let differs = [
        ("content", first.content != second.content),
        ("size", first.size != second.size),
        ("mode", first.mode != second.mode),
        ("mtime", first.modified != second.modified),
        ("owner", first.owner != second.owner),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(aspect, _)| aspect).collect()
}

fn tags(
    prefix: &str,
    first: &BTreeMap<String, Vec<String>>,
    second: &BTreeMap<String, Vec<String>>,
) -> Vec<TagDiff> {
    pairs(first, second)
        .filter(|(_, first, second)| first != second)
        .map(|(tag, first, second)| TagDiff { tag: format!("{prefix}{tag}"), what: words(first, second) })
        .collect()
}

fn words(first: Option<&Vec<String>>, second: Option<&Vec<String>>) -> String {
    match (first.map(Vec::as_slice), second.map(Vec::as_slice)) {
        (_, None) => "only in the first".to_owned(),
        (None, _) => "only in the second".to_owned(),
        (Some([first]), Some([second])) => {
            let from = beginning(first, second);
            format!("{}, then {}", short(first, from), short(second, from))
        }
        (Some(first), Some(second)) if first.len() == second.len() => {
            let differing = first.iter().zip(second).filter(|(first, second)| first != second).count();
            format!("{differing} of {} values differ", first.len())
        }
        (Some(first), Some(second)) => format!("{} values, then {}", first.len(), second.len()),
    }
}

/// The index of the first character to show: 0 if the whole value fits, else shortly before the difference.
fn beginning(first: &str, second: &str) -> usize {
    if [first, second].iter().all(|value| value.chars().count() <= LONGEST) {
        return 0;
    }
    let common = first.chars().zip(second.chars()).take_while(|(one, other)| one == other).count();
    common.saturating_sub(CONTEXT)
}

/// A value on one line, truncated, with escapes for unprintable characters.
fn short(value: &str, from: usize) -> String {
    let mut characters = value.chars().skip(from).flat_map(char::escape_debug);
    let text: String = characters.by_ref().take(LONGEST).collect();
    let before = if from > 0 { "…" } else { "" };
    let after = if characters.next().is_some() { "…" } else { "" };
    format!("`{before}{text}{after}`")
}
